"""
One call of an intake, whichever door it came through: its items as they arrived, and how to take them.

The whole body is decoded at once when it is sound; only when it is not, item by item, so that one
item of a wrong shape is rejected with its own code and the others can still be taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from clearing import windows
from clearing.decoding import decoded
from clearing.obligations.intake import submit
from clearing.obligations.items import (
    BATCH_MAX,
    OPERATOR_SCOPE,
    Intake,
    NoItems,
    ObligationsRejected,
    Outcome,
    OutcomeStatus,
    Submission,
    TooManyItems,
)
from clearing.obligations.screen import Fault
from clearing.obligations.tally import tallied
from clearing.states import Region

OnError = Literal["all_or_nothing", "per_item"]


class SubmitObligations(Struct, forbid_unknown_fields=True):
    """Up to 10,000 obligations for the region's accepting window."""

    obligations: Annotated[list[Submission], Meta(extra_json_schema={"minItems": 1, "maxItems": BATCH_MAX})]
    region: str = "Global"
    on_error: OnError = "all_or_nothing"


class Draft(Struct, frozen=True, gc=False):
    """One item as it arrived: what it says, or what is wrong with its shape."""

    reference: str
    submission: Submission | None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its items, and where and how they are to be taken."""

    drafts: list[Draft]
    region: Region
    all_or_nothing: bool


class _Envelope(Struct, forbid_unknown_fields=True):
    """The body with its items still undecoded."""

    obligations: list[msgspec.Raw]
    region: str = "Global"
    on_error: OnError = "all_or_nothing"


def read(body: bytes) -> Call:
    """
    Read a call from JSON.

    Raises:
        BodyMalformed, BodyInvalid, UnknownRegion
    """
    try:
        whole = msgspec.json.decode(body, type=SubmitObligations)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = decoded(body, _Envelope)
        drafts = [_draft(raw) for raw in envelope.obligations[: BATCH_MAX + 1]]
        return Call(drafts, windows.region(envelope.region), envelope.on_error == "all_or_nothing")
    drafts = [Draft(item.reference, item) for item in whole.obligations]
    return Call(drafts, windows.region(whole.region), whole.on_error == "all_or_nothing")


def take(call: Call, *, owner: str | None, at: datetime) -> Intake:
    """
    Take the call's obligations; *owner* is the code of the participant who sends them and may owe
    nobody else's, None an operator.

    Raises:
        NoItems, TooManyItems, ObligationsRejected, and what ``obligations.submit`` raises.
    """
    rejected = reject(call, owner)
    if not rejected:
        return _submit(call, range(len(call.drafts)), owner, at)
    places = [index for index in range(len(call.drafts)) if index not in rejected]
    if not places:
        window_id = windows.accepting(call.region).pk
        return Intake(window_id, [rejected[index] for index in sorted(rejected)])
    intake = _submit(call, places, owner, at)
    taken = {
        place: replace(outcome, index=place) for place, outcome in zip(places, intake.outcomes, strict=True)
    }
    return Intake(intake.window_id, [outcome for _, outcome in sorted({**rejected, **taken}.items())])


def _submit(call: Call, places: Sequence[int], owner: str | None, at: datetime) -> Intake:
    return submit(
        [submission for place in places if (submission := call.drafts[place].submission)],
        region=call.region,
        submitter=owner or OPERATOR_SCOPE,
        at=at,
        all_or_nothing=call.all_or_nothing,
    )


@tallied
def reject(call: Call, owner: str | None) -> dict[int, Outcome]:
    """
    Find the items that are refused before anything is looked up, by their place.

    Raises:
        NoItems, TooManyItems
        ObligationsRejected: there are some, and the call is all or nothing.
    """
    if not call.drafts:
        raise NoItems
    if len(call.drafts) > BATCH_MAX:
        raise TooManyItems(len(call.drafts), BATCH_MAX)
    rejected = _reject(call.drafts, owner)
    if rejected and call.all_or_nothing:
        raise ObligationsRejected(len(rejected), [rejected[index].as_json() for index in sorted(rejected)])
    return rejected


def _reject(drafts: Sequence[Draft], owner: str | None) -> dict[int, Outcome]:
    rejected = {}
    for index, draft in enumerate(drafts):
        fault = draft.fault
        if fault is None and not _is_own(draft, owner):
            fault = Fault(
                "not_your_obligation", f"{owner} may submit only what it owes itself.", participant=owner
            )
        if fault is not None:
            rejected[index] = Outcome(
                index,
                draft.reference,
                OutcomeStatus.REJECTED,
                code=fault.code,
                message=fault.message,
                details=fault.details,
            )
    return rejected


def _is_own(draft: Draft, owner: str | None) -> bool:
    return owner is None or (draft.submission is not None and draft.submission.payer == owner)


def _draft(raw: msgspec.Raw) -> Draft:
    try:
        submission = msgspec.json.decode(raw, type=Submission)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        fault = Fault("item_invalid", f"The item is not of the shape of an obligation: {wrong}.")
        return Draft(_reference(raw), None, fault)
    return Draft(submission.reference, submission)


def _reference(raw: msgspec.Raw) -> str:
    """Return the broken item's reference, if it has one to know it by."""
    try:
        return msgspec.json.decode(raw, type=_Named).reference
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _Named(Struct):
    reference: str
