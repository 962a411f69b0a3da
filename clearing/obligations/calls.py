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
from clearing.models import ClearingWindow
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
from clearing_project.errors import Invalid

OnError = Literal["all_or_nothing", "per_item"]


class WindowElsewhere(Invalid):
    """The call names a window and another region."""

    code = "window_elsewhere"
    fields = ("window_id", "window_region", "region")
    message = "Window {window_id} is of region {window_region}, not {region}."


class SubmitObligations(Struct, forbid_unknown_fields=True):
    """Up to 10,000 obligations for the region's accepting window, or for *window_id* while it is that."""

    obligations: Annotated[list[Submission], Meta(extra_json_schema={"minItems": 1, "maxItems": BATCH_MAX})]
    region: str = "Global"
    on_error: OnError = "all_or_nothing"
    window_id: int | None = None


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
    window_id: int | None = None


class _Envelope(Struct, forbid_unknown_fields=True):
    """The body with its items still undecoded."""

    obligations: list[msgspec.Raw]
    region: str = "Global"
    on_error: OnError = "all_or_nothing"
    window_id: int | None = None


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
        return _call(drafts, envelope)
    return _call([Draft(item.reference, item) for item in whole.obligations], whole)


def _call(drafts: list[Draft], said: SubmitObligations | _Envelope) -> Call:
    return Call(
        drafts, windows.region(said.region), said.on_error == "all_or_nothing", window_id=said.window_id
    )


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
        window = windows.open_one(call.region)
        return Intake(window.pk if window else None, [rejected[index] for index in sorted(rejected)])
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
        window=_meant(call),
    )


def _meant(call: Call) -> ClearingWindow | None:
    """Return the window that the call names, if it names one."""
    if call.window_id is None:
        return None
    window = windows.get(call.window_id)
    if window.region != call.region:
        raise WindowElsewhere(call.window_id, window.region, call.region.value)
    return window


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
