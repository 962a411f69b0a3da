"""Take the window into processing for this operation."""

from datetime import datetime

from clearing.events import facts, outbox
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import WINDOW_MOVES, WindowStatus
from clearing_project.lifecycle import move

NAME = "window_status_changed"


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """Move the window, closed or rolled back before, to Processing."""
    window = ClearingWindow.objects.select_for_update().get(pk=operation.window_id)
    move(window, to=WindowStatus.PROCESSING, moves=WINDOW_MOVES, processing_at=at)
    outbox.append(window.pk, facts.Processing(operation_id=operation.pk), at=at)


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Move the window to RolledBack. It never reopens: the next one is already accepting."""
    window = operation.window
    if window.status != WindowStatus.PROCESSING:
        return
    move(window, to=WindowStatus.ROLLED_BACK, moves=WINDOW_MOVES)
    outbox.append(
        window.pk,
        facts.RolledBack(
            operation_id=operation.pk,
            error_code=operation.error_code,
            error_message=operation.error_message,
        ),
        at=at,
    )
