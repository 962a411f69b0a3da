"""Calls to outside engines: what is repeated, what is not, and what the circuit breaker lets through."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pytest_django.fixtures import Settings

from clearing_project import remote
from clearing_project.remote import AddressInvalid, CircuitOpen, RemoteRefused, RemoteUnavailable


class WebEngine:
    """An HTTP server that answers with the statuses it is given, then with 200; None: not in time."""

    def __init__(self) -> None:
        self.statuses: list[int | None] = []
        self.asked = 0
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                engine.asked += 1
                status = engine.statuses.pop(0) if engine.statuses else 200
                if status is None:
                    engine.released.wait(10)
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[WebEngine]:
    started = WebEngine()
    yield started
    started.stop()


@pytest.fixture
def ask(web: WebEngine) -> Callable[[float], int]:
    """Ask the engine once."""

    def work(timeout_seconds: float) -> int:
        return httpx.get(web.url, timeout=timeout_seconds).raise_for_status().status_code

    return work


def test_a_call_is_repeated_until_it_succeeds(web: WebEngine, ask: Callable[[float], int]) -> None:
    web.statuses = [503, 429]

    assert remote.of("engine").call(ask) == 200

    assert web.asked == 3


def test_repetitions_are_bounded(web: WebEngine, ask: Callable[[float], int]) -> None:
    web.statuses = [500] * 10

    with pytest.raises(RemoteUnavailable, match="HTTP 500"):
        remote.of("engine").call(ask)

    assert web.asked == 3


def test_what_the_caller_must_not_repeat_is_sent_once(web: WebEngine, ask: Callable[[float], int]) -> None:
    web.statuses = [500]

    with pytest.raises(RemoteUnavailable):
        remote.of("engine").call(ask, attempts_max=1)

    assert web.asked == 1


def test_an_answer_that_refuses_is_not_repeated_and_opens_no_circuit(
    web: WebEngine, ask: Callable[[float], int]
) -> None:
    web.statuses = [404] * 10

    for _ in range(10):
        with pytest.raises(RemoteRefused, match="HTTP 404"):
            remote.of("engine").call(ask)

    assert web.asked == 10
    assert remote.of("engine").call(ask) == 200


def test_a_call_that_takes_too_long_ends_as_unknown(
    web: WebEngine, ask: Callable[[float], int], settings: Settings
) -> None:
    settings.REMOTE = {**settings.REMOTE, "TIMEOUT_SECONDS": 0.1}
    web.statuses = [None]

    with pytest.raises(RemoteUnavailable, match="ReadTimeout"):
        remote.of("engine").call(ask, attempts_max=1)


def test_the_circuit_opens_after_failures_in_a_row_and_closes_when_the_engine_is_back(
    web: WebEngine, ask: Callable[[float], int]
) -> None:
    web.statuses = [500] * 5
    one = remote.of("engine")
    for _ in range(5):
        with pytest.raises(RemoteUnavailable):
            one.call(ask, attempts_max=1)

    with pytest.raises(CircuitOpen):
        one.call(ask)
    assert web.asked == 5
    until = time.monotonic() + 5
    while one.breaker.current_state != "closed":
        assert time.monotonic() < until
        try:
            one.call(ask)
        except CircuitOpen:
            time.sleep(0.02)
    assert web.asked == 6


def test_a_circuit_that_opens_between_attempts_leaves_the_outcome_unknown(
    web: WebEngine, ask: Callable[[float], int], settings: Settings
) -> None:
    """The first attempt was sent: to say that nothing was would be wrong."""
    settings.REMOTE = {**settings.REMOTE, "FAILURES_MAX": 1}
    web.statuses = [500]

    with pytest.raises(RemoteUnavailable, match="opened between attempts"):
        remote.of("engine").call(ask)

    assert web.asked == 1


def test_calls_run_side_by_side(web: WebEngine) -> None:
    gate = threading.Barrier(4, timeout=10)

    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(remote.of("engine").call, lambda _: gate.wait()) for _ in range(4)]

        assert sorted(wait.result() for wait in waits) == [0, 1, 2, 3]


def test_grpc_statuses_tell_an_answer_from_silence() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    address = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def ask(timeout_seconds: float) -> health_pb2.HealthCheckResponse:
        check = remote.channel(address).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return check(health_pb2.HealthCheckRequest(service="nobody"), timeout=timeout_seconds)

    with pytest.raises(RemoteRefused) as refused:
        remote.of("engine").call(ask)
    server.stop(None).wait()
    with pytest.raises(RemoteUnavailable, match="UNAVAILABLE"):
        remote.of("engine").call(ask, attempts_max=1)

    assert refused.value.args[1] == "NOT_FOUND"


@pytest.mark.parametrize("address", ["", "grpc://", "ftp://host:1", "host", "grpc://host:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(AddressInvalid):
        remote.channel(address)
