"""
Counts and signs of life that every process may leave, in Redis: for Prometheus and for health alone.

Nothing hangs on them. With Redis away nothing is counted and nobody waits: after one failure it is left alone
for some seconds. Counts that were lost begin at zero again, as Prometheus' counters may.
"""

import logging
import time
from collections.abc import Mapping
from functools import cache

import redis
from django.conf import settings

PREFIX = "clearing:counts:"
BEAT = "clearing:beat"
REST_SECONDS = 5.0

logger = logging.getLogger(__name__)
_resting_until = 0.0


def add(family: str, counts: Mapping[str, int]) -> None:
    """Add *counts* by label to a family's; safe to call from anywhere."""
    global _resting_until  # noqa: PLW0603  of this process
    if time.monotonic() < _resting_until:
        return
    try:
        with _redis(settings.REDIS_URL).pipeline(transaction=False) as pipe:
            for label, count in counts.items():
                pipe.hincrby(PREFIX + family, label, count)
            pipe.execute()
    except redis.RedisError as away:
        _resting_until = time.monotonic() + REST_SECONDS
        logger.warning("%s are not counted: %s", family, away)


def counted(family: str) -> dict[str, int]:
    """
    Return a family's counts by label.

    Raises:
        redis.RedisError
    """
    found: dict[bytes, bytes] = _redis(settings.REDIS_URL).hgetall(PREFIX + family)  # type: ignore[assignment]
    return {label.decode(): int(count) for label, count in sorted(found.items())}


def beat(at: float) -> None:
    """Leave a sign of life of Beat, at Unix time *at*: it sent a task, and a worker took it."""
    try:
        _redis(settings.REDIS_URL).set(BEAT, repr(at))
    except redis.RedisError as away:
        logger.warning("no sign of life was left: %s", away)


def last_beat() -> float | None:
    """
    Return the Unix time of Beat's last sign of life; None if there is none.

    Raises:
        redis.RedisError
    """
    found = _redis(settings.REDIS_URL).get(BEAT)
    return float(found) if found else None


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)
