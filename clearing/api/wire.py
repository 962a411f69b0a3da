"""
What the REST door answers: one structure per kind of thing, from which its schema is made, too.

Amounts are decimal strings in major units, ratios decimals from 0 to 1, moments RFC 3339 in UTC.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from clearing.states import (
    CheckpointStatus,
    Direction,
    EventType,
    NettingMode,
    OperationStatus,
    OperationType,
    Region,
    ResultStatus,
    Transfers,
    Weights,
    WindowStatus,
)
from settlement.states import (
    ExecutionStatus,
    InstructionStatus,
    InstructionType,
    ParticipantKind,
    ParticipantStatus,
    Rail,
)

Wire = TypeVar("Wire")

Amount = Annotated[
    str,
    Meta(
        pattern=r"^-?[0-9]+(\.[0-9]+)?$",
        description="major units, with exactly the currency's decimals",
        examples=["1000.00"],
    ),
]
CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217", examples=["USD"])]
Code = Annotated[str, Meta(description="a participant's code", examples=["ALPHBEBB"])]
Ratio = Annotated[float, Meta(ge=0, le=1, examples=[0.7231])]


class Page(Struct, Generic[Wire]):
    """One page of a list; *next* is the cursor of the page behind it, null on the last."""

    results: list[Wire]
    next: str | None


class Window(Struct):
    """A clearing window."""

    id: int
    region: Region
    status: WindowStatus
    opens_at: datetime
    cutoff_at: datetime
    grace_seconds: int
    netting_mode: NettingMode
    transfers: Transfers
    weights: Weights
    max_obligations: int
    min_netting_efficiency: Ratio
    auto_settle: bool
    emergency_mode: bool
    created_at: datetime
    closing_at: datetime | None
    closed_at: datetime | None
    processing_at: datetime | None
    processed_at: datetime | None


class Traffic(Struct):
    """What came into a window in one currency."""

    currency: CurrencyCode
    obligations_count: int
    gross: Amount


class WindowDetail(Window):
    """A window with its traffic. Totals are empty unless the window holds a single currency."""

    obligations_count: int
    total_volume: str
    netted_volume: str
    saved_amount: str
    netting_efficiency: Ratio
    traffic: list[Traffic]
    operation_id: UUID | None


class WindowStanding(Struct):
    """Where a window stands at *timestamp*."""

    window_id: int
    status: WindowStatus
    obligations_count: int
    total_volume: str
    netted_volume: str
    netting_efficiency: Ratio
    timestamp: datetime


class CurrencyResult(Struct):
    """One currency netted; *bound* is the least that any settlement of the same positions moves."""

    currency: CurrencyCode
    obligations_count: int
    participants_count: int
    gross: Amount
    net: Amount
    saved: Amount
    bound: Amount
    efficiency: Ratio


class Position(Struct):
    """What a participant receives (+) or pays (-) in one currency."""

    participant: Code
    currency: CurrencyCode
    debit: Amount
    credit: Amount
    net: Amount


class BilateralPosition(Struct):
    """What a pair of participants owes each other; Debit: a owes b."""

    participant_a: Code
    participant_b: Code
    currency: CurrencyCode
    gross_debit: Amount
    gross_credit: Amount
    net_amount: Amount
    direction: Direction
    obligations_count: int
    netting_ratio: Ratio


class Instruction(Struct):
    """An order to move money; *corrects* is the one whose money it sends back, *corrected_by* its reverse."""

    id: UUID
    window_id: int | None
    operation_id: UUID
    payer: Code
    payee: Code
    currency: CurrencyCode
    amount: Amount
    instruction_type: InstructionType
    status: InstructionStatus
    priority: int
    deadline_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    corrects: UUID | None
    corrected_by: UUID | None


class Execution(Struct):
    """
    An attempt to have an instruction executed outside; settlement id, reference and code are the engine's.

    Unknown: a message left and no answer came. *declared_at*: since then its outcome is what somebody
    declared. *contradicted_at*: since then the engine says otherwise. A participant is not told what was
    said, by whom and why: it may concern another one.
    """

    id: UUID
    attempt: int
    rail: Rail
    status: ExecutionStatus
    settlement_id: str
    reference: str
    confirmation_code: str
    message: str
    refusal: str
    sends: int
    asks: int
    created_at: datetime
    sent_at: datetime | None
    next_at: datetime | None
    completed_at: datetime | None
    contradicted_at: datetime | None
    actor: str
    reason: str
    declared_at: datetime | None
    declared_by: str
    declared_reason: str


class RunError(Struct):
    """Why a run was rolled back. A participant is not told the message: it may name another one."""

    code: str
    message: str
    at: datetime | None


class Result(Struct):
    """
    What clearing a window gave.

    *status* is null while the window has not come to an end. *positions* and *instructions* are the
    first thousand; all of them are at the window's own lists. A participant sees its own alone. *held* is
    what was disputed in the region at the window's close and no part of it; staff see it.
    """

    window_id: int
    operation_id: UUID | None
    window_status: WindowStatus
    status: ResultStatus | None
    obligations_count: int
    efficiency: Ratio
    currencies: list[CurrencyResult]
    positions: list[Position]
    instructions_count: int
    instructions: list[Instruction]
    held: list[Traffic]
    errors: list[RunError]
    processing_time_ms: int | None


class Preview(Struct):
    """What clearing would give now; nothing was written."""

    window_id: int
    window_status: WindowStatus
    netting_mode: NettingMode
    weights: Weights
    obligations_count: int
    efficiency: Ratio
    instructions_count: int
    currencies: list[CurrencyResult]
    positions: list[Position]


class Event(Struct):
    """Something that happened to a window; per window *sequence* has no gap."""

    event_id: UUID
    event_type: EventType
    window_id: int
    region: Region
    occurred_at: datetime
    sequence: int
    data: dict[str, Any]


class Checkpoint(Struct):
    """An undoable step of an operation."""

    position: int
    name: str
    status: CheckpointStatus
    started_at: datetime | None
    applied_at: datetime | None
    undone_at: datetime | None


class Operation(Struct):
    """Something that happens wholly or not at all, with its checkpoints in order."""

    id: UUID
    window_id: int
    parent_id: UUID | None
    operation_type: OperationType
    status: OperationStatus
    reason: str
    requested_by: str
    error_code: str
    error_message: str
    created_at: datetime
    started_at: datetime | None
    held_at: datetime | None
    hold_reason: str
    final_at: datetime | None
    completed_at: datetime | None
    checkpoints: list[Checkpoint]


class Account(Struct):
    """A participant's money in one currency; *floor* is the lowest balance allowed, null for none."""

    participant: Code
    currency: CurrencyCode
    balance: Amount
    reserved: Amount
    available: Amount | None
    floor: Amount | None


class Participant(Struct):
    """A member that owes and is owed, or the agent between them."""

    code: Code
    name: str
    country: str
    kind: ParticipantKind
    status: ParticipantStatus


class Limit(Struct):
    """The most that a participant may owe net in a window: to *counterparty*, or to all if that is null."""

    counterparty: Code | None
    currency: CurrencyCode
    limit: Amount


class LimitSet(Struct):
    """All limits of a participant that hold, by currency; sent back changed, they replace what holds."""

    limits: list[Limit]


class ParticipantDetail(Participant):
    """A participant with its accounts and limits."""

    accounts: list[Account]
    limits: list[Limit]


class ProcessingStarted(Struct):
    """The run that clears the window from here on."""

    window_id: int
    status: WindowStatus
    operation_id: UUID
    processing_started_at: datetime | None


class RolledBack(Struct):
    """What was undone, in order."""

    window_id: int
    status: WindowStatus
    rolled_back_at: datetime
    operations_rolled_back: list[UUID]


class Corrected(Struct):
    """What was sent back; the instructions bear the operation's id."""

    window_id: int
    operation_id: UUID
    corrected_at: datetime
    instructions_count: int


class Metrics(Struct):
    """Counts by status, and how far behind the outside is."""

    timestamp: datetime
    windows: dict[str, int]
    operations: dict[str, dict[str, int]]
    instructions: dict[str, int]
    obligations_cleared: int
    netting_efficiency: Ratio | None
    events_unpublished: int
    oldest_unpublished_event_seconds: float | None


class Part(Struct):
    """Something the engine stands on."""

    name: str
    status: str
    reason: str


class Health(Struct):
    """*status* is ``ok``, ``degraded`` if a part no request needs is late, or ``unavailable``."""

    status: str
    parts: list[Part]
