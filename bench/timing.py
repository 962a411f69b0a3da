"""Take the time of calls: the median of several where they are short, once where they are long."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Call once; return the seconds and what came back."""
    since = perf_counter()
    result = call()
    return perf_counter() - since, result


def median_seconds(call: Callable[[], object], *, times: int) -> float:
    """Return the median seconds of so many calls."""
    return median(timed(call)[0] for _ in range(times))


def times_for(size: int) -> int:
    """Return how often to measure what works on *size* rows."""
    if size <= 10_000:
        return 5
    return 3 if size <= 100_000 else 1
