"""
After finality money is sent back, never un-sent: opposite instructions, each linked to the one it corrects.

A correction is an operation of its own, with its reason and who asked for it. It happens in one
transaction: whatever fails and wherever it is killed, all of it is done or none. The originals, the window
and the run stay as they are.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from clearing import operations, steps
from clearing.events import facts, outbox
from clearing.faults import reach
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import OPERATION_MOVES, OperationStatus, OperationType, WindowStatus
from clearing_project.errors import ClearingError, Conflict
from clearing_project.lifecycle import move
from settlement import accounts, corrections
from settlement.rails import executions, ledger


class NotSettled(Conflict):
    """No money of the window has moved for good, so none is sent back."""

    code = "not_settled"
    fields = ("window_id", "status")
    message = (
        "Window {window_id} is {status}; only what a completed window settled is corrected."
        " What is not final yet is rolled back."
    )


class SettledOutside(Conflict):
    """An outside engine moved the money, so our own ledger cannot send it back."""

    code = "settled_outside"
    fields = ("window_id",)
    message = (
        "Window {window_id} was settled by an outside engine: send its money back by opposite obligations in"
        " a later window, which that engine settles."
    )


def correct(
    window: ClearingWindow,
    *,
    at: datetime,
    reason: str,
    by: str,
    instruction_ids: Sequence[UUID] | None = None,
) -> AtomicOperation:
    """
    Send back what a completed window settled: all that is not corrected yet, or the instructions chosen.

    What it takes from an account must be there, as for any batch, net of what it brings. A refusal is kept
    as a failed operation.

    Returns:
        The committed operation; its id is the batch of the opposite instructions.

    Raises:
        ReasonInvalid
        NotSettled: the window is not completed.
        SettledOutside
        InstructionNotInBatch, InstructionNotSettled, AlreadyCorrected, NothingToCorrect, CorrectionUnbalanced
        InsufficientFunds: who received the money no longer has it.
    """
    reason = operations.reason_given(reason)
    run = operations.live_clearing(window.pk)
    status = ClearingWindow.objects.values_list("status", flat=True).get(pk=window.pk)
    if run is None or status != WindowStatus.COMPLETED:
        raise NotSettled(window.pk, status)
    if executions.carries(run.pk):
        raise SettledOutside(window.pk)
    reach("correction.before")
    try:
        with transaction.atomic():
            operation = _begin(window, at=at, reason=reason, by=by)
            _send_back(operation, run.pk, instruction_ids, at=at)
            reach("correction.between")
    except ClearingError as refusal:
        _keep_refusal(window, refusal, at=at, reason=reason, by=by)
        raise
    reach("correction.after")
    return operation


def _begin(window: ClearingWindow, *, at: datetime, reason: str, by: str) -> AtomicOperation:
    operation = operations.create(window, OperationType.CORRECTION, reason=reason, requested_by=by)
    operations.start(operation, at=at)
    return operation


def _send_back(
    operation: AtomicOperation, run_id: UUID, instruction_ids: Sequence[UUID] | None, *, at: datetime
) -> None:
    """Issue, check, post and commit; all accounts are locked in key order, before each step needs some."""
    steps.lock(run_id)  # two corrections of a window take turns
    count = corrections.oppose(operation.pk, of=run_id, only=instruction_ids)
    ledger.lock_accounts(operation.pk)
    accounts.reserve(operation.pk)
    ledger.settle(operation.pk, at=at)
    move(operation, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    outbox.append(
        operation.window_id,
        facts.Corrected(
            operation_id=operation.pk,
            corrected_operation_id=run_id,
            instructions_count=count,
            reason=operation.reason,
            requested_by=operation.requested_by,
        ),
        at=at,
    )


@transaction.atomic
def _keep_refusal(
    window: ClearingWindow, refusal: ClearingError, *, at: datetime, reason: str, by: str
) -> None:
    operation = _begin(window, at=at, reason=reason, by=by)
    move(
        operation,
        to=OperationStatus.FAILED,
        moves=OPERATION_MOVES,
        completed_at=at,
        error_code=refusal.public_code,
        error_message=str(refusal),
    )
