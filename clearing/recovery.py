"""
Go on where a lost message, a killed worker or an outage left a window: back before the commit, forward after.

Everything here may run twice and side by side. Attempts are bounded: a run that gets no further in so many
of them (each step done and each currency netted begins the count anew) is rolled back, a window whose runs
keep failing for reasons that may pass is cleared again a few times and then given up, its obligations
moved on. After the point of no return there is no bound: only forward.
"""

import logging
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from clearing import operations, pipeline, settling, windows
from clearing.models import Checkpoint, ClearingWindow, Dispatch, NettingResult
from clearing.states import FINAL_WINDOW, OperationStatus, WindowStatus
from clearing_project import trace
from clearing_project.errors import ClearingError, Conflict

logger = logging.getLogger(__name__)

SWEPT_MAX = 100
PASSING = ("attempts_exhausted", "internal_error", "unavailable")  # causes that may be gone next time


class AttemptsExhausted(Conflict):
    """The run was sent again and again and got no further."""

    code = "attempts_exhausted"
    fields = ("operation_id", "attempts")
    message = "Operation {operation_id} got no further in {attempts} attempts."


def sweep(*, at: datetime) -> int:
    """
    Advance live runs whose lease has ended, and clear again what was rolled back for a passing cause.

    Returns:
        How many runs and windows were taken further.
    """
    advanced = 0
    for dispatch in _due(at):
        with trace.step("advance", operation_id=str(dispatch.pk), window_id=dispatch.operation.window_id):
            advanced += _advance(dispatch, at=at)
    return advanced + _clear_again(at=at)


def _due(at: datetime) -> list[Dispatch]:
    """List the dispatches of live runs whose lease has ended, the longest waiting first."""
    ended = (OperationStatus.ROLLED_BACK, OperationStatus.FAILED)
    over = Q(operation__status__in=ended)
    settled = Q(operation__status=OperationStatus.COMMITTED, operation__window__status__in=FINAL_WINDOW)
    held = Q(operation__held_at__isnull=False, operation__rolling_back_at=None, operation__final_at=None)
    due = Dispatch.objects.filter(next_at__lte=at).exclude(over | settled | held)
    return list(due.select_related("operation").order_by("next_at")[:SWEPT_MAX])


def _advance(found: Dispatch, *, at: datetime) -> bool:
    """Take the lease and send what is missing; False if another sweep or a step in flight has it."""
    with transaction.atomic():
        dispatch = (
            Dispatch.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(pk=found.pk, next_at__lte=at)
            .first()
        )
        if dispatch is None:
            return False
        standing = _standing(dispatch.pk)
        got_further = dispatch.standing not in ("", standing)
        dispatch.standing, dispatch.count = standing, dispatch.count + 1
        dispatch.attempts = 1 if got_further else dispatch.attempts + 1
        dispatch.next_at = at + pipeline.lease(dispatch.attempts - 1)
        dispatch.save(update_fields=["count", "attempts", "standing", "next_at"])
    if dispatch.attempts > settings.CLEARING["ATTEMPTS_MAX"]:
        operations.condemn(dispatch.pk, AttemptsExhausted(str(dispatch.pk), dispatch.attempts), at=at)
    try:
        pipeline.send(dispatch.pk)
    except ClearingError as refused:
        logger.warning("operation %s: %s", dispatch.pk, refused)
    except Exception:  # whatever it is, it keeps the sweep from no other run
        logger.exception("operation %s", dispatch.pk)
    return True


def _standing(operation_id: UUID) -> str:
    """
    Say how far a run is: every mark of its checkpoints counts, every currency netted, and every message to an
    engine outside, which may take its time; whoever waits for it must not be taken for one that is stuck.
    """
    marks = Checkpoint.objects.filter(operation_id=operation_id).aggregate(
        started=Count("started_at"), applied=Count("applied_at"), undone=Count("undone_at")
    )
    netted = NettingResult.objects.filter(operation_id=operation_id).count()
    exchanged = settling.exchanged(operation_id)
    return "/".join(map(str, (*marks.values(), netted, *([exchanged] if exchanged else []))))


def _clear_again(*, at: datetime) -> int:
    """
    Clear windows again where the cause may have passed; give up after so many runs.

    A window that no run could even take is still Closed, whatever the cause: nobody would come back to it.
    """
    taken = 0
    uncleared = (WindowStatus.CLOSED, WindowStatus.ROLLED_BACK)
    for window in ClearingWindow.objects.filter(status__in=uncleared).order_by("id"):
        runs = operations.clearings().filter(window=window)
        last = runs.order_by("-created_at").first()
        if last is None or last.status != OperationStatus.ROLLED_BACK:
            continue
        was_taken = window.status == WindowStatus.ROLLED_BACK
        if was_taken and last.error_code not in PASSING:
            continue
        assert last.completed_at is not None, "an ended run has its moment"
        if last.completed_at + pipeline.lease(runs.count() - 1) > at:
            continue
        with trace.step("clear again", window_id=window.pk):
            try:
                if runs.count() >= settings.CLEARING["RUNS_MAX"]:
                    windows.give_up(window, at=at, reason=f"{runs.count()} runs failed: {last.error_message}")
                else:
                    pipeline.clear(window, at=at, reason=f"again after {last.error_code}")
                taken += 1
            except ClearingError as overtaken:
                logger.info("window %s: %s", window.pk, overtaken)
            except Exception:  # the run says why it failed; the other windows have their turn
                logger.exception("window %s", window.pk)
    return taken
