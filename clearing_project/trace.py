"""
One id from a request through logs, tasks and events.

What is bound here belongs to the work at hand: every line that is logged meanwhile bears it, every message
to a worker carries the request's id in its headers, and every event that is written keeps it.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, get_contextvars

HEADER = "X-Request-ID"
ID_MAX = 64
_SOUND = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{ID_MAX}}}")


def accepted(text: str) -> str:
    """Return the caller's own id if it is 1 to 64 letters, digits or ``._:/+=@-``; else a new one."""
    return text if _SOUND.fullmatch(text) else uuid.uuid4().hex


def request_id() -> str | None:
    """Return the id of the request that the work at hand is done for; None outside any."""
    return get_contextvars().get("request_id")


def bind(**fields: Any) -> None:
    """Let every line logged from here on bear *fields*, until the work ends."""
    bind_contextvars(**fields)


@contextmanager
def work(**fields: Any) -> Iterator[None]:
    """Do one piece of work under *fields*; what is bound inside ends with it."""
    before = get_contextvars()
    with bound_contextvars(**fields):
        try:
            yield
        finally:
            clear_contextvars()
            bind_contextvars(**before)
