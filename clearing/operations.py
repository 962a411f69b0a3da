"""
Atomic operations: created, started, stepped, committed, or rolled back checkpoint by checkpoint.

One row decides: every step reads the operation FOR SHARE before it writes, commit and rollback take
it FOR UPDATE. A rollback first marks the operation, which waits for the steps in flight and stops
those to come; then it walks the checkpoints backwards, each undo in one transaction with its mark.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Count, QuerySet

from clearing import digests, steps
from clearing.checkpoints import STEPS
from clearing.events import facts, outbox
from clearing.faults import reach
from clearing.models import AtomicOperation, Checkpoint, ClearingWindow
from clearing.states import (
    OPERATION_MOVES,
    CheckpointStatus,
    OperationStatus,
    OperationType,
)
from clearing.steps import OutOfTurn
from clearing_project.errors import ClearingError, Conflict, Invalid
from clearing_project.lifecycle import move
from clearing_project.storable import storable

logger = logging.getLogger(__name__)

REASON_MAX = 500  # characters of why somebody intervenes

NAMES = tuple(step.NAME for step in STEPS)


class AlreadyProcessing(Conflict):
    """A live operation is clearing the window already."""

    code = "already_processing"
    fields = ("window_id", "operation_id")
    message = "Window {window_id} is already being cleared by operation {operation_id}."


class NothingToRollBack(Conflict):
    """No clearing run of the window could be undone."""

    code = "nothing_to_roll_back"
    fields = ("window_id", "status")
    message = "Window {window_id} is {status}; no clearing run of it can be rolled back."


class ReasonInvalid(Invalid):
    """Who intervenes says why."""

    code = "reason_invalid"
    fields = ("length_max",)
    message = "Give a reason of 1 to {length_max} characters."


class AlreadyFinal(Conflict):
    """The operation passed the point of no return; money is sent back, never un-sent."""

    code = "already_final"
    fields = ("operation_id",)
    message = (
        "Operation {operation_id} is final: its money has moved or is moving."
        " Correct the window in place of rolling it back: `POST windows/ID/correct`, or `manage.py"
        " correct_window ID`, sends the money back by opposite instructions."
    )


class RollbackFailed(Conflict):
    """An undo failed; the operation waits for repair and is resumed by rolling back again."""

    code = "rollback_failed"
    fields = ("operation_id", "checkpoint", "cause")
    message = "Operation {operation_id}: undoing {checkpoint} failed: {cause}"


def reason_given(text: str, *, is_required: bool = True) -> str:
    """
    Return why somebody intervenes, without the blanks around it.

    Raises:
        ReasonInvalid: it is empty though required, too long, or holds control characters.
    """
    reason = text.strip()
    printable = all(char.isprintable() or char in "\n\t" for char in reason)
    if (is_required and not reason) or len(reason) > REASON_MAX or not printable:
        raise ReasonInvalid(REASON_MAX)
    return reason


@transaction.atomic
def create(
    window: ClearingWindow,
    operation_type: OperationType,
    *,
    parent: AtomicOperation | None = None,
    reason: str = "",
    requested_by: str = "",
    is_released: bool = False,
) -> AtomicOperation:
    """
    Create a Pending operation; a clearing run comes with its checkpoints planned.

    Raises:
        AlreadyProcessing: the window has a live clearing run.
    """
    if operation_type == OperationType.WINDOW_CLEARING:
        ClearingWindow.objects.select_for_update().get(pk=window.pk)
        live = live_clearing(window.pk)
        if live is not None:
            raise AlreadyProcessing(window.pk, str(live.pk))
    operation = AtomicOperation.objects.create(
        window=window,
        operation_type=operation_type,
        parent=parent,
        reason=reason,
        requested_by=requested_by,
        is_released=is_released,
    )
    if operation_type == OperationType.WINDOW_CLEARING:
        Checkpoint.objects.bulk_create(
            Checkpoint(operation=operation, position=position, name=name)
            for position, name in enumerate(NAMES, start=1)
        )
    return operation


def start(operation: AtomicOperation, *, at: datetime) -> None:
    """Move the operation to InProgress."""
    move(operation, to=OperationStatus.IN_PROGRESS, moves=OPERATION_MOVES, started_at=at)


def clearings() -> QuerySet[AtomicOperation]:
    """All clearing runs, of whatever window and status."""
    return AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING)


def live_clearing(window_id: int) -> AtomicOperation | None:
    """Return the window's clearing run that is neither undone nor failed, if there is one."""
    ended = (OperationStatus.ROLLED_BACK, OperationStatus.FAILED)
    return (
        AtomicOperation.objects.filter(window_id=window_id, operation_type=OperationType.WINDOW_CLEARING)
        .exclude(status__in=ended)
        .first()
    )


def is_held(operation: AtomicOperation) -> bool:
    """Whether it is committed and waits for an operator; one that was released is not held any more."""
    return operation.held_at is not None and operation.final_at is None


def commit(operation_id: UUID, *, at: datetime, token: int | None = None) -> AtomicOperation:
    """
    Commit the operation, once every checkpoint is Applied. A committed one is returned as it is.

    Raises:
        OperationStopped: it was rolled back, or is being.
        LeaseLost: it was dispatched again since the caller's dispatch.
        OutOfTurn: a checkpoint is not applied.
    """
    with transaction.atomic():
        operation = steps.lock(operation_id)
        if operation.status == OperationStatus.COMMITTED and operation.rolling_back_at is None:
            return operation
        steps.refuse_stopped(operation_id, operation.status, operation.rolling_back_at)
        if token is not None:
            steps.refuse_stale(operation_id, token, steps.latest_dispatch(operation_id))
        open_ = operation.checkpoints.exclude(status=CheckpointStatus.APPLIED).order_by("position").first()
        if open_ is not None:
            raise OutOfTurn(str(operation_id), "commit", open_.name)
        move(operation, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at)
        return operation


def execute(operation_id: UUID, work: Callable[[AtomicOperation], None], *, at: datetime) -> AtomicOperation:
    """
    Start, *work*, commit; on any failure roll everything back and raise what failed.

    *work* runs outside any transaction of ours and takes its own steps (`run_step`).
    """
    operation = steps.get(operation_id)
    start(operation, at=at)
    try:
        work(operation)
        return commit(operation_id, at=at)
    except Exception as failure:
        condemn(operation_id, failure, at=at)
        roll_back(operation_id, at=at)
        raise


def condemn(operation_id: UUID, failure: BaseException, *, at: datetime, token: int | None = None) -> bool:
    """
    Mark the operation for rollback with what failed; from here on none of its steps may write.

    Waits for steps in flight. The first failure is kept; an operation that has ended is left alone.

    Args:
        token: of the dispatch that brought the caller here. Who was paused past its lease may fail as it
            likes: the run belongs to others and is left alone.

    Returns:
        Whether the caller had a say.
    """
    code = failure.code if isinstance(failure, ClearingError) else "internal_error"
    text = str(failure) if isinstance(failure, ClearingError) else f"{type(failure).__name__}: {failure}"
    with transaction.atomic():
        operation = steps.lock(operation_id)
        if token is not None and token != steps.latest_dispatch(operation_id):
            logger.warning("%s: who lost its lease at %s failed of %s", operation_id, token, text)
            return False
        if operation.status == OperationStatus.IN_PROGRESS and operation.rolling_back_at is None:
            AtomicOperation.objects.filter(pk=operation_id).update(
                rolling_back_at=at, error_code=code, error_message=storable(text, length_max=2000)
            )
        return True


def roll_back(operation_id: UUID, *, at: datetime, reason: str = "") -> AtomicOperation:
    """
    Undo every started checkpoint in reverse, then mark the operation RolledBack.

    May be repeated and may run concurrently: what is undone is not undone again.

    Raises:
        AlreadyFinal: the point of no return is passed.
        RollbackFailed: an undo failed; the operation is RollbackFailed and may be resumed by this call.
    """
    reach("rollback.before")
    operation = _begin_rollback(operation_id, at=at, reason=reason)
    if operation.status in (OperationStatus.ROLLED_BACK, OperationStatus.FAILED):
        return operation
    for step in reversed(STEPS):
        try:
            steps.undo(operation, step, at=at)
        except (OperationalError, InterfaceError):
            raise  # the database was away or a lock took too long: no undo failed, it is repeated
        except Exception as failure:
            _mark_rollback_failed(operation_id, step.NAME, failure, at=at)
            raise RollbackFailed(str(operation_id), step.NAME, str(failure)) from failure
    reach("rollback.conclude")
    return _conclude_rollback(operation, at=at)


def roll_back_window(window_id: int, *, at: datetime, reason: str) -> list[UUID]:
    """
    Roll back all live operations of the window, the latest first; children go with their parent.

    Returns:
        Ids of what was rolled back, in that order: for each run its children, latest first, then it.

    Raises:
        AlreadyFinal, RollbackFailed: what was rolled back before stays so.
    """
    undone: list[UUID] = []
    live = (
        AtomicOperation.objects.filter(window_id=window_id, operation_type=OperationType.WINDOW_CLEARING)
        .exclude(status__in=(OperationStatus.ROLLED_BACK, OperationStatus.FAILED))
        .order_by("-created_at")
    )
    for operation in live:
        roll_back(operation.pk, at=at, reason=reason)
        children = operation.children.order_by("-started_at", "-created_at").values_list("pk", flat=True)
        undone.extend([*children, operation.pk])
    return undone


def statistics() -> dict[str, dict[str, int]]:
    """Count operations per type and status; statuses that do not occur are left out."""
    counts: dict[str, dict[str, int]] = {}
    rows = AtomicOperation.objects.values_list("operation_type", "status").annotate(Count("id"))
    for operation_type, status, count in rows.order_by("operation_type", "status"):
        counts.setdefault(operation_type, {})[status] = count
    return counts


@transaction.atomic
def clean_up(*, at: datetime, keep: timedelta) -> int:
    """
    Delete operations that ended more than *keep* ago without effect, with their checkpoints.

    Rolled back and failed runs and their children go; a committed one is the record of how money
    moved and stays, as do windows, events, instructions and the ledger.

    Returns:
        How many operations were deleted.
    """
    old = AtomicOperation.objects.filter(
        status__in=(OperationStatus.ROLLED_BACK, OperationStatus.FAILED), completed_at__lt=at - keep
    )
    deleted = 0
    for batch in (old.filter(parent__isnull=False), old.filter(parent=None, children=None)):
        _, by_model = batch.delete()
        deleted += by_model.get("clearing.AtomicOperation", 0)
    return deleted


def _begin_rollback(operation_id: UUID, *, at: datetime, reason: str) -> AtomicOperation:
    operation = steps.open_rollback(operation_id, at=at, reason=reason)
    if operation.final_at is not None:
        raise AlreadyFinal(str(operation_id))
    return operation


def _conclude_rollback(found: AtomicOperation, *, at: datetime) -> AtomicOperation:
    """
    Prove that the state is the one before the first checkpoint, and write both digests down.

    The proof of the last undo has done so. Left to do are a run that never began, one that others undid
    meanwhile, and one whose digest is not the one before its first checkpoint.
    """
    if found.status == OperationStatus.ROLLED_BACK:
        return found
    operation_id = found.pk
    with transaction.atomic():
        operation = steps.lock(operation_id)
        if operation.status == OperationStatus.ROLLED_BACK:
            return operation
        digest = digests.of(operation_id, operation.window_id) if operation.digest_before else ""
        if digest == operation.digest_before:
            move(
                operation,
                to=OperationStatus.ROLLED_BACK,
                moves=OPERATION_MOVES,
                completed_at=at,
                digest_after=digest,
            )
            return operation
    failure = f"the state after the last undo is {digest}, before the first step {operation.digest_before}"
    _mark_rollback_failed(operation_id, "digest", failure, at=at)
    raise RollbackFailed(str(operation_id), "digest", failure)


def _mark_rollback_failed(operation_id: UUID, place: str, failure: Exception | str, *, at: datetime) -> None:
    """Mark the operation, and tell the outside in the same transaction, once."""
    logger.critical("rollback of operation %s failed at %s: %s", operation_id, place, failure)
    with transaction.atomic():
        operation = steps.lock(operation_id)
        message = f"{operation.error_message} (then the rollback failed at {place}: {failure})"
        changes = {"error_message": storable(message, length_max=2000)}
        if operation.status in (OperationStatus.IN_PROGRESS, OperationStatus.COMMITTED):
            move(operation, to=OperationStatus.ROLLBACK_FAILED, moves=OPERATION_MOVES, **changes)
            told = facts.RollbackFailed(
                operation_id=operation_id,
                checkpoint=place,
                cause=storable(str(failure), length_max=REASON_MAX),
            )
            outbox.append(operation.window_id, told, at=at)
