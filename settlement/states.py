"""Statuses of what settlement owns, and the moves between them."""

from django.db import models

from clearing_project.lifecycle import Moves


class ParticipantStatus(models.TextChoices):
    """May it owe and be owed?"""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"


class ParticipantKind(models.TextChoices):
    """Members clear; the agent stands between them; the funding source is where prefunding comes from."""

    MEMBER = "Member"
    AGENT = "Agent"
    FUNDING = "Funding"


class InstructionStatus(models.TextChoices):
    """Where an instruction stands on the wire."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class InstructionType(models.TextChoices):
    """What an instruction settles."""

    NET = "NetSettlement"
    GROSS = "GrossSettlement"
    EMERGENCY = "EmergencySettlement"


class Rail(models.TextChoices):
    """Who executes: an outside engine, or somebody by hand after the engine had failed."""

    ENGINE = "Engine"
    HAND = "Hand"


class ExecutionStatus(models.TextChoices):
    """
    How far an attempt at an outside engine is.

    Sending is written before the message leaves. Unknown means that nobody here knows what the engine did:
    it is asked. Planned again after that means that it knows nothing of it.
    """

    PLANNED = "Planned"
    SENDING = "Sending"
    UNKNOWN = "Unknown"
    EXECUTING = "Executing"
    COMPLETED = "Completed"
    FAILED = "Failed"


class VerdictStatus(models.TextChoices):
    """What the risk engine said; Pending: nothing yet."""

    PENDING = "Pending"
    APPROVED = "Approved"
    REJECTED = "Rejected"


class PostingKind(models.TextChoices):
    """Why money moved."""

    FUNDING = "Funding"
    SETTLEMENT = "Settlement"


PARTICIPANT_MOVES: Moves[ParticipantStatus] = {
    ParticipantStatus.ACTIVE: frozenset({ParticipantStatus.SUSPENDED}),
    ParticipantStatus.SUSPENDED: frozenset({ParticipantStatus.ACTIVE}),
}

INSTRUCTION_MOVES: Moves[InstructionStatus] = {
    InstructionStatus.PENDING: frozenset(
        {InstructionStatus.IN_PROGRESS, InstructionStatus.COMPLETED, InstructionStatus.FAILED}
    ),
    InstructionStatus.IN_PROGRESS: frozenset({InstructionStatus.COMPLETED, InstructionStatus.FAILED}),
    InstructionStatus.COMPLETED: frozenset(),  # final
    InstructionStatus.FAILED: frozenset(  # an outside engine failed: retried, or settled by hand
        {InstructionStatus.IN_PROGRESS, InstructionStatus.COMPLETED}
    ),
}

_ANSWERS = {ExecutionStatus.EXECUTING, ExecutionStatus.COMPLETED, ExecutionStatus.FAILED}

EXECUTION_MOVES: Moves[ExecutionStatus] = {
    # An answer may come late, when an earlier question has found that the engine knew nothing yet.
    ExecutionStatus.PLANNED: frozenset({ExecutionStatus.SENDING, *_ANSWERS}),
    ExecutionStatus.SENDING: frozenset({ExecutionStatus.UNKNOWN, *_ANSWERS}),
    ExecutionStatus.UNKNOWN: frozenset({ExecutionStatus.PLANNED, *_ANSWERS}),
    ExecutionStatus.EXECUTING: frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED}),
    ExecutionStatus.COMPLETED: frozenset(),  # final
    ExecutionStatus.FAILED: frozenset(),  # final: a retry is a new attempt
}

VERDICT_MOVES: Moves[VerdictStatus] = {
    VerdictStatus.PENDING: frozenset({VerdictStatus.APPROVED, VerdictStatus.REJECTED}),
    VerdictStatus.APPROVED: frozenset(),  # final
    VerdictStatus.REJECTED: frozenset(),  # final
}

LIVE_EXECUTION = (
    ExecutionStatus.PLANNED,
    ExecutionStatus.SENDING,
    ExecutionStatus.UNKNOWN,
    ExecutionStatus.EXECUTING,
)
