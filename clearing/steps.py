"""
Steps of an operation: the Started mark written ahead, the effect and the Applied mark in one transaction.

Every step reads the operation FOR SHARE before it writes, so that steps run side by side while commit
and rollback, which take it FOR UPDATE, wait for them and then stop those to come.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from clearing.checkpoints import STEPS, Step
from clearing.faults import reach
from clearing.models import AtomicOperation, Checkpoint, ClearingWindow
from clearing.states import (
    CHECKPOINT_MOVES,
    CheckpointStatus,
    OperationStatus,
    OperationType,
)
from clearing_project.errors import Conflict, NotFound
from clearing_project.lifecycle import IllegalMove

FIRST = STEPS[0].NAME
CHILD_TYPES: dict[str, OperationType] = {
    "obligations_collected": OperationType.OBLIGATION_COLLECTION,
    "netting_calculated": OperationType.NETTING_CALCULATION,
    "instructions_generated": OperationType.INSTRUCTION_GENERATION,
}


class UnknownOperation(NotFound):
    """No operation bears this id."""

    code = "unknown_operation"
    fields = ("operation_id",)
    message = "No operation has the id {operation_id}."


class UnknownCheckpoint(NotFound):
    """The operation has no checkpoint of this name."""

    code = "unknown_checkpoint"
    fields = ("operation_id", "checkpoint")
    message = "Operation {operation_id} has no checkpoint {checkpoint}."


class OperationStopped(Conflict):
    """The operation is no longer in progress, so no step of it may write."""

    code = "operation_stopped"
    fields = ("operation_id", "status")
    message = "Operation {operation_id} is {status}; none of its steps may write any more."


class LeaseLost(Conflict):
    """The operation was dispatched again; whoever comes with an older dispatch may write nothing."""

    code = "lease_lost"
    fields = ("operation_id", "token")
    message = "Operation {operation_id} was dispatched again after dispatch {token}."


class UndoIncomplete(Conflict):
    """After its undo a step has not left the state it began with."""

    code = "undo_incomplete"
    fields = ("operation_id", "checkpoint")
    message = "Operation {operation_id}: undoing {checkpoint} did not restore the state it began with."


class OutOfTurn(Conflict):
    """An earlier checkpoint is not applied yet."""

    code = "checkpoint_out_of_turn"
    fields = ("operation_id", "checkpoint", "missing")
    message = "Operation {operation_id}: {checkpoint} comes after {missing}, which is not applied."


def get(operation_id: UUID) -> AtomicOperation:
    """
    Return the operation with its window.

    Raises:
        UnknownOperation
    """
    return _operation(operation_id, _ask(READ, [operation_id]))


def find_checkpoint(operation_id: UUID, name: str) -> Checkpoint:
    """
    Return the operation's checkpoint of this name.

    Raises:
        UnknownCheckpoint
    """
    found = Checkpoint.objects.filter(operation_id=operation_id, name=name).first()
    if found is None:
        raise UnknownCheckpoint(str(operation_id), name)
    return found


def begin(operation_id: UUID, name: str, *, at: datetime, token: int | None = None) -> None:
    """
    Write ahead that the step is Started, in a transaction of its own: one statement. May be repeated.

    Args:
        token: of the dispatch that brought the caller here; None outside a worker.

    Raises:
        OperationStopped, OutOfTurn, UnknownCheckpoint
        LeaseLost: the operation was dispatched again since, and belongs to others.
    """
    reach(f"{name}.begin.before")
    facts = _ask(BEGIN, [operation_id, name, token, at, CHILD_TYPES.get(name)])
    begun = _entered(operation_id, name, facts, token=token)
    if begun.missing is not None:
        raise OutOfTurn(str(operation_id), name, begun.missing)
    reach(f"{name}.begin.after")


def run_part(
    operation_id: UUID,
    name: str,
    work: Callable[[AtomicOperation], None],
    *,
    token: int | None = None,
) -> None:
    """
    Do one part of a Started step that fans out; *work* must find its own part done when repeated.

    Raises:
        OperationStopped, LeaseLost
        OutOfTurn: the step was not begun, so a rollback would not know of the part.
    """
    with transaction.atomic():
        step, operation = _open(operation_id, name, token=token, is_part=True)
        if step.status == CheckpointStatus.PLANNED:
            raise OutOfTurn(str(operation_id), name, "its own start")
        if step.status == CheckpointStatus.STARTED:
            work(operation)


def run_step(
    operation_id: UUID,
    name: str,
    work: Callable[[AtomicOperation], None],
    *,
    at: datetime,
    token: int | None = None,
) -> bool:
    """
    Do a step once: write ahead, then *work* and the Applied mark in one transaction.

    Returns:
        False if the step was applied before; *work* was not called.

    Raises:
        OperationStopped, LeaseLost, OutOfTurn, and whatever *work* raises; then nothing of it is kept.
    """
    since = perf_counter()
    begin(operation_id, name, at=at, token=token)
    reach(f"{name}.before")
    with transaction.atomic():
        step, operation = _open(operation_id, name, token=token)
        if step.status == CheckpointStatus.APPLIED:
            return False
        work(operation)
        reach(f"{name}.between")
        done_at = at + timedelta(seconds=perf_counter() - since)
        _end(step, at=done_at)
    reach(f"{name}.after")
    return True


def open_rollback(operation_id: UUID, *, at: datetime, reason: str) -> AtomicOperation:
    """
    Mark the operation for rollback, by one statement; one that ended or is final stays as it is.

    Waits for the steps in flight; those to come are stopped. One that never started is Failed by this.

    Raises:
        UnknownOperation
    """
    return _operation(operation_id, _ask(OPEN_ROLLBACK, [operation_id, at, reason]))


def undo(operation: AtomicOperation, step: Step, *, at: datetime) -> None:
    """
    Undo a step that was started, prove it, and mark it, in one transaction; otherwise do nothing.

    The proof of the first step's undo is that of the whole rollback: with it the operation is RolledBack.

    Args:
        operation: as read when its rollback began; its window's status is read again under the lock.

    Raises:
        UndoIncomplete: the state is not the one the step began with; nothing of the undo is kept.
    """
    reach(f"{step.NAME}.undo.before")
    with transaction.atomic():
        key, status, operation.window.status = _ask(OPEN_UNDO, [operation.pk, step.NAME])
        if key is None or status in (CheckpointStatus.PLANNED, CheckpointStatus.UNDONE):
            return
        step.undo(operation, at=at)
        reach(f"{step.NAME}.undo.between")
        _end_undo(operation, _Step(key, step.NAME, status), at=at)
    reach(f"{step.NAME}.undo.after")


def lock(operation_id: UUID) -> AtomicOperation:
    """
    Take the row that decides, with its window: steps, commit and rollback wait for each other here.

    Raises:
        UnknownOperation
    """
    return _operation(operation_id, _ask(LOCK, [operation_id]))


def refuse_stopped(operation_id: UUID, status: str, rolling_back_at: datetime | None) -> None:
    """
    Refuse unless the operation is in progress and not being rolled back.

    Raises:
        OperationStopped
    """
    if rolling_back_at is not None:
        raise OperationStopped(str(operation_id), "being rolled back")
    if status != OperationStatus.IN_PROGRESS:
        raise OperationStopped(str(operation_id), status)


def latest_dispatch(operation_id: UUID) -> int | None:
    """Return the latest dispatch's number; until our transaction ends there is no later one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count FROM clearing_dispatch WHERE operation_id = %s FOR SHARE", [operation_id]
        )
        row = cursor.fetchone()
    return row[0] if row else None


def refuse_stale(operation_id: UUID, token: int | None, latest: int | None) -> None:
    """
    Refuse a caller whose dispatch is not the latest; one that was not dispatched has no token.

    Raises:
        LeaseLost
    """
    if token is not None and token != latest:
        raise LeaseLost(str(operation_id), token)


def _ask(sql: str, values: list[Any]) -> tuple[Any, ...]:
    """Run a statement that is made once, not each time by the ORM; nulls where it finds nothing."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone() or (None,) * len(cursor.description)


def _operation(operation_id: UUID, read: Sequence[Any]) -> AtomicOperation:
    """Make the operation and its window of their columns; all null, there is none."""
    if read[0] is None:
        raise UnknownOperation(str(operation_id))
    alias, cut = connection.alias, len(OPERATION_FIELDS)
    operation = AtomicOperation.from_db(alias, OPERATION_FIELDS, read[:cut])
    operation.window = ClearingWindow.from_db(alias, WINDOW_FIELDS, read[cut:])
    return operation


@dataclass(frozen=True, slots=True)
class _Step:
    """A step as it was found, and the first earlier one that is not applied."""

    checkpoint_id: int
    name: str
    status: str
    missing: str | None = None


def _open(
    operation_id: UUID, name: str, *, token: int | None, is_part: bool = False
) -> tuple[_Step, AtomicOperation]:
    """
    Have the operation, the caller's dispatch and, but for a part of it, the step locked; then read them.

    Raises:
        UnknownOperation, OperationStopped, LeaseLost, UnknownCheckpoint
    """
    row = _ask(OPEN, [operation_id, name, token, is_part])
    step = _entered(operation_id, name, row[: len(FACTS)], token=token)
    return step, _operation(operation_id, row[len(FACTS) :])


def _entered(operation_id: UUID, name: str, facts: Sequence[Any], *, token: int | None) -> _Step:
    """Refuse who may not write, by what PostgreSQL found with the locks taken."""
    status, rolling_back_at, latest, checkpoint_id, step_status, missing = facts
    if status is None:
        raise UnknownOperation(str(operation_id))
    refuse_stopped(operation_id, status, rolling_back_at)
    refuse_stale(operation_id, token, latest)
    if checkpoint_id is None:
        raise UnknownCheckpoint(str(operation_id), name)
    return _Step(checkpoint_id, name, step_status, missing)


def _end(step: _Step, *, at: datetime) -> None:
    """Move the step to Applied, and the child that stands for it to Committed; of two callers one wins."""
    _refuse_move(step, CheckpointStatus.APPLIED)
    with connection.cursor() as cursor:
        cursor.execute(END, [step.checkpoint_id, step.status, at, CHILD_TYPES.get(step.name)])
        (is_moved,) = cursor.fetchone()
    if not is_moved:
        raise _overtaken(step, CheckpointStatus.APPLIED)


def _end_undo(operation: AtomicOperation, step: _Step, *, at: datetime) -> None:
    """Have the undo proven, the step Undone, and its child, or with the first step the run, RolledBack."""
    _refuse_move(step, CheckpointStatus.UNDONE)
    outcome, digest = _ask(END_UNDO, [step.checkpoint_id, step.status, at, CHILD_TYPES.get(step.name)])
    if outcome == "differs":
        raise UndoIncomplete(str(operation.pk), step.name)
    if outcome == "overtaken":
        raise _overtaken(step, CheckpointStatus.UNDONE)
    if outcome == "concluded":
        operation.status, operation.completed_at = OperationStatus.ROLLED_BACK, at
        operation.digest_after = digest


def _refuse_move(step: _Step, to: CheckpointStatus) -> None:
    if to not in CHECKPOINT_MOVES[CheckpointStatus(step.status)]:
        raise _overtaken(step, to)


def _overtaken(step: _Step, to: CheckpointStatus) -> IllegalMove:
    return IllegalMove("Checkpoint", str(step.checkpoint_id), step.status, to.value)


OPERATION_FIELDS = [field.attname for field in AtomicOperation._meta.concrete_fields]
WINDOW_FIELDS = [field.attname for field in ClearingWindow._meta.concrete_fields]
FACTS = (
    "operation_status",
    "rolling_back_at",
    "dispatch_count",
    "checkpoint_id",
    "checkpoint_status",
    "missing",
)
COLUMNS = ", ".join(
    [*(f"(operation).{name}" for name in OPERATION_FIELDS), *(f"(cleared).{name}" for name in WINDOW_FIELDS)]
)

READ = f"""
    SELECT {COLUMNS}
    FROM clearing_atomicoperation operation
    JOIN clearing_clearingwindow cleared ON cleared.id = operation.window_id
    WHERE operation.id = %s
"""
LOCK = f"{READ} FOR UPDATE OF operation"

# Each is one round trip; docs/adr/0012 says why the moves are in there.
BEGIN = f"SELECT {', '.join(FACTS)} FROM begin_step(%s, %s, %s, %s, %s)"

OPEN = f"SELECT {', '.join(f'(entered).{name}' for name in FACTS)}, {COLUMNS} FROM open_step(%s, %s, %s, %s)"

OPEN_ROLLBACK = f"SELECT {COLUMNS} FROM open_rollback(%s, %s, %s)"

OPEN_UNDO = "SELECT * FROM open_undo(%s, %s)"

END = "SELECT end_step(%s, %s, 'Applied', %s, %s, 'Committed')"

END_UNDO = "SELECT * FROM end_undo(%s, %s, %s, %s)"
