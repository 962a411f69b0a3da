"""
The point of no return. Before it a run is undone; after it there are only retries forward.

``commit`` ends the run's own work, and holds it if its window does not settle by itself. ``settle``
writes the finality moment and moves the money: from that moment on a constraint refuses any rollback.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

from django.conf import settings
from django.db import transaction

from clearing import operations, settling, steps
from clearing.events import facts, outbox
from clearing.faults import reach
from clearing.models import (
    AtomicOperation,
    ClearingWindow,
    MultilateralPosition,
    NettingResult,
    WindowMetrics,
)
from clearing.states import (
    OPERATION_MOVES,
    WINDOW_MOVES,
    NettingMode,
    OperationStatus,
    OperationType,
    WindowStatus,
)
from clearing_project.errors import Conflict
from clearing_project.lifecycle import move
from settlement.models import SettlementInstruction
from settlement.rails import executions, ledger, risk
from settlement.states import InstructionStatus

HOLD_REASON_MAX = 140


class NotCommitted(Conflict):
    """The run is not committed, so its money may not move."""

    code = "not_committed"
    fields = ("operation_id", "status")
    message = "Operation {operation_id} is {status}; money moves only after the commit."


class RiskRejected(Conflict):
    """The risk engine rejected an instruction of the run, so the run is never settled as it is."""

    code = "risk_rejected"
    fields = ("operation_id", "rejected", "reason")
    message = (
        "The risk engine rejected {rejected} instruction(s) of operation {operation_id}: {reason}."
        " Roll the run back; cleared again, its instructions are evaluated anew."
    )


class RiskUnanswered(Conflict):
    """The risk engine has not approved every instruction of the run yet."""

    code = "risk_unanswered"
    fields = ("operation_id", "pending")
    message = (
        "The risk engine has given no verdict about {pending} instruction(s) of operation {operation_id};"
        " nothing is sent without one."
    )


def evaluate(operation_id: UUID, *, at: datetime, on_progress: Callable[[], None] = lambda: None) -> bool:
    """
    Have the risk engine evaluate the run's instructions that it has not; outside any transaction.

    Returns:
        Whether the time was up first: call again.
    """
    return risk.evaluate(operation_id, at=at, on_progress=on_progress)


def commit(operation_id: UUID, *, at: datetime, token: int | None = None) -> bool:
    """
    Commit the run; hold it where the risk engine rejected an instruction or gave no verdict, where the
    window does not settle by itself, or netting saved too little.

    Returns:
        Whether it is held. A committed run answers as it did.

    Raises:
        OperationStopped, OutOfTurn, LeaseLost
        RiskRejected: where the policy is to fail; the run is to be rolled back.
    """
    reach("commit.before")
    with transaction.atomic():
        operation = steps.lock(operation_id)
        was_committed = operation.status == OperationStatus.COMMITTED
        operation = operations.commit(operation_id, at=at, token=token)
        if not was_committed:
            _alert(operation, at=at)
            operation.hold_reason = _risk_reason(operation) or _hold_reason(operation)
            operation.held_at = at if operation.hold_reason else None
            operation.save(update_fields=["held_at", "hold_reason"])
        reach("commit.between")
        held = operations.is_held(operation)
    reach("commit.after")
    return held


def settle(operation_id: UUID, *, at: datetime) -> datetime | None:
    """
    Pass the point of no return and move the money. May be repeated at any stage.

    On our own ledger the batch moves as one. An outside engine gets it instruction by instruction, within
    a bounded time; the window stays Settling until each is Completed.

    Returns:
        When to call again; None if there is nothing to call for.

    Raises:
        NotCommitted, RiskRejected, RiskUnanswered
    """
    since = perf_counter()
    begin(operation_id, at=at)
    reach("finality.after")
    if not is_outside(operation_id):
        _move_money(operation_id, at=at)
        reach("settlement.after")
        return None
    due_at = settling.drive(operation_id, at=at + timedelta(seconds=perf_counter() - since))
    complete(operation_id, at=at + timedelta(seconds=perf_counter() - since))
    reach("settlement.after")
    return due_at


def is_outside(operation_id: UUID) -> bool:
    """Tell whether an outside engine executes the run's batch; decided when it was issued."""
    return executions.carries(operation_id)


@transaction.atomic
def begin(operation_id: UUID, *, at: datetime) -> None:
    """
    Write the finality moment; the window is Settling from here on. May be repeated.

    Raises:
        NotCommitted, RiskRejected, RiskUnanswered
    """
    operation = steps.lock(operation_id)
    if operation.final_at is not None:
        return
    if operation.status != OperationStatus.COMMITTED or operation.rolling_back_at is not None:
        raise NotCommitted(str(operation_id), operation.status)
    _refuse_unapproved(operation_id)
    operation.final_at = at
    operation.save(update_fields=["final_at"])
    initiation = AtomicOperation.objects.create(
        window=operation.window, operation_type=OperationType.SETTLEMENT_INITIATION, parent=operation
    )
    operations.start(initiation, at=at)
    window = ClearingWindow.objects.select_for_update().get(pk=operation.window_id)
    move(window, to=WindowStatus.SETTLING, moves=WINDOW_MOVES)
    reach("finality.between")


@transaction.atomic
def _move_money(operation_id: UUID, *, at: datetime) -> None:
    """Post the whole batch and complete the window, in one transaction."""
    operation = steps.lock(operation_id)
    window = ClearingWindow.objects.select_for_update().get(pk=operation.window_id)
    if window.status == WindowStatus.COMPLETED:
        return
    ledger.settle(operation_id, at=at)
    reach("settlement.between")
    _complete(operation, window, at=at)


@transaction.atomic
def complete(operation_id: UUID, *, at: datetime) -> bool:
    """Complete the window once each instruction of its batch is; tell whether it is. May be repeated."""
    operation = steps.lock(operation_id)
    window = ClearingWindow.objects.select_for_update().get(pk=operation.window_id)
    batch = SettlementInstruction.objects.filter(batch_id=operation_id)
    if operation.final_at is None or batch.exclude(status=InstructionStatus.COMPLETED).exists():
        return False
    if window.status != WindowStatus.COMPLETED:
        _complete(operation, window, at=at)
    return True


def _complete(operation: AtomicOperation, window: ClearingWindow, *, at: datetime) -> None:
    initiation = operation.children.get(operation_type=OperationType.SETTLEMENT_INITIATION)
    move(initiation, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    move(window, to=WindowStatus.COMPLETED, moves=WINDOW_MOVES, processed_at=at)
    metrics = _measure(operation, window, at=at)
    outbox.append(
        window.pk,
        facts.Completed(
            operation_id=operation.pk,
            obligations_count=metrics.obligations_count,
            instructions_count=metrics.instructions_count,
            efficiency_bps=metrics.efficiency_bps,
            emergency_mode=window.emergency_mode,
        ),
        at=at,
    )


def _risk_reason(operation: AtomicOperation) -> str:
    """
    Say what the risk engine has against sending the batch; empty if nothing, or if it was not to be asked.

    Raises:
        RiskRejected
    """
    standing = risk.standing(operation.pk)
    if standing.rejected:
        if settings.CLEARING["RISK_POLICY"] == "fail":
            raise RiskRejected(str(operation.pk), standing.rejected, standing.reason)
        return f"risk rejected {standing.rejected} instruction(s): {standing.reason}"[:HOLD_REASON_MAX]
    if standing.pending:
        return f"risk gave no verdict about {standing.pending} instruction(s)"
    return ""


def _refuse_unapproved(operation_id: UUID) -> None:
    standing = risk.standing(operation_id)
    if standing.rejected:
        raise RiskRejected(str(operation_id), standing.rejected, standing.reason)
    if standing.pending:
        raise RiskUnanswered(str(operation_id), standing.pending)


def _hold_reason(operation: AtomicOperation) -> str:
    """Say why the run must not settle by itself; empty if it may."""
    window = operation.window
    if operation.is_released:
        return ""
    if not window.auto_settle:
        return "the window does not settle by itself"
    if window.netting_mode == NettingMode.GROSS or window.emergency_mode:
        return ""
    obligations, efficiency_bps = _efficiency(operation)
    if obligations and efficiency_bps < window.min_netting_efficiency_bps:
        floor_bps = window.min_netting_efficiency_bps
        return f"efficiency {efficiency_bps / 100:.2f} % is below {floor_bps / 100:.2f} %"
    return ""


def _alert(operation: AtomicOperation, *, at: datetime) -> None:
    """Tell the outside when netting saved alarmingly little."""
    if operation.window.netting_mode == NettingMode.GROSS:
        return
    obligations, efficiency_bps = _efficiency(operation)
    if obligations and efficiency_bps < settings.CLEARING["EMERGENCY_THRESHOLD"] * 10_000:
        told = facts.EfficiencyAlert(operation_id=operation.pk, efficiency_bps=efficiency_bps)
        outbox.append(operation.window_id, told, at=at)


def _efficiency(operation: AtomicOperation) -> tuple[int, int]:
    """Return the run's obligations, and its efficiency in bps: the currencies' mean by obligations."""
    results = list(NettingResult.objects.filter(operation=operation))
    obligations = sum(row.obligations_count for row in results)
    weighted = sum(row.efficiency_bps * row.obligations_count for row in results)
    return obligations, weighted // obligations if obligations else 0


def _measure(operation: AtomicOperation, window: ClearingWindow, *, at: datetime) -> WindowMetrics:
    obligations, efficiency_bps = _efficiency(operation)
    return WindowMetrics.objects.create(
        window=window,
        obligations_count=obligations,
        currencies_count=NettingResult.objects.filter(operation=operation).count(),
        positions_count=MultilateralPosition.objects.filter(operation=operation).count(),
        instructions_count=SettlementInstruction.objects.filter(batch_id=operation.pk).count(),
        efficiency_bps=efficiency_bps,
        close_ms=_milliseconds(window.closing_at, window.closed_at),
        processing_ms=_milliseconds(operation.started_at, at),
    )


def _milliseconds(since: datetime | None, until: datetime | None) -> int:
    assert since is not None, "measured before it began"
    assert until is not None, "measured before it ended"
    return max(0, (until - since) // timedelta(milliseconds=1))
