"""
Steps of an operation: the Started mark written ahead, the effect and the Applied mark in one transaction.

Every step reads the operation FOR SHARE before it writes, so that steps run side by side while commit
and rollback, which take it FOR UPDATE, wait for them and then stop those to come.
"""

from collections.abc import Callable
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
    return _read(operation_id, "")


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
    entered = _enter(BEGIN, [operation_id, name, token, at, CHILD_TYPES.get(name)], token=token)
    if entered.missing is not None:
        raise OutOfTurn(str(operation_id), name, entered.missing)
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
        step = _enter(ENTER, [operation_id, name, token, True], token=token)
        if step.status == CheckpointStatus.PLANNED:
            raise OutOfTurn(str(operation_id), name, "its own start")
        if step.status == CheckpointStatus.STARTED:
            work(get(operation_id))


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
        step = _enter(ENTER, [operation_id, name, token, False], token=token)
        if step.status == CheckpointStatus.APPLIED:
            return False
        work(get(operation_id))
        reach(f"{name}.between")
        done_at = at + timedelta(seconds=perf_counter() - since)
        _end(step, at=done_at)
    reach(f"{name}.after")
    return True


def undo(operation_id: UUID, step: Step, *, at: datetime) -> None:
    """
    Undo a step that was started, prove it, and mark it, in one transaction; otherwise do nothing.

    Raises:
        UndoIncomplete: the state is not the one the step began with; nothing of the undo is kept.
    """
    reach(f"{step.NAME}.undo.before")
    with transaction.atomic():
        operation = lock(operation_id)
        found = _read_step(operation_id, step.NAME)
        if found is None or found.status in (CheckpointStatus.PLANNED, CheckpointStatus.UNDONE):
            return
        step.undo(operation, at=at)
        reach(f"{step.NAME}.undo.between")
        _end_undo(operation_id, found, at=at)
    reach(f"{step.NAME}.undo.after")


def lock(operation_id: UUID) -> AtomicOperation:
    """
    Take the row that decides, with its window: steps, commit and rollback wait for each other here.

    Raises:
        UnknownOperation
    """
    return _read(operation_id, "FOR UPDATE OF operation")


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


def _read(operation_id: UUID, lock: str) -> AtomicOperation:
    """Read the operation with its window by a statement made once: making it takes longer than running it."""
    with connection.cursor() as cursor:
        cursor.execute(f"{READ} {lock}", [operation_id])
        row = cursor.fetchone()
    if row is None:
        raise UnknownOperation(str(operation_id))
    alias, cut = connection.alias, len(OPERATION_FIELDS)
    operation = AtomicOperation.from_db(alias, OPERATION_FIELDS, row[:cut])
    operation.window = ClearingWindow.from_db(alias, WINDOW_FIELDS, row[cut:])
    return operation


@dataclass(frozen=True, slots=True)
class _Step:
    """A step as it was found, and the first earlier one that is not applied."""

    checkpoint_id: int
    name: str
    status: str
    missing: str | None = None


def _enter(sql: str, asked: list[Any], *, token: int | None) -> _Step:
    """
    Have the operation, the caller's dispatch and the step locked, in this order; refuse who may not write.

    Raises:
        UnknownOperation, OperationStopped, LeaseLost, UnknownCheckpoint
    """
    operation_id, name = asked[:2]
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)
        status, rolling_back_at, latest, checkpoint_id, step_status, missing = cursor.fetchone()
    if status is None:
        raise UnknownOperation(str(operation_id))
    refuse_stopped(operation_id, status, rolling_back_at)
    refuse_stale(operation_id, token, latest)
    if checkpoint_id is None:
        raise UnknownCheckpoint(str(operation_id), name)
    return _Step(checkpoint_id, name, step_status, missing)


def _read_step(operation_id: UUID, name: str) -> _Step | None:
    with connection.cursor() as cursor:
        cursor.execute(READ_STEP, [operation_id, name])
        row = cursor.fetchone()
    return _Step(row[0], name, row[1]) if row else None


def _end(step: _Step, *, at: datetime) -> None:
    """Move the step to Applied, and the child that stands for it to Committed; of two callers one wins."""
    _refuse_move(step, CheckpointStatus.APPLIED)
    with connection.cursor() as cursor:
        cursor.execute(END, [step.checkpoint_id, step.status, at, CHILD_TYPES.get(step.name)])
        (is_moved,) = cursor.fetchone()
    if not is_moved:
        raise _overtaken(step, CheckpointStatus.APPLIED)


def _end_undo(operation_id: UUID, step: _Step, *, at: datetime) -> None:
    """Have the undo proven, and move the step to Undone and its child to RolledBack."""
    _refuse_move(step, CheckpointStatus.UNDONE)
    with connection.cursor() as cursor:
        cursor.execute(END_UNDO, [step.checkpoint_id, step.status, at, CHILD_TYPES.get(step.name)])
        (outcome,) = cursor.fetchone()
    if outcome == "differs":
        raise UndoIncomplete(str(operation_id), step.name)
    if outcome == "overtaken":
        raise _overtaken(step, CheckpointStatus.UNDONE)


def _refuse_move(step: _Step, to: CheckpointStatus) -> None:
    if to not in CHECKPOINT_MOVES[CheckpointStatus(step.status)]:
        raise _overtaken(step, to)


def _overtaken(step: _Step, to: CheckpointStatus) -> IllegalMove:
    return IllegalMove("Checkpoint", str(step.checkpoint_id), step.status, to.value)


OPERATION_FIELDS = [field.attname for field in AtomicOperation._meta.concrete_fields]
WINDOW_FIELDS = [field.attname for field in ClearingWindow._meta.concrete_fields]
READ = f"""
    SELECT {", ".join(f"operation.{name}" for name in OPERATION_FIELDS)},
           {", ".join(f"clearing_window.{name}" for name in WINDOW_FIELDS)}
    FROM clearing_atomicoperation operation
    JOIN clearing_clearingwindow clearing_window ON clearing_window.id = operation.window_id
    WHERE operation.id = %s
"""

FACTS = "operation_status, rolling_back_at, dispatch_count, checkpoint_id, checkpoint_status, missing"

# Both are one round trip; docs/adr/0012 says why the moves are in there.
BEGIN = f"SELECT {FACTS} FROM begin_step(%s, %s, %s, %s, %s)"

ENTER = f"SELECT {FACTS} FROM enter_step(%s, %s, %s, false, %s)"

END = "SELECT end_step(%s, %s, 'Applied', %s, %s, 'Committed')"

END_UNDO = "SELECT end_undo(%s, %s, %s, %s)"

READ_STEP = "SELECT id, status FROM clearing_checkpoint WHERE operation_id = %s AND name = %s"
