"""
The cycle of a window, drawn once, above the tasks it is made of.

Celery only moves the work along: every task may be lost, doubled or late. What is done stands in the
database, ``advance`` sends what is missing, and the sweep calls it for whatever was left behind.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from celery import chain, chord, shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from clearing import finality, operations, partitions, steps
from clearing.checkpoints import (
    STEPS,
    Step,
    instructions_generated,
    netting_calculated,
    obligations_collected,
    window_status_changed,
)
from clearing.models import AtomicOperation, ClearingWindow, Dispatch, FrozenSet, NettingResult
from clearing.states import CheckpointStatus, OperationStatus, OperationType, WindowStatus
from clearing_project.errors import Conflict

logger = logging.getLogger(__name__)

BACK_OFF_DOUBLINGS_MAX = 5
TRANSIENT = (OperationalError, InterfaceError, BrokerAway)


class CutoffNotReached(Conflict):
    """The window still accepts obligations, or waits for its grace to pass."""

    code = "cutoff_not_reached"
    fields = ("window_id", "status", "cutoff_at")
    message = (
        "Window {window_id} is {status} until its cutoff at {cutoff_at}; force-close it to clear it now."
    )


class WindowFinal(Conflict):
    """The window has ended; nothing clears it again."""

    code = "window_final"
    fields = ("window_id", "status")
    message = "Window {window_id} is {status}; that is final."


class RunHeld(Conflict):
    """The window's run is committed, and settles when an operator releases it."""

    code = "run_held"
    fields = ("window_id", "operation_id", "reason")
    message = "Window {window_id} is cleared and held: {reason}. Release it to settle, or roll it back."


def clear(
    window: ClearingWindow, *, at: datetime, reason: str = "", release: bool = False
) -> AtomicOperation:
    """
    Start clearing a closed or rolled-back window; with *release* also settle a committed run that is held.

    The first checkpoint is applied here, so a caller sees the window Processing; the canvas leaves
    after the commit. An empty window has no chord and is finished on the spot.

    Raises:
        CutoffNotReached, WindowFinal, AlreadyProcessing
        RunHeld: its run is committed and waits for a release.
    """
    window = ClearingWindow.objects.get(pk=window.pk)
    if window.status in (WindowStatus.SCHEDULED, WindowStatus.OPEN, WindowStatus.CLOSING):
        raise CutoffNotReached(window.pk, window.status, window.cutoff_at.isoformat())
    if window.status in (WindowStatus.COMPLETED, WindowStatus.FAILED):
        raise WindowFinal(window.pk, window.status)
    held = operations.live_clearing(window.pk)
    if held is not None and held.held_at is not None and held.final_at is None:
        if not release:
            raise RunHeld(window.pk, str(held.pk), held.hold_reason)
        finality.settle(held.pk, at=at)
        return held
    with transaction.atomic():
        operation = operations.create(window, OperationType.WINDOW_CLEARING, reason=reason)
        operations.start(operation, at=at)
        Dispatch.objects.create(operation=operation, next_at=at + _resend_after(0))
    try:
        steps.run_step(
            operation.pk, window_status_changed.NAME, partial(_apply, window_status_changed, at=at), at=at
        )
    except Exception as failure:
        operations.condemn(operation.pk, failure, at=at)
        operations.roll_back(operation.pk, at=at)
        raise
    transaction.on_commit(lambda: _send(operation.pk))
    return operation


def draw(operation: AtomicOperation) -> Any:
    """
    Draw what is missing of the cycle: collection, a chord over currencies, seal, instructions, settle.

    The errback hangs on the whole canvas; hung on tasks of the chord's body it would never hear of a
    failed currency. Signatures are immutable and take ids: results are rows, not messages.
    """
    key = str(operation.pk)
    applied = set(
        operation.checkpoints.filter(status=CheckpointStatus.APPLIED).values_list("name", flat=True)
    )
    settling = instruct.si(key) | settle.si(key)
    canvas: Any  # the stubs do not know that a chord is a signature
    if instructions_generated.NAME in applied:
        canvas = settle.si(key)
    elif netting_calculated.NAME in applied:
        canvas = settling
    else:
        canvas = seal.si(key) | settling
        header = [net_currency.si(key, currency) for currency in _to_net(operation, applied)]
        if header:
            canvas = chord(header, canvas)
        if obligations_collected.NAME not in applied:
            canvas = chain(collect.si(key), canvas)
    canvas.on_error(roll_back.si(key))
    return canvas


def advance(operation_id: UUID) -> None:
    """
    Send what the operation still needs: back before the commit if marked so, otherwise forward.

    The same for a first start, the sweep and a resume; sending twice changes nothing but time.
    """
    operation = steps.get(operation_id)
    if operation.rolling_back_at is not None:
        roll_back.si(str(operation_id)).apply_async()
    elif operation.status == OperationStatus.IN_PROGRESS:
        if not _currencies(operation.window_id):
            _finish_empty(operation, at=timezone.now())
        else:
            draw(operation).apply_async()
    elif operation.status == OperationStatus.COMMITTED and operation.held_at is None:
        settle.si(str(operation_id)).apply_async()


def sweep(*, at: datetime) -> int:
    """
    Advance live runs whose last dispatch is older than its back-off; safe to run concurrently.

    Returns:
        How many were advanced.
    """
    due = Dispatch.objects.filter(next_at__lte=at).exclude(
        operation__status__in=(OperationStatus.ROLLED_BACK, OperationStatus.FAILED)
    )
    due = due.exclude(operation__window__status__in=(WindowStatus.COMPLETED, WindowStatus.FAILED))
    advanced = 0
    for operation_id in due.order_by("next_at").values_list("operation_id", flat=True)[:100]:
        with transaction.atomic():
            dispatch = (
                Dispatch.objects.select_for_update(skip_locked=True)
                .filter(pk=operation_id, next_at__lte=at)
                .first()
            )
            if dispatch is None:
                continue
            dispatch.count += 1
            dispatch.next_at = at + _resend_after(dispatch.count)
            dispatch.save(update_fields=["count", "next_at"])
        _send(operation_id)
        advanced += 1
    return advanced


retried = shared_task(autoretry_for=TRANSIENT, retry_backoff=True, retry_backoff_max=30, max_retries=5)


@retried
def collect(operation_id: str) -> None:
    """Freeze the window's obligations."""
    _step(operation_id, obligations_collected)


@retried
def net_currency(operation_id: str, currency_id: int) -> None:
    """Net one currency; the first of them writes ahead that netting has started."""
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at):
        steps.begin(key, netting_calculated.NAME, at=at)
        netted = netting_calculated.compute(steps.get(key), currency_id)
        steps.run_part(
            key, netting_calculated.NAME, lambda operation: netting_calculated.store(operation, netted)
        )


@retried
def seal(operation_id: str) -> None:
    """Hold that every currency is netted."""
    _step(operation_id, netting_calculated)


@retried
def instruct(operation_id: str) -> None:
    """Issue the instructions and reserve the funds."""
    _step(operation_id, instructions_generated)


@retried
def settle(operation_id: str) -> None:
    """Commit, and pass the point of no return unless the run is held for a release."""
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at):
        held = finality.commit(key, at=at)
    if not held:
        finality.settle(key, at=at)


@retried
def roll_back(operation_id: str) -> None:
    """Undo every checkpoint in reverse. A run that is final by now is left alone."""
    operation = steps.get(UUID(operation_id))
    if operation.final_at is None and operation.rolling_back_at is not None:
        operations.roll_back(UUID(operation_id), at=timezone.now())


@contextmanager
def _condemning(operation_id: UUID, at: datetime) -> Iterator[None]:
    """Mark the operation for rollback when its step fails; a passing outage is retried instead."""
    try:
        yield
    except TRANSIENT:
        raise
    except Exception as failure:
        operations.condemn(operation_id, failure, at=at)
        raise


def _step(operation_id: str, step: Step) -> None:
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at):
        steps.run_step(key, step.NAME, partial(_apply, step, at=at), at=at)


def _send(operation_id: UUID) -> None:
    """Advance, leaving it to the sweep when the broker is away."""
    try:
        advance(operation_id)
    except BrokerAway as away:
        logger.warning("operation %s waits for the sweep: %s", operation_id, away)


def _finish_empty(operation: AtomicOperation, *, at: datetime) -> None:
    """Run every step here: with no obligations there is nothing to fan out."""
    key = operation.pk
    try:
        for step in STEPS:
            steps.run_step(key, step.NAME, partial(_apply, step, at=at), at=at)
        held = finality.commit(key, at=at)
    except Exception as failure:
        operations.condemn(key, failure, at=at)
        operations.roll_back(key, at=at)
        raise
    if not held:
        finality.settle(key, at=at)


def _apply(step: Step, operation: AtomicOperation, *, at: datetime) -> None:
    step.apply(operation, at=at)


def _to_net(operation: AtomicOperation, applied: set[str]) -> list[int]:
    """List the currencies without a result, from the frozen sets or, before those, from the window."""
    if obligations_collected.NAME not in applied:
        return _currencies(operation.window_id)
    frozen = FrozenSet.objects.filter(operation=operation).values_list("currency_id", flat=True)
    done = NettingResult.objects.filter(operation=operation).values_list("currency_id", flat=True)
    return sorted(set(frozen) - set(done))


def _currencies(window_id: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT currency_id FROM {partitions.name(window_id)} ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]


def _resend_after(count: int) -> timedelta:
    seconds: int = settings.CLEARING["RESEND_AFTER_SECONDS"]
    return timedelta(seconds=seconds * 2 ** min(count, BACK_OFF_DOUBLINGS_MAX))
