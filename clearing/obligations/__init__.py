"""Intake of obligations: screened in memory, copied into the accepting window's partition, never lost."""

from clearing.obligations import acts, rows
from clearing.obligations.intake import submit
from clearing.obligations.items import (
    BATCH_MAX,
    Intake,
    Item,
    ObligationsConflict,
    ObligationsRejected,
    Outcome,
    OutcomeStatus,
    Submission,
)

__all__ = [
    "BATCH_MAX",
    "Intake",
    "Item",
    "ObligationsConflict",
    "ObligationsRejected",
    "Outcome",
    "OutcomeStatus",
    "Submission",
    "acts",
    "rows",
    "submit",
]
