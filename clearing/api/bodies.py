"""Read a request's body: once, as bytes, into the structure it should have."""

from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request

from clearing.api.errors import LengthRequired, MediaTypeUnsupported
from clearing.decoding import BodyMalformed, decoded
from clearing.operations import REASON_MAX
from clearing.states import NettingMode, Weights

Body = TypeVar("Body")

JSON = "application/json"
CSV = "text/csv"
CHOSEN_MAX = 10_000  # instructions named in one call
LIMITS_MAX = 1000  # of one participant

Reason = Annotated[
    str,
    Meta(
        description="why it is done; kept with what is done",
        examples=["the operator on duty was asked by treasury"],
        extra_json_schema={"minLength": 1, "maxLength": REASON_MAX},  # held by the verb, with its own code
    ),
]


class OpenWindow(Struct, forbid_unknown_fields=True):
    """Open a window; what is left out is the region's: cutoff at its next opening, netting mode, weights."""

    region: str
    netting_mode: NettingMode | None = None
    weights: Weights | None = None
    emergency_mode: bool = False
    cutoff_at: Annotated[datetime, Meta(tz=True)] | None = None
    reason: str = ""


class Process(Struct, forbid_unknown_fields=True):
    """Start clearing; *force_settlement* also releases a run that is held before its settlement."""

    reason: str = ""
    force_settlement: bool = False


class ForceClose(Struct, forbid_unknown_fields=True):
    """Close a window now, without waiting for cutoff or grace."""

    window_id: int
    reason: Reason


class Correct(Struct, forbid_unknown_fields=True):
    """Send settled money back: that of the instructions named or, left out, of all not corrected yet."""

    reason: Reason
    instructions: Annotated[list[UUID], Meta(min_length=1, max_length=CHOSEN_MAX)] | None = None


class LimitWanted(Struct, forbid_unknown_fields=True, kw_only=True):
    """A limit to set: towards *counterparty*, without one towards all; 0: nothing more than it is owed."""

    counterparty: str | None = None
    currency: str
    limit: Annotated[str, Meta(description="major units", examples=["1000.00"])]


class SetLimits(Struct, forbid_unknown_fields=True):
    """All limits that shall hold; those left out hold no more."""

    limits: Annotated[list[LimitWanted], Meta(max_length=LIMITS_MAX)]
    reason: str = ""


class Declare(Struct, forbid_unknown_fields=True):
    """Declare what became of an instruction whose engine will never tell."""

    outcome: Literal["Completed", "Failed"]
    reason: Reason


class ActOn(Struct, forbid_unknown_fields=True):
    """Cancel, hold or release an obligation."""

    reason: Reason


class EmergencyClearing(Struct, forbid_unknown_fields=True):
    """Close the region's accepting window now and clear it, or the first *max_obligations* of it."""

    region: str
    reason: Reason
    max_obligations: int | None = None


class RollBack(Struct, forbid_unknown_fields=True):
    """Undo the window's live clearing run."""

    reason: Reason


def read(request: Request, shape: type[Body], *, is_optional: bool = False) -> Body:
    """
    Return the JSON body as *shape*; with *is_optional* no body is an empty object.

    Raises:
        LengthRequired, MediaTypeUnsupported, BodyMalformed, BodyInvalid
    """
    if is_optional and not request.body and not _is_of_unknown_length(request):
        return decoded(b"{}", shape)
    require(request, JSON)
    return decoded(request.body, shape)


def require(request: Request, *media_types: str) -> str:
    """
    Return the body's media type, one of *media_types*.

    Raises:
        LengthRequired: WSGI gives us no body without its length.
        MediaTypeUnsupported
        BodyMalformed: there is no body.
    """
    if _is_of_unknown_length(request):
        raise LengthRequired
    if not request.body:
        raise BodyMalformed("It is empty.")
    found = (request.content_type or "").partition(";")[0].strip().lower()
    if found not in media_types:
        raise MediaTypeUnsupported(found, " or ".join(media_types))
    return found


def _is_of_unknown_length(request: Request) -> bool:
    return "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH")
