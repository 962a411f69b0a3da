"""Statuses of windows, operations and checkpoints, and the moves between them. PostgreSQL holds them too."""

from django.db import models

from clearing_project.lifecycle import Moves


class Region(models.TextChoices):
    """Where a window clears."""

    GLOBAL = "Global"
    ADGM = "ADGM"
    EUROPE = "Europe"
    AMERICAS = "Americas"
    ASIA_PACIFIC = "AsiaPacific"


class WhenClosed(models.TextChoices):
    """What happens between the last cutoff of a day and the next opening."""

    SPAN = "span"
    WAIT = "wait"


class DayKind(models.TextChoices):
    """How a day differs from an ordinary one."""

    CLOSED = "closed"
    HALF = "half"
    OPEN = "open"


class WindowStatus(models.TextChoices):
    """Where a window stands."""

    SCHEDULED = "Scheduled"
    OPEN = "Open"
    CLOSING = "Closing"
    CLOSED = "Closed"
    PROCESSING = "Processing"
    SETTLING = "Settling"
    COMPLETED = "Completed"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"


class OperationStatus(models.TextChoices):
    """Where an atomic operation stands."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    ROLLBACK_FAILED = "RollbackFailed"


class OperationType(models.TextChoices):
    """What an atomic operation does."""

    WINDOW_OPEN = "WindowOpen"
    WINDOW_CLOSE = "WindowClose"
    WINDOW_CLEARING = "WindowClearing"
    OBLIGATION_COLLECTION = "ObligationCollection"
    NETTING_CALCULATION = "NettingCalculation"
    INSTRUCTION_GENERATION = "InstructionGeneration"
    SETTLEMENT_INITIATION = "SettlementInitiation"
    CORRECTION = "Correction"


class CheckpointStatus(models.TextChoices):
    """Where a checkpoint stands. Started is written before the work, Applied with it."""

    PLANNED = "Planned"
    STARTED = "Started"
    APPLIED = "Applied"
    UNDONE = "Undone"


class ResultStatus(models.TextChoices):
    """How a clearing run ended."""

    SUCCESS = "Success"
    PARTIAL_SUCCESS = "PartialSuccess"
    FAILED = "Failed"


class Direction(models.TextChoices):
    """Who owes in a bilateral position: Debit, a owes b; Credit, b owes a."""

    DEBIT = "Debit"
    CREDIT = "Credit"
    NEUTRAL = "Neutral"


class NettingMode(models.TextChoices):
    """How obligations are set off against each other."""

    GROSS = "gross"
    BILATERAL = "bilateral"
    MULTILATERAL = "multilateral"
    CONSERVATIVE = "conservative"


class Transfers(models.TextChoices):
    """How net positions are paid in multilateral mode: through the agent, or payer to receiver."""

    AGENT = "agent"
    DIRECT = "direct"


class Weights(models.TextChoices):
    """What conservative netting sets off first: nothing in particular, or by priority or age."""

    NONE = "none"
    PRIORITY = "priority"
    AGE = "age"


class Arrival(models.TextChoices):
    """How an obligation came into its window, where it was not sent into this very one."""

    LATE = "late"
    OVERFLOW = "overflow"
    GIVEN_UP = "given_up"
    PARKED = "parked"
    RELEASED = "released"


class ObligationState(models.TextChoices):
    """Where an obligation is: in a window, whatever that window's status, or set aside."""

    IN_WINDOW = "InWindow"
    PARKED = "Parked"
    HELD = "Held"
    CANCELLED = "Cancelled"


class AsideStatus(models.TextChoices):
    """Why an obligation is in no window."""

    PARKED = "Parked"
    HELD = "Held"
    CANCELLED = "Cancelled"


class Act(models.TextChoices):
    """What somebody did to one obligation."""

    CANCELLED = "Cancelled"
    HELD = "Held"
    RELEASED = "Released"


class PullStatus(models.TextChoices):
    """Where the pull of a window's obligations from an outside engine stands."""

    PENDING = "Pending"
    COMPLETE = "Complete"
    WAIVED = "Waived"


class EventType(models.TextChoices):
    """What happened to a window."""

    OPENED = "Opened"
    CLOSING = "Closing"
    CLOSED = "Closed"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    EFFICIENCY_ALERT = "EfficiencyAlert"
    OVERFLOWED = "Overflowed"
    OBLIGATION_CANCELLED = "ObligationCancelled"
    OBLIGATION_HELD = "ObligationHeld"
    OBLIGATION_RELEASED = "ObligationReleased"
    ROLLBACK_FAILED = "RollbackFailed"
    CORRECTED = "Corrected"
    INSTRUCTIONS_FAILED = "InstructionsFailed"
    INSTRUCTIONS_CONTRADICTED = "InstructionsContradicted"


WINDOW_MOVES: Moves[WindowStatus] = {
    WindowStatus.SCHEDULED: frozenset({WindowStatus.OPEN}),
    WindowStatus.OPEN: frozenset({WindowStatus.CLOSING}),
    WindowStatus.CLOSING: frozenset({WindowStatus.CLOSED}),
    WindowStatus.CLOSED: frozenset({WindowStatus.PROCESSING, WindowStatus.FAILED}),
    WindowStatus.PROCESSING: frozenset({WindowStatus.SETTLING, WindowStatus.ROLLED_BACK}),
    WindowStatus.SETTLING: frozenset({WindowStatus.COMPLETED}),
    WindowStatus.ROLLED_BACK: frozenset({WindowStatus.PROCESSING, WindowStatus.FAILED}),
    WindowStatus.COMPLETED: frozenset(),  # final
    WindowStatus.FAILED: frozenset(),  # final
}

# A committed operation is undone only before finality; a constraint on its finality moment holds that.
OPERATION_MOVES: Moves[OperationStatus] = {
    OperationStatus.PENDING: frozenset({OperationStatus.IN_PROGRESS, OperationStatus.FAILED}),
    OperationStatus.IN_PROGRESS: frozenset(
        {
            OperationStatus.COMMITTED,
            OperationStatus.ROLLED_BACK,
            OperationStatus.FAILED,
            OperationStatus.ROLLBACK_FAILED,
        }
    ),
    OperationStatus.COMMITTED: frozenset({OperationStatus.ROLLED_BACK, OperationStatus.ROLLBACK_FAILED}),
    OperationStatus.ROLLBACK_FAILED: frozenset({OperationStatus.ROLLED_BACK}),
    OperationStatus.ROLLED_BACK: frozenset(),  # final
    OperationStatus.FAILED: frozenset(),  # final
}

CHECKPOINT_MOVES: Moves[CheckpointStatus] = {
    CheckpointStatus.PLANNED: frozenset({CheckpointStatus.STARTED}),
    CheckpointStatus.STARTED: frozenset({CheckpointStatus.APPLIED, CheckpointStatus.UNDONE}),
    CheckpointStatus.APPLIED: frozenset({CheckpointStatus.UNDONE}),
    CheckpointStatus.UNDONE: frozenset(),  # final: a new run plans new checkpoints
}

ASIDE_MOVES: Moves[AsideStatus] = {
    AsideStatus.PARKED: frozenset({AsideStatus.HELD, AsideStatus.CANCELLED}),
    AsideStatus.HELD: frozenset({AsideStatus.PARKED, AsideStatus.CANCELLED}),
    AsideStatus.CANCELLED: frozenset(),  # final
}

LIVE_OPERATION = (OperationStatus.PENDING, OperationStatus.IN_PROGRESS, OperationStatus.ROLLBACK_FAILED)
FINAL_WINDOW = (WindowStatus.COMPLETED, WindowStatus.FAILED)
