"""
What setting an obligation off is worth in conservative mode: its priority, or its age at the cutoff.

An obligation of priority p weighs p + 1, one that is d whole days old weighs d + 1, so that every unit set
off is worth something and twice the weight is worth twice as much. Weights are integers from 1 to
``WEIGHT_MAX``; what would weigh more is refused, and with it every sum that the solver could not hold.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from netting.errors import NettingError
from netting.model import WEIGHT_MAX

PRIORITY_MAX: Final = 99
_DAY: Final = timedelta(days=1)


class Weights(StrEnum):
    """What the weight of an obligation is taken from."""

    NONE = "none"
    PRIORITY = "priority"
    AGE = "age"


class PriorityOutOfRange(NettingError):
    """Not a whole number from 0 to 99."""

    code = "priority_out_of_range"
    fields = ("priority",)
    message = "{priority!r} is not a priority: a whole number from 0 to 99."


class MomentInvalid(NettingError):
    """Not a moment with its offset from UTC."""

    code = "moment_invalid"
    fields = ("moment",)
    message = "{moment!r} is not a moment like 2026-01-31T12:00:00Z."


class WeightOutOfRange(NettingError):
    """So old that its weight would exceed the limit; refused, never cut off."""

    code = "weight_out_of_range"
    fields = ("days",)
    message = f"{{days}} days are more than a weight of {WEIGHT_MAX} holds."


def of_priority(text: str) -> int:
    """
    Return the weight of a priority as it is written; none is 0.

    Raises:
        PriorityOutOfRange
    """
    if not text:
        return 1
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(PRIORITY_MAX)):
        raise PriorityOutOfRange(text[:20])
    return 1 + int(text)


def of_age(text: str, *, cutoff: datetime) -> int:
    """
    Return the weight of an obligation submitted at the moment *text*; after *cutoff* it is 0 days old.

    Raises:
        MomentInvalid, WeightOutOfRange
    """
    days = max(0, (cutoff - moment(text)) // _DAY)
    if days >= WEIGHT_MAX:
        raise WeightOutOfRange(days)
    return 1 + days


def moment(text: str) -> datetime:
    """
    Return the moment that *text* names, in RFC 3339 with its offset.

    Raises:
        MomentInvalid
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise MomentInvalid(text[:64]) from None
    if found.tzinfo is None:
        raise MomentInvalid(text[:64])
    return found
