"""The four checkpoints of a clearing run, in order; a rollback reads the tuple backwards."""

from datetime import datetime
from typing import Protocol

from clearing.checkpoints import (
    instructions_generated,
    netting_calculated,
    obligations_collected,
    window_status_changed,
)
from clearing.models import AtomicOperation


class Step(Protocol):
    """A checkpoint's module: *apply* does it, *undo* takes it back; both may run twice."""

    NAME: str

    def apply(self, operation: AtomicOperation, *, at: datetime) -> None:
        """Do the step; called in the transaction that marks it Applied."""

    def undo(self, operation: AtomicOperation, *, at: datetime) -> None:
        """Take the step back, also half done; called in the transaction that marks it Undone."""


STEPS: tuple[Step, ...] = (
    window_status_changed,
    obligations_collected,
    netting_calculated,
    instructions_generated,
)
