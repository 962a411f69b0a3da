"""
Windows cleared by a real worker, through a real broker; and what intake keeps while a large one is cleared.

Intake runs here and the run in the worker's processes, so the two share the machine and the database only.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from django.utils import timezone

from bench import community
from bench.model import Row
from bench.timing import timed
from clearing import pipeline, windows
from clearing.models import ClearingWindow
from clearing.obligations import BATCH_MAX
from clearing.states import WindowStatus

BEFORE_SECONDS: Final = 3.0
POLL_SECONDS: Final = 0.002
PATIENCE_SECONDS: Final = 600.0
KEPT_MIN: Final = 0.6


class NotCleared(Exception):
    """The worker did not complete a window."""


def warm_up() -> None:
    """Clear a small window, so that the worker has imported what it needs and is connected."""
    window = community.open_window()
    for batch in community.day(1_000).batches():
        community.submit(batch)
    clear(windows.close(window, at=timezone.now(), reason="benchmark"))


def measure(window: ClearingWindow, size: int, *, in_process_seconds: float) -> Row:
    """Clear a closed window by the worker, against the same run in one process without a broker."""
    seconds, _ = timed(partial(clear, window))
    return Row("run by worker and broker", size, seconds, "the same run in one process", in_process_seconds)


def intake_meanwhile(window: ClearingWindow, size: int) -> Row:
    """Take obligations into another region's window before and while the worker clears this one."""
    opened = community.open_window(community.ACCEPTING)
    ends_at = time.perf_counter() + BEFORE_SECONDS
    before, _ = _seconds_per_obligation(lambda: time.perf_counter() < ends_at)
    pipeline.clear(window, at=timezone.now(), reason="benchmark")
    during, taken = _seconds_per_obligation(lambda: not _is_over(window))
    windows.close(opened, at=timezone.now(), reason="benchmark")
    note = f"{1 / during:,.0f} obligations/s of {1 / before:,.0f}/s: {before / during:.0%} kept; goal 60 %"
    name = f"intake while {size:,} are cleared"
    return Row(name, taken, during * taken, "intake before", before * taken, 1 / KEPT_MIN, note)


def clear(window: ClearingWindow) -> None:
    """
    Start clearing, and return once the window is completed.

    Raises:
        NotCleared
    """
    pipeline.clear(window, at=timezone.now(), reason="benchmark")
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while not _is_over(window):
        if time.perf_counter() > deadline:
            raise NotCleared(f"window {window.pk} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _is_over(window: ClearingWindow) -> bool:
    status = ClearingWindow.objects.values_list("status", flat=True).get(pk=window.pk)
    if status in (WindowStatus.ROLLED_BACK, WindowStatus.FAILED):
        raise NotCleared(f"window {window.pk} is {status}")
    return status == WindowStatus.COMPLETED


def _seconds_per_obligation(goes_on: Callable[[], bool]) -> tuple[float, int]:
    """Submit full batches while *goes_on*; the seconds of one obligation, and how many were taken."""
    spent, taken = 0.0, 0
    while goes_on() or not taken:
        for batch in community.day(BATCH_MAX).batches():
            spent += timed(partial(community.submit, batch, community.ACCEPTING))[0]
            taken += len(batch)
    return spent / taken, taken
