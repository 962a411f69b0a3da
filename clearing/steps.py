"""
Steps of an operation: the Started mark written ahead, the effect and the Applied mark in one transaction.

Every step reads the operation FOR SHARE before it writes, so that steps run side by side while commit
and rollback, which take it FOR UPDATE, wait for them and then stop those to come.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

from django.db import connection, transaction

from clearing import digests
from clearing.checkpoints import STEPS, Step
from clearing.faults import reach
from clearing.models import AtomicOperation, Checkpoint
from clearing.states import (
    CHECKPOINT_MOVES,
    OPERATION_MOVES,
    CheckpointStatus,
    OperationStatus,
    OperationType,
)
from clearing_project.errors import Conflict, NotFound
from clearing_project.lifecycle import move

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
    found = AtomicOperation.objects.select_related("window").filter(pk=operation_id).first()
    if found is None:
        raise UnknownOperation(str(operation_id))
    return found


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
    Write ahead that the step is Started, in a transaction of its own. May be repeated.

    Args:
        token: of the dispatch that brought the caller here; None outside a worker.

    Raises:
        OperationStopped, OutOfTurn, UnknownCheckpoint
        LeaseLost: the operation was dispatched again since, and belongs to others.
    """
    reach(f"{name}.begin.before")
    with transaction.atomic():
        if name == FIRST:
            lock(operation_id)  # written below: beside a double, a share lock could not be raised to this
        operation = _lock_to_write(operation_id, token)
        checkpoint = _lock_checkpoint(operation_id, name)
        _refuse_out_of_turn(operation_id, checkpoint)
        if checkpoint.status == CheckpointStatus.PLANNED:
            digest = digests.of(operation)
            if name == FIRST:
                AtomicOperation.objects.filter(pk=operation_id).update(digest_before=digest)
            move(
                checkpoint,
                to=CheckpointStatus.STARTED,
                moves=CHECKPOINT_MOVES,
                started_at=at,
                digest_before=digest,
            )
            _start_child(operation, name, at=at)
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
        operation = _lock_to_write(operation_id, token)
        checkpoint = find_checkpoint(operation_id, name)
        if checkpoint.status == CheckpointStatus.PLANNED:
            raise OutOfTurn(str(operation_id), name, "its own start")
        if checkpoint.status == CheckpointStatus.STARTED:
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
        operation = _lock_to_write(operation_id, token)
        checkpoint = _lock_checkpoint(operation_id, name)
        if checkpoint.status == CheckpointStatus.APPLIED:
            return False
        work(operation)
        reach(f"{name}.between")
        done_at = at + timedelta(seconds=perf_counter() - since)
        move(checkpoint, to=CheckpointStatus.APPLIED, moves=CHECKPOINT_MOVES, applied_at=done_at)
        _end_child(operation_id, name, OperationStatus.COMMITTED, at=done_at)
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
        checkpoint = Checkpoint.objects.filter(operation_id=operation_id, name=step.NAME).first()
        if checkpoint is None or checkpoint.status in (CheckpointStatus.PLANNED, CheckpointStatus.UNDONE):
            return
        step.undo(operation, at=at)
        reach(f"{step.NAME}.undo.between")
        if digests.of(operation) != checkpoint.digest_before:
            raise UndoIncomplete(str(operation_id), step.NAME)
        move(checkpoint, to=CheckpointStatus.UNDONE, moves=CHECKPOINT_MOVES, undone_at=at)
        _end_child(operation_id, step.NAME, OperationStatus.ROLLED_BACK, at=at)
    reach(f"{step.NAME}.undo.after")


def lock(operation_id: UUID) -> AtomicOperation:
    """
    Take the row that decides, with its window: steps, commit and rollback wait for each other here.

    Raises:
        UnknownOperation
    """
    found = (
        AtomicOperation.objects.select_for_update(of=("self",))
        .select_related("window")
        .filter(pk=operation_id)
        .first()
    )
    if found is None:
        raise UnknownOperation(str(operation_id))
    return found


def refuse_stopped(operation: AtomicOperation) -> None:
    """
    Refuse unless the operation is in progress and not being rolled back.

    Raises:
        OperationStopped
    """
    if operation.rolling_back_at is not None:
        raise OperationStopped(str(operation.pk), "being rolled back")
    if operation.status != OperationStatus.IN_PROGRESS:
        raise OperationStopped(str(operation.pk), operation.status)


def refuse_stale(operation_id: UUID, token: int | None) -> None:
    """
    Refuse a caller whose dispatch is not the latest; until our transaction ends there is no later one.

    Raises:
        LeaseLost
    """
    if token is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count FROM clearing_dispatch WHERE operation_id = %s FOR SHARE", [operation_id]
        )
        row = cursor.fetchone()
    if row is None or row[0] != token:
        raise LeaseLost(str(operation_id), token)


def _lock_to_write(operation_id: UUID, token: int | None) -> AtomicOperation:
    """Read the operation FOR SHARE: steps run side by side, commit and rollback wait for them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM clearing_atomicoperation WHERE id = %s FOR SHARE", [operation_id])
    operation = get(operation_id)
    refuse_stopped(operation)
    refuse_stale(operation_id, token)
    return operation


def _lock_checkpoint(operation_id: UUID, name: str) -> Checkpoint:
    found = (
        Checkpoint.objects.select_for_update(of=("self",))  # not the operation beside it
        .filter(operation_id=operation_id, name=name)
        .order_by("id")
        .first()
    )
    if found is None:
        raise UnknownCheckpoint(str(operation_id), name)
    return found


def _refuse_out_of_turn(operation_id: UUID, checkpoint: Checkpoint) -> None:
    earlier = Checkpoint.objects.filter(operation_id=operation_id, position__lt=checkpoint.position)
    missing = earlier.exclude(status=CheckpointStatus.APPLIED).order_by("position").first()
    if missing is not None:
        raise OutOfTurn(str(operation_id), checkpoint.name, missing.name)


def _start_child(operation: AtomicOperation, name: str, *, at: datetime) -> None:
    if name in CHILD_TYPES:
        child = AtomicOperation.objects.create(
            window=operation.window, operation_type=CHILD_TYPES[name], parent=operation
        )
        move(child, to=OperationStatus.IN_PROGRESS, moves=OPERATION_MOVES, started_at=at)


def _end_child(operation_id: UUID, name: str, to: OperationStatus, *, at: datetime) -> None:
    children = AtomicOperation.objects.filter(parent_id=operation_id)
    for child in children.filter(operation_type=CHILD_TYPES.get(name, "")):
        move(child, to=to, moves=OPERATION_MOVES, completed_at=at)
