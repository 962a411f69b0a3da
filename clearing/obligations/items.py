"""What comes in and what is answered, item by item."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from clearing_project.errors import Conflict, Invalid

BATCH_MAX = 10_000  # items of one call; also what one block of ids holds
OPERATOR_SCOPE = "@operator"  # submitter of all who are no participant: no participant has such a code


class Submission(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """One obligation as sent: every field is text, amounts in major units."""

    reference: str
    payer: str
    payee: str
    currency: str
    amount: str
    due_date: date | None = None
    not_before: str | None = None
    priority: int = 0
    link: str | None = None


class Item(msgspec.Struct, frozen=True, gc=False):
    """
    A screened obligation: keys looked up, amount in minor units.

    It holds no containers, so the garbage collector, which would go through ten thousand of them time and
    again, need not know of it.
    """

    key: bytes
    payer_id: int
    payee_id: int
    currency_id: int
    amount_minor: int
    priority: int
    due_date: date | None
    reference: str
    link: str | None
    not_before: datetime | None = None

    @property
    def body(self) -> tuple[Any, ...]:
        """What must be equal for a second submission to be the same."""
        return (
            self.payer_id,
            self.payee_id,
            self.currency_id,
            self.amount_minor,
            self.priority,
            self.due_date,
            self.link,
            self.not_before,
        )


class OutcomeStatus(StrEnum):
    """What became of one item."""

    ACCEPTED = "accepted"
    PARKED = "parked"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The answer to one item; *index* is its place in the call, from 0. Made ten thousand at a time."""

    index: int
    reference: str
    status: OutcomeStatus
    key: bytes = b""
    window_id: int | None = None
    code: str = ""
    message: str = ""
    details: dict[str, Any] | None = None

    @property
    def id(self) -> UUID | None:
        """The obligation's public id; a rejected item has none."""
        return UUID(bytes=self.key) if self.key else None

    def as_json(self) -> dict[str, Any]:
        """Return the wire form; a rejected item carries its fault, the others their id."""
        if self.status == OutcomeStatus.REJECTED:
            return {
                "index": self.index,
                "reference": self.reference,
                "status": self.status.value,
                "code": self.code,
                "message": self.message,
                **(self.details or {}),
            }
        wire = {
            "index": self.index,
            "reference": self.reference,
            "status": self.status.value,
            "id": _dashed(self.key),
            "window_id": self.window_id,
        }
        if self.details is not None:
            wire |= self.details
        return wire


def _dashed(key: bytes) -> str:
    """Write a key as a UUID is written; a third of what the class UUID takes."""
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class Intake:
    """The answer to one call; without a window all of it waits for the region's next one."""

    window_id: int | None
    outcomes: list[Outcome]

    def count(self, status: OutcomeStatus) -> int:
        """Count the items with this outcome."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """Return the wire form."""
        found = Counter([outcome.status for outcome in self.outcomes])
        counts = {status.value: found[status] for status in OutcomeStatus}
        return {"window_id": self.window_id, **counts, "items": [row.as_json() for row in self.outcomes]}


class ObligationsRejected(Invalid):
    """All or nothing was asked for, and some items are wrong: nothing was written."""

    code = "obligations_rejected"
    fields = ("rejected", "items")
    message = "{rejected} item(s) rejected; none was accepted."

    @property
    def public_code(self) -> str:
        """The items' own code if they share one."""
        codes = {item["code"] for item in self.details["items"]}
        return codes.pop() if len(codes) == 1 else self.code


class ObligationsConflict(Conflict):
    """References were used before with other bodies: nothing was written."""

    code = "reference_conflict"
    fields = ("rejected", "items")
    message = "{rejected} reference(s) already belong to other obligations; none was accepted."


class TooManyItems(Invalid):
    """One call takes so many items and no more."""

    code = "too_many_items"
    fields = ("items", "items_max")
    message = "{items} items in one call; at most {items_max} are taken."


class NoItems(Invalid):
    """A call without items asks for nothing."""

    code = "no_items"
    message = "The call holds no obligations."
