"""Take the time of calls, several times where they are short, once where they are long."""

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Call once; return the seconds and what came back."""
    since = perf_counter()
    result = call()
    return perf_counter() - since, result


def times_for(size: int) -> int:
    """Return how often to measure what works on *size* rows."""
    if size <= 10_000:
        return 5
    return 3 if size <= 100_000 else 1
