"""
Calls to outside engines: a time-out on every one, bounded retries with jitter, a circuit breaker.

What went wrong is told apart by what the caller may conclude. `CircuitOpen`: nothing was sent.
`RemoteRefused`: the engine answered, and said no. `RemoteUnavailable`: no answer came; whether the engine
acted is unknown, and only asking it again tells.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
import httpx
from django.conf import settings
from pybreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from clearing_project.errors import Conflict, Invalid, Unavailable

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

WAIT_SECONDS, WAIT_SECONDS_MAX = 0.2, 2.0  # between attempts: random, up to twice as long each time
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500
DETAIL_MAX = 300  # characters of what an engine says about itself

# No answer, or one that says nothing of what was done. Every other status is an answer.
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)
PLAIN, SECURE = ("grpc", "http", ""), ("grpcs", "https")


class CircuitOpen(Unavailable):
    """The engine failed so often that it is left alone for a while; nothing was sent."""

    code = "circuit_open"
    fields = ("service",)
    message = "The {service} failed too often and is left alone for a while; nothing was sent."


class RemoteUnavailable(Unavailable):
    """No answer came, so whether the engine acted is unknown."""

    code = "remote_unavailable"
    fields = ("service", "cause")
    message = "The {service} did not answer ({cause}); whether it acted is unknown."


class RemoteRefused(Conflict):
    """The engine answered, and refused."""

    code = "remote_refused"
    fields = ("service", "status", "detail")
    message = "The {service} refused: {status} {detail}"


class AddressInvalid(Invalid):
    """The engine's address is not one."""

    code = "engine_address_invalid"
    fields = ("address",)
    message = "{address!r} is not the address of an engine, such as grpc://host:port or grpcs://host:port."


@dataclass(frozen=True, slots=True)
class Remote:
    """
    One outside engine as this process sees it; made by `of`. May be used from several threads.

    Args:
        name: for logs and errors, such as ``settlement engine``.
    """

    name: str
    timeout_seconds: float
    attempts_max: int
    breaker: CircuitBreaker = field(repr=False)

    def call(self, work: Callable[[float], Answer], *, attempts_max: int | None = None) -> Answer:
        """
        Do *work*, which takes its time-out in seconds and speaks gRPC or HTTP by httpx.

        Args:
            attempts_max: 1 where a repetition is not the caller's to decide; None: as configured.

        Raises:
            CircuitOpen, RemoteUnavailable, RemoteRefused
        """
        sent = 0

        def attempt() -> Answer:
            nonlocal sent
            with self.breaker.calling():
                sent += 1
                return work(self.timeout_seconds)

        retrying = Retrying(
            stop=stop_after_attempt(attempts_max or self.attempts_max),
            wait=wait_random_exponential(multiplier=WAIT_SECONDS, max=WAIT_SECONDS_MAX),
            retry=retry_if_exception(is_passing),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except CircuitBreakerError:
            if not sent:
                raise CircuitOpen(self.name) from None
            raise RemoteUnavailable(self.name, "the circuit opened between attempts") from None
        except (grpc.RpcError, httpx.HTTPError) as failure:
            status, detail = _told(failure)
            if is_passing(failure):
                raise RemoteUnavailable(self.name, f"{status} {detail}".strip()) from failure
            raise RemoteRefused(self.name, status, detail) from failure


def of(name: str) -> Remote:
    """Return this process's view of the engine called *name*: its breaker is shared by all its callers."""
    with _lock:
        if name not in _remotes:
            how = settings.REMOTE
            breaker = CircuitBreaker(
                fail_max=how["FAILURES_MAX"],
                reset_timeout=how["RESET_SECONDS"],
                exclude=[lambda failure: not is_passing(failure)],
                listeners=[_Told()],
                name=name,
                throw_new_error_on_trip=False,
            )
            _remotes[name] = Remote(name, how["TIMEOUT_SECONDS"], how["ATTEMPTS_MAX"], breaker)
        return _remotes[name]


def channel(address: str) -> grpc.Channel:
    """
    Return this process's channel to a gRPC engine, made at its first use, so never before a fork.

    Args:
        address: ``grpc://host:port``, or ``grpcs://`` for TLS with the system's roots.

    Raises:
        AddressInvalid
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        is_there = bool(parts.hostname) and parts.port is not None
    except ValueError:
        is_there = False
    if not is_there or parts.scheme not in PLAIN + SECURE:
        raise AddressInvalid(address)
    with _lock:
        if address not in _channels:
            options = [
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.enable_retries", 0),  # whether to repeat is decided here
                ("grpc.max_reconnect_backoff_ms", 5_000),
            ]
            _channels[address] = (
                grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options)
                if parts.scheme in SECURE
                else grpc.insecure_channel(parts.netloc, options)
            )
        return _channels[address]


def close() -> None:
    """Close every channel and forget every breaker of this process."""
    with _lock:
        while _channels:
            _channels.popitem()[1].close()
        _remotes.clear()


def is_passing(failure: BaseException) -> bool:
    """Tell whether *failure* leaves open what the engine did and may be gone the next time."""
    if isinstance(failure, grpc.RpcError):
        return _status(failure) in PASSING
    if isinstance(failure, httpx.HTTPStatusError):
        status = failure.response.status_code
        return status >= SERVER_ERROR or status == TOO_MANY_REQUESTS
    return isinstance(failure, httpx.HTTPError)


def _status(failure: grpc.RpcError) -> grpc.StatusCode:
    """The status of a failed call; one that was cancelled on the way out may have none."""
    status = failure.code() if hasattr(failure, "code") else None
    return status if isinstance(status, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _told(failure: grpc.RpcError | httpx.HTTPError) -> tuple[str, str]:
    """Status and detail as the engine, or the way to it, gave them."""
    if isinstance(failure, grpc.RpcError):
        details = failure.details() if hasattr(failure, "details") else str(failure)
        return _status(failure).name, (details or "")[:DETAIL_MAX]
    if isinstance(failure, httpx.HTTPStatusError):
        return f"HTTP {failure.response.status_code}", failure.response.text[:DETAIL_MAX]
    return type(failure).__name__, str(failure)[:DETAIL_MAX]


class _Told(CircuitBreakerListener):
    """Tell the log when a circuit opens and closes."""

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        """Log it."""
        logger.warning("the circuit to the %s is %s", cb.name, new_state.name)


_lock = Lock()
_remotes: dict[str, Remote] = {}
_channels: dict[str, grpc.Channel] = {}
