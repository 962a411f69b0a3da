"""
The cycle of a window, drawn once, above the tasks it is made of.

Celery only moves the work along: every task may be lost, doubled or late. What is done stands in the
database, ``advance`` sends what is missing, and the sweep (``recovery``) calls it for whatever was left
behind.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
from clearing.checkpoints.netting_calculated import Netted
from clearing.engine import crosscheck
from clearing.faults import reach
from clearing.models import AtomicOperation, ClearingWindow, Dispatch, FrozenSet, NettingResult
from clearing.states import CheckpointStatus, OperationStatus, OperationType, WindowStatus
from clearing.steps import LeaseLost, OperationStopped
from clearing_project import trace
from clearing_project.errors import Conflict, Unavailable
from clearing_project.remote import CircuitOpen, RemoteUnavailable

logger = logging.getLogger(__name__)

BACK_OFF_DOUBLINGS_MAX = 5
FIRST_TOKEN = 1
TRANSIENT = (OperationalError, InterfaceError, BrokerAway, RemoteUnavailable, CircuitOpen)


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


class NotSent(Unavailable):
    """The broker did not take the message; the sweep sends it again."""

    code = "not_sent"
    fields = ("cause",)
    message = "The broker did not take the message: {cause}"


class RunHeld(Conflict):
    """The window's run is committed, and settles when an operator releases it."""

    code = "run_held"
    fields = ("window_id", "operation_id", "reason")
    message = "Window {window_id} is cleared and held: {reason}. Release it to settle, or roll it back."


def clear(
    window: ClearingWindow, *, at: datetime, reason: str = "", release: bool = False
) -> AtomicOperation:
    """
    Start clearing a closed or rolled-back window. With *release* the run is not held before settlement,
    and one that is held already is settled now.

    The first checkpoint is applied here, so a caller sees the window Processing; the canvas leaves
    after the commit. An empty window has no chord and is finished on the spot.

    Raises:
        CutoffNotReached, WindowFinal, AlreadyProcessing
        RunHeld: its run is committed and waits for a release.
    """
    _refuse_unready(ClearingWindow.objects.get(pk=window.pk))
    held = operations.live_clearing(window.pk)
    if held is not None and operations.is_held(held):
        if not release:
            raise RunHeld(window.pk, str(held.pk), held.hold_reason)
        with _of(held):
            _release(held, at=at)
        return held
    with transaction.atomic():
        window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
        _refuse_unready(window)  # it may have been given up since
        operation = operations.create(
            window, OperationType.WINDOW_CLEARING, reason=reason, is_released=release
        )
        operations.start(operation, at=at)
        Dispatch.objects.create(operation=operation, count=FIRST_TOKEN, next_at=at + lease(0))
    with _of(operation):
        _take_window(operation, at=at, token=FIRST_TOKEN)
    transaction.on_commit(lambda: send(operation.pk))
    return operation


def draw(operation: AtomicOperation, *, token: int) -> Any:
    """
    Draw what is missing of the cycle: collection, a chord over currencies, seal, instructions, settle.

    The errback hangs on the whole canvas; hung on tasks of the chord's body it would never hear of a
    failed currency. Signatures are immutable and take ids: results are rows, not messages.
    """
    key = str(operation.pk)
    applied = set(
        operation.checkpoints.filter(status=CheckpointStatus.APPLIED).values_list("name", flat=True)
    )
    settling = instruct.si(key, token) | settle.si(key, token)
    canvas: Any  # the stubs do not know that a chord is a signature
    if instructions_generated.NAME in applied:
        canvas = settle.si(key, token)
    elif netting_calculated.NAME in applied:
        canvas = settling
    else:
        canvas = seal.si(key, token) | settling
        header = [net_currency.si(key, currency, token) for currency in _to_net(operation, applied)]
        if header:
            canvas = chord(header, canvas)
        if obligations_collected.NAME not in applied:
            canvas = chain(collect.si(key, token), canvas)
    canvas.on_error(roll_back.si(key))
    return canvas


def advance(operation_id: UUID) -> None:
    """
    Send what the operation still needs: back before the commit if marked so, otherwise forward.

    The same for a first start, the sweep and a resume; sending twice changes nothing but time.
    """
    operation = steps.get(operation_id)
    with _of(operation):
        _send_missing(operation)


def send(operation_id: UUID) -> None:
    """Advance; a message that does not leave, for whatever reason, is left to the sweep."""
    try:
        advance(operation_id)
    except Unavailable as away:
        logger.warning("operation %s waits for the sweep: %s", operation_id, away)


def lease(attempts: int) -> timedelta:
    """How long a dispatch may stay without a sign of life: doubled with each attempt, up to a bound."""
    seconds: float = settings.CLEARING["LEASE_SECONDS"]
    return timedelta(seconds=seconds * 2 ** min(attempts, BACK_OFF_DOUBLINGS_MAX))


retried = shared_task(autoretry_for=TRANSIENT, retry_backoff=True, retry_backoff_max=30, max_retries=5)


@retried
def collect(operation_id: str, token: int | None = None) -> None:
    """Freeze the window's obligations."""
    _step(operation_id, obligations_collected, token)


@retried
def net_currency(operation_id: str, currency_id: int, token: int | None = None) -> None:
    """Net one currency; the first of them writes ahead that netting has started."""
    key, at, name = UUID(operation_id), timezone.now(), netting_calculated.NAME
    with _condemning(key, at, token):
        _renew(key, token, at=at)
        steps.begin(key, name, at=at, token=token)
        netted = netting_calculated.compute(steps.get(key), currency_id)
        reach("currency.computed")
        steps.run_part(key, name, partial(_store, netted), token=token)
    reach("currency.after")


@retried
def seal(operation_id: str, token: int | None = None) -> None:
    """Hold that every currency is netted, and as the obligation engine nets it, if there is one."""
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at, token):
        _renew(key, token, at=at)
        crosscheck.check(steps.get(key))
    _step(operation_id, netting_calculated, token)


@retried
def instruct(operation_id: str, token: int | None = None) -> None:
    """Issue the instructions and reserve the funds."""
    _step(operation_id, instructions_generated, token)


@retried
def settle(operation_id: str, token: int | None = None) -> None:
    """Have risk evaluated, commit, and pass the point of no return unless the run is held for a release."""
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at, token):
        if finality.evaluate(key, at=at, on_progress=lambda: _renew(key, token, at=timezone.now())):
            send(key)
            return
        at = timezone.now()
        held = finality.commit(key, at=at, token=token)
    if not held:
        _come_back(key, finality.settle(key, at=timezone.now()))


@retried
def roll_back(operation_id: str) -> None:
    """Undo every checkpoint in reverse. A run that is final by now is left alone."""
    operation = steps.get(UUID(operation_id))
    if operation.final_at is None and operation.rolling_back_at is not None:
        operations.roll_back(UUID(operation_id), at=timezone.now())


@contextmanager
def _condemning(operation_id: UUID, at: datetime, token: int | None) -> Iterator[None]:
    """
    Mark the operation for rollback when its step fails.

    A passing outage is retried instead; who has lost the lease has no say, whatever it fails of.
    """
    try:
        yield
    except (*TRANSIENT, LeaseLost):
        raise
    except Exception as failure:
        operations.condemn(operation_id, failure, at=at, token=token)
        raise


@contextmanager
def _undoing(operation_id: UUID, at: datetime, token: int) -> Iterator[None]:
    """Roll the run back at once when its step fails here; an outage and a faster double are no failure."""
    try:
        yield
    except (*TRANSIENT, OperationStopped):
        raise
    except Exception as failure:
        if operations.condemn(operation_id, failure, at=at, token=token):
            operations.roll_back(operation_id, at=at)
        raise


def _step(operation_id: str, step: Step, token: int | None) -> None:
    key, at = UUID(operation_id), timezone.now()
    with _condemning(key, at, token):
        _renew(key, token, at=at)
        steps.run_step(key, step.NAME, partial(_apply, step, at=at), at=at, token=token)


def _renew(operation_id: UUID, token: int | None, *, at: datetime) -> None:
    """Give a sign of life: whoever holds the latest dispatch has a fresh lease from here on."""
    if token is not None:
        ends_at = at + lease(0)
        Dispatch.objects.filter(pk=operation_id, count=token, next_at__lt=ends_at).update(next_at=ends_at)


def _of(operation: AtomicOperation) -> AbstractContextManager[None]:
    """Let lines and messages bear whose they are."""
    return trace.work(window_id=operation.window_id, operation_id=str(operation.pk))


def _send_missing(operation: AtomicOperation) -> None:
    message: Any = None
    if operation.rolling_back_at is not None:
        message = roll_back.si(str(operation.pk))
    elif operation.status == OperationStatus.IN_PROGRESS:
        try:
            message = _go_on(operation, at=timezone.now())
        except OperationStopped as overtaken:  # by a double of this call, or by a rollback
            logger.info("%s", overtaken)
    elif operation.status == OperationStatus.COMMITTED and not operations.is_held(operation):
        message = settle.si(str(operation.pk))
    if message is not None:
        _publish(message)


def _publish(message: Any) -> None:
    """Hand a message to the broker; losing or doubling it is a fault the sweep and the steps make good."""
    action = reach("publish.before")
    times = {"drop": 0, "duplicate": 2}.get(action, 1)
    try:
        for _ in range(times):
            message.apply_async()
    except Exception as away:  # kombu's error, the result store's RuntimeError, the socket's own
        raise NotSent(f"{type(away).__name__}: {away}") from away
    reach("publish.after")


def _go_on(operation: AtomicOperation, *, at: datetime) -> Any:
    """Take the window if it is not taken; return what is to be sent, None if the window was empty."""
    token = Dispatch.objects.get(pk=operation.pk).count
    _take_window(operation, at=at, token=token)
    if _currencies(operation.window_id):
        return draw(operation, token=token)
    _finish_empty(operation, at=at, token=token)
    return None


def _refuse_unready(window: ClearingWindow) -> None:
    if window.status in (WindowStatus.SCHEDULED, WindowStatus.OPEN, WindowStatus.CLOSING):
        raise CutoffNotReached(window.pk, window.status, window.cutoff_at.isoformat())
    if window.status in (WindowStatus.COMPLETED, WindowStatus.FAILED):
        raise WindowFinal(window.pk, window.status)


def _take_window(operation: AtomicOperation, *, at: datetime, token: int) -> None:
    """Apply the first checkpoint, so that whoever asked sees the window Processing."""
    with _undoing(operation.pk, at, token):
        steps.run_step(
            operation.pk, window_status_changed.NAME, partial(_apply, window_status_changed, at=at), at=at
        )


def _finish_empty(operation: AtomicOperation, *, at: datetime, token: int) -> None:
    """Run every step here: with no obligations there is nothing to fan out."""
    key = operation.pk
    with _undoing(key, at, token):
        crosscheck.check(operation)
        for step in STEPS:
            steps.run_step(key, step.NAME, partial(_apply, step, at=at), at=at)
        held = finality.commit(key, at=at)
    if not held:
        finality.settle(key, at=at)


def _release(held: AtomicOperation, *, at: datetime) -> None:
    """
    Settle a held run: at once on our own ledger; what an outside engine executes is a worker's to do.

    What the risk engine gave no verdict about is asked for once more.
    """
    finality.evaluate(held.pk, at=at)
    if finality.is_outside(held.pk):
        finality.begin(held.pk, at=at)
        transaction.on_commit(lambda: send(held.pk))
    else:
        finality.settle(held.pk, at=at)


def _come_back(operation_id: UUID, due_at: datetime | None) -> None:
    """Go on at once with what a task had no time for; what waits for the engine is the sweep's, when due."""
    if due_at is None:
        return
    if due_at <= timezone.now():
        send(operation_id)
    else:
        Dispatch.objects.filter(pk=operation_id).update(next_at=due_at)


def _apply(step: Step, operation: AtomicOperation, *, at: datetime) -> None:
    step.apply(operation, at=at)


def _store(netted: Netted, operation: AtomicOperation) -> None:
    netting_calculated.store(operation, netted)
    reach("currency.between")


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
