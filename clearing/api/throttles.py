"""
How often one token may ask: so many reads and so many changes in a minute of the clock.

The counts are in Redis, the same for every process of the web door. With Redis away nobody is counted and
nobody is refused: the limit guards the engine from haste, and is no reason to be away.
"""

import logging
import time
from typing import Any

import redis
from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from clearing.api.errors import TooManyRequests
from clearing.models import ApiToken

MINUTE = 60

logger = logging.getLogger(__name__)


class PerToken(BaseThrottle):
    """Count the token's requests of the current minute; one limit for reads, one for changes; 0 is none."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """
        Tell that the request is within its limit.

        Raises:
            TooManyRequests
        """
        kind = "POSTS" if request.method in ("POST", "PUT") else "READS"
        limit: int = settings.CLEARING[f"{kind}_PER_MINUTE"]
        if not limit or not isinstance(request.auth, ApiToken):
            return True
        minute, past = divmod(time.time(), MINUTE)
        if _count(f"requests:{request.auth.digest[:32]}:{kind}:{minute:.0f}") > limit:
            raise TooManyRequests(limit, max(1, MINUTE - int(past)))
        return True


def _count(key: str) -> int:
    """Count one more; 0 if it cannot be counted."""
    try:
        cache.add(key, 0, timeout=2 * MINUTE)
        return cache.incr(key)
    except (redis.RedisError, OSError, ValueError) as away:  # ValueError: the key went between the two
        logger.warning("requests are not counted: %s", away)
        return 0
