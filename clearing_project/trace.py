"""
One id from a request through logs, tasks and events; and spans, where tracing is on.

What is bound here belongs to the work at hand: every line that is logged meanwhile bears it, every message
to a worker carries ``CARRIED`` of it in its headers, every event that is written keeps the request's id, and
every span has it as attributes. Without OpenTelemetry (``telemetry``) spans cost nothing: there are none.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from typing import Any, ParamSpec, Protocol, TypeVar

from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, get_contextvars

HEADER = "X-Request-ID"
ID_MAX = 64
CARRIED = ("request_id", "window_id", "operation_id")
IDS = (*CARRIED, "instruction_id", "obligation_id")  # as addresses and requests call them
_SOUND = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{ID_MAX}}}")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Spans(Protocol):
    """What ``tracing`` does where it is on."""

    def span(self, name: str, kind: str, carrier: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Do a piece of work in a span; *carrier* may hold the context of who asked for it."""

    def mark(self, fields: Mapping[str, Any]) -> None:
        """Write *fields* into the span at hand."""

    def fail(self, failure: BaseException) -> None:
        """Say that the span at hand failed."""

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Put the context of the span at hand into *carrier*."""


_spans: Spans | None = None


def follow(spans: Spans) -> None:
    """Make spans of all that is done from here on in this process."""
    global _spans  # noqa: PLW0603  of this process
    _spans = spans


def accepted(text: str) -> str:
    """Return the caller's own id if it is 1 to 64 letters, digits or ``._:/+=@-``; else a new one."""
    return text if _SOUND.fullmatch(text) else uuid.uuid4().hex


def request_id() -> str | None:
    """Return the id of the request that the work at hand is done for; None outside any."""
    return get_contextvars().get("request_id")


def carried() -> dict[str, str]:
    """Return what a message takes along: ids of the work at hand, and the context of its span."""
    bound = get_contextvars()
    return {name: str(bound[name]) for name in CARRIED if bound.get(name) is not None} | context()


def context() -> dict[str, str]:
    """Return the headers by which who gets a message can go on with the trace; empty without one."""
    headers: dict[str, str] = {}
    if _spans is not None:
        _spans.inject(headers)
    return headers


def bind(**fields: Any) -> None:
    """Let every line logged from here on bear *fields*, until the work ends."""
    bind_contextvars(**fields)
    if _spans is not None:
        _spans.mark(fields)


def bind_ids(named: Mapping[str, Any]) -> None:
    """Bind those of IDS that *named*, of an address or a request, has a value for."""
    found = {name: named[name] for name in IDS if named.get(name)}
    if found:
        bind(**{name: value if isinstance(value, int) else str(value) for name, value in found.items()})


@contextmanager
def work(**fields: Any) -> Iterator[None]:
    """Do one piece of work under *fields*; what is bound inside ends with it."""
    before = get_contextvars()
    with bound_contextvars(**fields):
        if _spans is not None:
            _spans.mark(fields)
        try:
            yield
        finally:
            clear_contextvars()
            bind_contextvars(**before)


@contextmanager
def step(name: str, **fields: Any) -> Iterator[None]:
    """As ``work``, in a span of its own: for one of several in a row."""
    with span(name), work(**fields):
        yield


def span(
    name: str, *, kind: str = "internal", carrier: Mapping[str, Any] | None = None
) -> AbstractContextManager[None]:
    """
    Do a piece of work in a span.

    Args:
        kind: ``internal``, ``server``, ``consumer`` or ``producer``.
        carrier: headers that may hold the context of who asked for it.
    """
    return nullcontext() if _spans is None else _spans.span(name, kind, carrier or {})


def fail(failure: BaseException) -> None:
    """Say that the span at hand failed."""
    if _spans is not None:
        _spans.fail(failure)


def carrying(do: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return *do* such that, called in any thread, it goes on under what is bound here and now."""
    here = copy_context()

    def there(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        return here.copy().run(do, *args, **named)  # a copy: one context is entered once at a time

    return there
