"""
Obligations as they arrive: JSON or CSV, taken together, each answered by its place.

The whole body is decoded at once when it is sound; only when it is not, item by item, so that one
item of a wrong shape is rejected with its own code and the others can still be taken.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rest_framework.request import Request

from clearing import obligations, windows
from clearing.api import bodies, parameters
from clearing.api.bodies import CSV, JSON, OnError, SubmitObligations
from clearing.obligations import (
    BATCH_MAX,
    Intake,
    ObligationsRejected,
    Outcome,
    OutcomeStatus,
    Submission,
)
from clearing.obligations.items import OPERATOR_SCOPE, NoItems, TooManyItems
from clearing.obligations.rows import CsvNotUtf8
from clearing.obligations.screen import Fault
from clearing.states import Region
from settlement.models import Participant

ON_ERROR: tuple[OnError, ...] = ("all_or_nothing", "per_item")


@dataclass(frozen=True, slots=True)
class Draft:
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


def read(request: Request) -> Call:
    """
    Read the call from its body.

    Raises:
        MediaTypeUnsupported, BodyMalformed, BodyInvalid, UnknownRegion
        ParameterInvalid, CsvHeaderInvalid, CsvNotUtf8: of a CSV.
    """
    return _of_csv(request) if bodies.require(request, JSON, CSV) == CSV else _of_json(request)


def take(call: Call, *, owner: Participant | None, at: datetime) -> Intake:
    """
    Take the call's obligations; *owner* is the participant who sends them and may owe nobody else's.

    Raises:
        NoItems, TooManyItems, ObligationsRejected, and what ``obligations.submit`` raises.
    """
    if not call.drafts:
        raise NoItems
    if len(call.drafts) > BATCH_MAX:
        raise TooManyItems(len(call.drafts), BATCH_MAX)
    rejected = _reject(call.drafts, owner)
    if rejected and call.all_or_nothing:
        raise ObligationsRejected(len(rejected), [rejected[index].as_json() for index in sorted(rejected)])
    places = [index for index in range(len(call.drafts)) if index not in rejected]
    if not places:
        window_id = windows.accepting(call.region).pk
        return Intake(window_id, [rejected[index] for index in sorted(rejected)])
    intake = obligations.submit(
        [submission for place in places if (submission := call.drafts[place].submission)],
        region=call.region,
        submitter=owner.code if owner else OPERATOR_SCOPE,
        at=at,
        all_or_nothing=call.all_or_nothing,
    )
    taken = {
        place: replace(outcome, index=place) for place, outcome in zip(places, intake.outcomes, strict=True)
    }
    return Intake(intake.window_id, [outcome for _, outcome in sorted({**rejected, **taken}.items())])


def _reject(drafts: Sequence[Draft], owner: Participant | None) -> dict[int, Outcome]:
    """Find the items that the door itself refuses, by their place."""
    rejected = {}
    for index, draft in enumerate(drafts):
        fault = draft.fault
        if fault is None and not _is_own(draft, owner):
            assert owner is not None, "everything is the operator's own"
            fault = Fault(
                "not_your_obligation",
                f"{owner.code} may submit only what it owes itself.",
                participant=owner.code,
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


def _is_own(draft: Draft, owner: Participant | None) -> bool:
    return owner is None or (draft.submission is not None and draft.submission.payer == owner.code)


def _of_json(request: Request) -> Call:
    parameters.only(request)
    body = request.body
    try:
        whole = msgspec.json.decode(body, type=SubmitObligations)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = bodies.decoded(body, _Envelope)
        drafts = [_draft(raw) for raw in envelope.obligations[: BATCH_MAX + 1]]
        return Call(drafts, windows.region(envelope.region), envelope.on_error == "all_or_nothing")
    drafts = [Draft(item.reference, item) for item in whole.obligations]
    return Call(drafts, windows.region(whole.region), whole.on_error == "all_or_nothing")


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


def _of_csv(request: Request) -> Call:
    """A file is for one region: the parameter's, else its first line's own, else Global."""
    parameters.only(request, "region", "on_error")
    on_error = parameters.one_of(request, "on_error", ON_ERROR, default="all_or_nothing")
    try:
        text = request.body.decode("utf-8-sig")
    except UnicodeDecodeError as garbage:
        raise CsvNotUtf8 from garbage
    rows = list(obligations.rows.read(io.StringIO(text, newline="")).rows)
    own = next((row.region for row in rows if row.region), None)
    region = windows.region(parameters.text(request, "region") or own or Region.GLOBAL.value)
    drafts = []
    for row in rows:
        fault = row.fault
        if row.region is not None and row.region != region:
            fault = Fault(
                "region_differs", f"A file is for one region, here {region.value}.", region=row.region[:32]
            )
        reference = row.submission.reference if row.submission else ""
        drafts.append(Draft(reference, None if fault else row.submission, fault))
    return Call(drafts, region, on_error == "all_or_nothing")
