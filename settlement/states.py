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
    InstructionStatus.FAILED: frozenset(),  # final
}
