"""The one path by which obligations come in, whatever the door."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from clearing.events.catalog import rfc3339
from clearing.models import ClearingWindow
from clearing.obligations import limits, placing
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
from clearing.obligations.store import Batch, Found, Known, store
from clearing.obligations.tally import tallied
from clearing.states import Arrival, AsideStatus, Region
from settlement import participants


@tallied
def submit(
    submissions: Sequence[Submission],
    *,
    region: Region,
    submitter: str,
    at: datetime,
    all_or_nothing: bool,
    window: ClearingWindow | None = None,
    into: ClearingWindow | None = None,
) -> Intake:
    """
    Take obligations into the region's accepting window, or aside until theirs opens, in one transaction.

    The same reference and body of the same submitter are answered as a duplicate with the first
    one's id, wherever it is. With *all_or_nothing* one fault rejects the whole call.

    Args:
        window: of the region, which the call is meant for; if it accepts no more, the call is late.
        into: this window, its gate passed by the caller and not sealed: what belongs in it waits for nothing.

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
        place = placing.place(region, named=window, at=at) if into is None else placing.inside(into, at=at)
        screened = screen(submissions, directory, submitter=submitter, place=place)
        faults, items = screened.faults, screened.items
        repeats = _set_repeats_aside(items, faults)
        if faults and all_or_nothing:
            raise _refusal(submissions, faults)
        waits = {item.key: wait for item in items.values() if (wait := place.wait(item)) is not None}
        _take_out(limits.exceeded(place, items, waiting=waits.keys()), items, repeats, faults)
        if faults and all_or_nothing:
            raise _refusal(submissions, faults)
        batch = Batch(place, list(items.values()), waits, submitter, at)
        known = store(batch) if items else {}
        _compare({**items, **repeats}, known, faults)
        if faults and all_or_nothing:
            raise _refusal(submissions, faults)
    return Intake(
        place.window.pk if place.window else None,
        _outcomes(submissions, items, repeats, known, faults=faults, batch=batch),
    )


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


def _take_out(
    over: dict[int, Fault], items: dict[int, Item], repeats: dict[int, Item], faults: dict[int, Fault]
) -> None:
    """Take what is over a limit out of *items*, and with it what repeats it."""
    if over:
        fault_of = {items[index].key: fault for index, fault in over.items()}
        again = {index: fault_of[item.key] for index, item in repeats.items() if item.key in fault_of}
        faults |= over | {index: fault for index, fault in again.items() if index not in faults}
        for index in over:
            del items[index]


def _compare(items: dict[int, Item], known: Known, faults: dict[int, Fault]) -> None:
    """Find fault with items, repeats among them, whose reference is known with another body."""
    if not known:
        return
    for index, item in items.items():
        if item.key in known and known[item.key].body != item.body:
            faults[index] = _conflict(item, known[item.key].body)


BODY = ("payer_id", "payee_id", "currency_id", "amount_minor", "priority", "due_date", "link", "not_before")
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


def _outcomes(
    submissions: Sequence[Submission],
    items: dict[int, Item],
    repeats: dict[int, Item],
    known: Known,
    *,
    faults: dict[int, Fault],
    batch: Batch,
) -> list[Outcome]:
    window_id = batch.place.window.pk if batch.place.window else None
    if not (faults or repeats or known or batch.waits or batch.missed_id):
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
        status, place_id, details = _whereabouts(item, known.get(item.key), batch, window_id)
        if index in repeats:
            status = OutcomeStatus.DUPLICATE
        outcomes.append(
            Outcome(index, submission.reference, status, item.key, place_id, details=details or None)
        )
    return outcomes


def _whereabouts(
    item: Item, found: Found | None, batch: Batch, window_id: int | None
) -> tuple[OutcomeStatus, int | None, dict[str, Any]]:
    """Say what became of an item and where it is now; if in no window, why, and until when."""
    if found is not None:
        return OutcomeStatus.DUPLICATE, found.window_id, {"state": found.state} if found.state else {}
    details: dict[str, Any] = {}
    if batch.missed_id is not None:
        details |= {"arrival": Arrival.LATE.value, "origin_window_id": batch.missed_id}
    wait = batch.waits.get(item.key)
    if wait is None:
        return OutcomeStatus.ACCEPTED, window_id, details
    details |= {"state": AsideStatus.PARKED.value, "reason": wait.reason}
    if wait.expected_at is not None:
        details["expected_at"] = rfc3339(wait.expected_at)
    return OutcomeStatus.PARKED, None, details
