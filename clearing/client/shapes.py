"""What the door answers, as far as a client needs it; fields it does not know are passed over."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field


class Problem(Exception):
    """
    A refusal, as RFC 9457 has it.

    Attributes:
        status: of HTTP.
        code: stable; docs/errors.md says what to do.
        fields: the problem's own, such as ``window_id``.
        retry_after_seconds: when it is worth asking again, if that was said.
    """

    def __init__(self, document: dict[str, Any], *, retry_after_seconds: int | None = None) -> None:
        self.status: int = document.get("status", 0)
        self.code: str = document.get("code", "")
        self.detail: str = document.get("detail", "")
        known = ("type", "title", "status", "detail", "code")
        self.fields = {name: value for name, value in document.items() if name not in known}
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{self.status} {self.code}: {self.detail}")


class Obligation(Struct, omit_defaults=True):
    """One obligation to submit; the amount in major units with the currency's decimals."""

    reference: str
    payer: str
    payee: str
    currency: str
    amount: str
    due_date: str | None = None
    not_before: str | None = None
    priority: int | None = None
    link: str | None = None


class Outcome(Struct):
    """What became of one item: accepted, duplicate, or rejected with its code."""

    index: int
    reference: str
    status: str
    id: UUID | None = None
    code: str = ""
    message: str = ""


class Intake(Struct):
    """What became of a call."""

    window_id: int | None
    items: list[Outcome]


class Window(Struct):
    """A clearing window."""

    id: int
    region: str
    status: str
    opens_at: datetime
    cutoff_at: datetime
    netting_mode: str
    emergency_mode: bool


class Started(Struct):
    """The run that clears the window from here on."""

    window_id: int
    status: str
    operation_id: UUID


class Position(Struct):
    """What a participant receives (+) or pays (-) in a currency."""

    participant: str
    currency: str
    debit: str
    credit: str
    net: str


class Instruction(Struct):
    """An order to move money."""

    id: UUID
    window_id: int | None
    payer: str
    payee: str
    currency: str
    amount: str
    status: str


class Execution(Struct):
    """An attempt to have an instruction executed outside."""

    id: UUID
    attempt: int
    status: str
    settlement_id: str
    message: str
    sent_at: datetime | None
    completed_at: datetime | None
    declared_at: datetime | None


class InstructionDetail(Instruction, kw_only=True):
    """An instruction with its attempts outside, in order; none where our own ledger settled it."""

    executions: list[Execution]


class Result(Struct):
    """What clearing a window gave."""

    window_id: int
    window_status: str
    status: str
    obligations_count: int
    efficiency: float
    positions: list[Position] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)


class Event(Struct):
    """Something that happened to a window."""

    event_id: UUID
    event_type: str
    window_id: int
    region: str
    occurred_at: datetime
    sequence: int
    data: dict[str, Any]


class Participant(Struct):
    """A member that owes and is owed."""

    code: str
    name: str
    country: str
    status: str


class Limit(Struct):
    """The most that a participant may owe net in a window: to a counterparty or, with none, to all."""

    currency: str
    limit: str
    counterparty: str | None = None


class Limits(Struct):
    """The limits of a participant that hold; *tag* names this state of them."""

    limits: list[Limit]
    tag: str = ""


class Account(Struct):
    """A participant's account in a currency."""

    participant: str
    currency: str
    balance: str
    reserved: str
    available: str | None
