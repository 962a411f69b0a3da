"""The one path by which obligations come in, whatever the door."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from clearing import windows
from clearing.obligations.items import (
    BATCH_MAX,
    Intake,
    Item,
    NoItems,
    ObligationsConflict,
    ObligationsRejected,
    Outcome,
    OutcomeStatus,
    Submission,
    TooManyItems,
)
from clearing.obligations.screen import Fault, screen
from clearing.obligations.store import Found, Known, store
from clearing.obligations.tally import tallied
from clearing.states import Region
from settlement import participants


@tallied
def submit(
    submissions: Sequence[Submission],
    *,
    region: Region,
    submitter: str,
    at: datetime,
    all_or_nothing: bool,
) -> Intake:
    """
    Take obligations into the region's accepting window, in one transaction.

    The same reference and body of the same submitter are answered as a duplicate with the first
    one's id, in whichever window it is. With *all_or_nothing* one fault rejects the whole call.

    Raises:
        NoItems, TooManyItems, NoAcceptingWindow
        ObligationsRejected, ObligationsConflict: with *all_or_nothing*; nothing was written.
    """
    if not submissions:
        raise NoItems
    if len(submissions) > BATCH_MAX:
        raise TooManyItems(len(submissions), BATCH_MAX)
    directory = participants.directory()
    with transaction.atomic():
        window = windows.enter(region, at=at)
        screened = screen(submissions, directory, submitter=submitter, cutoff_at=window.cutoff_at)
        faults, items = screened.faults, screened.items
        repeats = _set_repeats_aside(items, faults)
        if faults and all_or_nothing:
            raise _refusal(submissions, faults)
        known = store(window.pk, list(items.values()), submitter=submitter, at=at) if items else {}
        _compare({**items, **repeats}, known, faults)
        if faults and all_or_nothing:
            raise _refusal(submissions, faults)
    outcomes = _outcomes(submissions, items, repeats, known, faults=faults, window_id=window.pk)
    return Intake(window.pk, outcomes)


def _set_repeats_aside(items: dict[int, Item], faults: dict[int, Fault]) -> dict[int, Item]:
    """Take out of *items* what repeats an earlier one of the call; another body is a fault."""
    if len({item.key for item in items.values()}) == len(items):
        return {}
    first: dict[bytes, Item] = {}
    repeats: dict[int, Item] = {}
    for index, item in items.items():
        earlier = first.setdefault(item.key, item)
        if earlier is not item:
            repeats[index] = item
            if earlier.body != item.body:
                faults[index] = _conflict(item, earlier.body)
    for index in repeats:
        del items[index]
    return repeats


def _compare(items: dict[int, Item], known: Known, faults: dict[int, Fault]) -> None:
    """Find fault with items, repeats among them, whose reference is known with another body."""
    if not known:
        return
    for index, item in items.items():
        if item.key in known and known[item.key].body != item.body:
            faults[index] = _conflict(item, known[item.key].body)


BODY = ("payer_id", "payee_id", "currency_id", "amount_minor", "priority", "due_date", "link")
PUBLIC = {
    "payer_id": "payer",
    "payee_id": "payee",
    "currency_id": "currency",
    "amount_minor": "amount",
}


def _conflict(item: Item, body: tuple[Any, ...]) -> Fault:
    differing = [name for name, ours, theirs in zip(BODY, item.body, body, strict=True) if ours != theirs]
    return Fault(
        "reference_conflict",
        f"Reference {item.reference} belongs to an obligation with another"
        f" {', '.join(PUBLIC.get(name, name) for name in differing)}.",
        differing=[PUBLIC.get(name, name) for name in differing],
    )


def _refusal(
    submissions: Sequence[Submission], faults: dict[int, Fault]
) -> ObligationsRejected | ObligationsConflict:
    items = [
        _rejected(index, submissions[index].reference, fault).as_json()
        for index, fault in sorted(faults.items())
    ]
    conflicts = all(item["code"] == ObligationsConflict.code for item in items)
    return (ObligationsConflict if conflicts else ObligationsRejected)(len(items), items)


def _rejected(index: int, reference: str, fault: Fault) -> Outcome:
    return Outcome(
        index,
        reference,
        OutcomeStatus.REJECTED,
        code=fault.code,
        message=fault.message,
        details=fault.details,
    )


def _whereabouts(found: Found | None) -> dict[str, Any] | None:
    """Say why a known obligation is in no window."""
    return {"state": found.state} if found is not None and found.state else None


def _outcomes(
    submissions: Sequence[Submission],
    items: dict[int, Item],
    repeats: dict[int, Item],
    known: Known,
    *,
    faults: dict[int, Fault],
    window_id: int,
) -> list[Outcome]:
    if not (faults or repeats or known):
        accepted = OutcomeStatus.ACCEPTED
        return [
            Outcome(index, item.reference, accepted, item.key, window_id) for index, item in items.items()
        ]
    outcomes = []
    for index, submission in enumerate(submissions):
        if index in faults:
            outcomes.append(_rejected(index, submission.reference, faults[index]))
            continue
        item = items.get(index) or repeats[index]
        is_new = index in items and item.key not in known
        outcomes.append(
            Outcome(
                index,
                submission.reference,
                OutcomeStatus.ACCEPTED if is_new else OutcomeStatus.DUPLICATE,
                key=item.key,
                window_id=known[item.key].window_id if item.key in known else window_id,
                details=_whereabouts(known.get(item.key)),
            )
        )
    return outcomes
