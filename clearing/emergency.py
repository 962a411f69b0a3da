"""
Emergency clearing: what a region has taken in is cleared now, or the first of it, and settled as such.

The accepting window is closed without waiting for cutoff or grace. Only its first obligations in order of
intake stay, if a number is given; the rest moves on as at any close. Its instructions are emergency
settlements, and its run is not held for saving little: there is no time to ask. A window that does not
settle by itself is held as ever.
"""

from datetime import datetime

from django.db import transaction

from clearing import pipeline, windows
from clearing.engine import pulls
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import Region, WindowStatus
from clearing_project.errors import Invalid

OBLIGATIONS_MAX = 2**31 - 1


class MaxObligationsInvalid(Invalid):
    """An emergency clears at least one obligation."""

    code = "max_obligations_invalid"
    fields = ("max_obligations", "limit")
    message = "At most {max_obligations} obligations cannot be asked for: give a number from 1 to {limit}."


def clear(
    region: Region,
    *,
    at: datetime,
    reason: str,
    max_obligations: int | None = None,
    window_id: int | None = None,
) -> AtomicOperation:
    """
    Close the region's accepting window as an emergency and start clearing it.

    Args:
        max_obligations: only the first so many stay in the window, never more than it may hold anyway.
        window_id: this window or none; by default the one that accepts.

    Returns:
        The clearing run, begun; a crash before it leaves the window closing, and the tick goes on with it.

    Raises:
        MaxObligationsInvalid, NoAcceptingWindow
        IllegalMove: the window that was named is not open.
    """
    if max_obligations is not None and not 1 <= max_obligations <= OBLIGATIONS_MAX:
        raise MaxObligationsInvalid(max_obligations, OBLIGATIONS_MAX)
    window = _close(region, at=at, reason=reason, max_obligations=max_obligations, window_id=window_id)
    pulls.waive(window.pk, at=at, reason=f"emergency: {reason}")
    window = windows.finish_close(window, at=at)
    return pipeline.clear(window, at=at, reason=reason)


@transaction.atomic
def _close(
    region: Region, *, at: datetime, reason: str, max_obligations: int | None, window_id: int | None
) -> ClearingWindow:
    """Stop intake, and write into the window what it is from now on, in one transaction."""
    while True:
        key = window_id or windows.accepting(region, at=at).pk
        window = ClearingWindow.objects.select_for_update().get(pk=key)
        if window.status == WindowStatus.OPEN or window_id is not None:
            break  # else it closed while we waited for its row: the next one is open
    window.emergency_mode = True
    window.max_obligations = min(window.max_obligations, max_obligations or window.max_obligations)
    window.save(update_fields=["emergency_mode", "max_obligations"])
    return windows.begin_close(window, at=at, reason=reason)
