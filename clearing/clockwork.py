"""What windows do as time passes: they open, close and start clearing, and catch up after an outage."""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from clearing import aside, counters, operations, pipeline, windows
from clearing.engine import pulls
from clearing.models import ClearingWindow, RegionSchedule
from clearing.states import Region, WindowStatus
from clearing_project import trace
from clearing_project.errors import Conflict
from clearing_project.lifecycle import IllegalMove

logger = logging.getLogger(__name__)

CATCH_UP_MAX = 200  # windows closed in one go after an outage; the next tick goes on


def keep(region: Region, *, at: datetime) -> None:
    """
    Make the region's windows agree with the clock: open, close, start clearing, catching up after an outage.

    Safe to run twice at once: every move is guarded, and who comes second leaves it to the first.
    """
    try:
        try:
            _turn_over(region, at=at)
            let_in(region, at=at)
            _count_along(region)
        finally:
            _finish_due(region, at=at)
    except (IllegalMove, windows.WindowAlreadyOpen) as overtaken:
        logger.info("another tick was first: %s", overtaken)


def let_in(region: Region, *, at: datetime) -> int:
    """Let obligations into the open window that were parked while it opened, or acted upon at that moment."""
    window = windows.open_one(region)
    if window is None or not aside.is_waiting(windows.span(window)):
        return 0
    with transaction.atomic():
        return aside.enter_due(windows.span(windows.enter(region, at=at)))


def _count_along(region: Region) -> None:
    """Count those along whose limit was set while the window was open, and fold what was counted."""
    window = windows.open_one(region)
    if window is not None:
        if counters.is_missing(window.pk):
            counters.begin(window.pk)
        counters.fold_long(window.pk)


def _turn_over(region: Region, *, at: datetime) -> None:
    """Open what is due and close what is past its cutoff, slot by slot: an outage leaves none out."""
    window = _due(region, at=at)
    for _ in range(CATCH_UP_MAX):
        if window is None or window.cutoff_at > at:
            return
        windows.begin_close(window, at=at)
        window = _due(region, at=at)


def _finish_due(region: Region, *, at: datetime) -> None:
    """Seal windows whose grace has passed, and start clearing them; a second run is the sweep's to start."""
    live = ClearingWindow.objects.filter(region=region).order_by("id")
    for window in live.filter(status=WindowStatus.CLOSING):
        if _grace_ends_at(window) <= at and not pulls.is_pending(window.pk):
            with trace.step("close", window_id=window.pk):
                windows.finish_close(window, at=at)
    for window in live.filter(status=WindowStatus.CLOSED).exclude(operations__in=operations.clearings()):
        if _grace_ends_at(window) <= at:
            with trace.step("clear", window_id=window.pk):
                _clear(window, at=at)


def _clear(window: ClearingWindow, *, at: datetime) -> None:
    try:
        pipeline.clear(window, at=at)
    except Conflict as overtaken:
        logger.info("window %s: %s", window.pk, overtaken)


def _grace_ends_at(window: ClearingWindow) -> datetime:
    """From the cutoff, or from an earlier close by hand: whoever closed it may start it first."""
    assert window.closing_at is not None, "a window past intake has its closing moment"
    return min(window.cutoff_at, window.closing_at) + timedelta(seconds=window.grace_seconds)


def _due(region: Region, *, at: datetime) -> ClearingWindow | None:
    """Return the open window or open the one that is due, without a lock where nothing can be."""
    row = RegionSchedule.objects.get(pk=region)
    idle = not row.is_enabled and row.waits_until is None
    return windows.open_one(region) or (None if idle else windows.open_due(region, at=at))
