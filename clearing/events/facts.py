"""What each kind of event says of what happened: the shapes of ``data``, published in docs/events."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from clearing.states import EventType

Count = Annotated[int, Meta(ge=0)]
Id = Annotated[int, Meta(ge=1)]


class Fact(Struct, kw_only=True, frozen=True):
    """What all of them may bear: the request, or the task of Beat, that led to it."""

    event_type: ClassVar[EventType]

    request_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET


class Opened(Fact, kw_only=True, frozen=True):
    """The window accepts obligations; the reason is empty where no person opened it."""

    event_type = EventType.OPENED

    reason: str


class Closing(Fact, kw_only=True, frozen=True):
    """The window accepts no more; the reason is empty where no person closed it."""

    event_type = EventType.CLOSING

    reason: str
    emergency_mode: bool


class Closed(Fact, kw_only=True, frozen=True):
    """The window is sealed."""

    event_type = EventType.CLOSED


class Processing(Fact, kw_only=True, frozen=True):
    """A clearing run has taken the window."""

    event_type = EventType.PROCESSING

    operation_id: UUID


class Completed(Fact, kw_only=True, frozen=True):
    """The window's money has moved."""

    event_type = EventType.COMPLETED

    operation_id: UUID
    obligations_count: Count
    instructions_count: Count
    efficiency_bps: int
    emergency_mode: bool


class Failed(Fact, kw_only=True, frozen=True):
    """The window is given up; its obligations moved to another."""

    event_type = EventType.FAILED

    reason: str
    obligations_count: Count
    rolled_on_to_window_id: Id


class RolledBack(Fact, kw_only=True, frozen=True):
    """The window's run was undone; it may be cleared again."""

    event_type = EventType.ROLLED_BACK

    operation_id: UUID
    error_code: str
    error_message: str


class EfficiencyAlert(Fact, kw_only=True, frozen=True):
    """Netting saved less than the alarm threshold."""

    event_type = EventType.EFFICIENCY_ALERT

    operation_id: UUID
    efficiency_bps: int


class Overflowed(Fact, kw_only=True, frozen=True):
    """Some of the window's obligations moved on; to null where they wait for the next window."""

    event_type = EventType.OVERFLOWED

    reason: str
    obligations_count: Count
    rolled_on_to_window_id: Id | None


class ObligationCancelled(Fact, kw_only=True, frozen=True):
    """The obligation left the window, or its waiting place, for good."""

    event_type = EventType.OBLIGATION_CANCELLED

    obligation_id: UUID


class ObligationHeld(Fact, kw_only=True, frozen=True):
    """The obligation is kept out of netting."""

    event_type = EventType.OBLIGATION_HELD

    obligation_id: UUID


class ObligationReleased(Fact, kw_only=True, frozen=True):
    """The obligation entered the window, or waits for the next."""

    event_type = EventType.OBLIGATION_RELEASED

    obligation_id: UUID


class RollbackFailed(Fact, kw_only=True, frozen=True):
    """An undo failed, or did not restore the state: checkpoint says which, or digest."""

    event_type = EventType.ROLLBACK_FAILED

    operation_id: UUID
    checkpoint: str
    cause: str


class Corrected(Fact, kw_only=True, frozen=True):
    """After completion, money was sent back by opposite instructions."""

    event_type = EventType.CORRECTED

    operation_id: UUID
    corrected_operation_id: UUID
    instructions_count: Count
    reason: str
    requested_by: str


class Execution(Struct, kw_only=True, frozen=True):
    """What the settlement engine says of one attempt to execute an instruction."""

    instruction_id: UUID
    attempt: Id
    settlement_id: str
    message: str


class InstructionsFailed(Fact, kw_only=True, frozen=True):
    """The settlement engine failed to execute instructions of a final run."""

    event_type = EventType.INSTRUCTIONS_FAILED

    operation_id: UUID
    instructions: list[Execution]


class InstructionsContradicted(Fact, kw_only=True, frozen=True):
    """The settlement engine says something else of instructions than it said before."""

    event_type = EventType.INSTRUCTIONS_CONTRADICTED

    operation_id: UUID
    instructions: list[Execution]


FACTS: dict[EventType, type[Fact]] = {kind.event_type: kind for kind in Fact.__subclasses__()}
