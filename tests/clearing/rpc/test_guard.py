"""Who may call what, and what a refusal looks like: status, code, and nothing that should stay inside."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
from django.db import OperationalError, transaction
from django.utils import timezone
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from clearing import partitions, windows
from clearing.models import ApiToken, ClearingWindow
from clearing.models.access import Role
from clearing.rpc import errors, server
from clearing.rpc.calls import Calls
from clearing_project.errors import ClearingError
from tests import factories
from tests.clearing.rpc.conftest import Running
from tests.clearing.rpc.contract import METHODS, Client
from tests.clearing.rpc.refusals import refused
from tests.database import aside, sql
from tests.lines import logged

REGION = factories.BY_HAND.value
ALL = {"operator", "approver", "auditor", "participant"}
STAFF = ALL - {"participant"}

# method -> who may call it, written down a second time
MAY: dict[str, set[str]] = {
    "GetCurrentWindow": ALL,
    "GetWindowStatus": ALL,
    "ForceCloseWindow": {"operator"},
    "OpenNewWindow": {"operator"},
    "ProcessWindow": {"operator"},
    "GetProcessingResult": ALL,
    "StreamWindowUpdates": ALL,
    "StreamSettlementStatus": ALL,
    "TriggerEmergencyClearing": {"operator"},
    "RollbackWindow": {"operator"},
    "GetOperationStatus": STAFF,
}


def test_the_matrix_names_every_method() -> None:
    assert set(MAY) == set(METHODS)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 2000])
def test_a_call_without_a_valid_token_is_refused(running: Running, token: str) -> None:
    client = Client(running.address, token)

    refusals = {method: refused(getattr(client, method)) for method in METHODS}

    assert set(refusals.values()) == {("UNAUTHENTICATED", "not_authenticated")}
    client.channel.close()


@pytest.mark.parametrize("role", Role)
def test_a_role_calls_what_it_may_and_nothing_else(client_of: Callable[..., Client], role: Role) -> None:
    participant = factories.participant() if role == Role.PARTICIPANT else None
    client = client_of(role, participant=participant)

    denied = {method for method in METHODS if _answer_to(client, method) == "PERMISSION_DENIED"}

    assert denied == {method for method in METHODS if role not in MAY[method]}


@pytest.mark.parametrize("method", ["GetWindowStatus", "StreamWindowUpdates"])
def test_bytes_that_are_no_message_are_an_invalid_argument(operator: Client, method: str) -> None:
    path = f"/clearing.ClearingService/{method}"
    channel: Any = operator.channel
    call = channel.unary_stream(path) if method.startswith("Stream") else channel.unary_unary(path)

    assert refused(partial(call, b"\xff\xff", metadata=operator.metadata)) == (
        "INVALID_ARGUMENT",
        "request_malformed",
    )
    assert refused(partial(call, b"\xff\xff"))[0] == "UNAUTHENTICATED"


def test_a_revoked_token_and_an_inactive_user_are_refused(operator: Client) -> None:
    assert operator.OpenNewWindow(region=REGION).success

    ApiToken.objects.update(revoked_at=timezone.now())
    assert refused(lambda: operator.GetCurrentWindow(region=REGION))[0] == "UNAUTHENTICATED"

    ApiToken.objects.update(revoked_at=None)
    ApiToken.objects.get().user.__class__.objects.update(is_active=False)
    assert refused(lambda: operator.GetCurrentWindow(region=REGION))[0] == "UNAUTHENTICATED"


def test_each_expected_error_has_its_status_and_code(operator: Client) -> None:
    factories.circle()
    open_ = factories.window().pk
    done = factories.closed(region=windows.region("ADGM"))
    factories.settled(done)
    running = factories.closed(region=windows.region("AsiaPacific")).pk
    factories.running(ClearingWindow.objects.get(pk=running), applied=1)
    emergency = partial(operator.TriggerEmergencyClearing, region=REGION, reason="test")
    roll_back, close = operator.RollbackWindow, operator.ForceCloseWindow
    missing, invalid, conflict = "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"

    answers: list[tuple[Callable[[], Any], str, str]] = [
        (partial(operator.GetWindowStatus, window_id=999), missing, "unknown_window"),
        (partial(operator.GetProcessingResult, window_id=-1), missing, "unknown_window"),
        (partial(operator.StreamSettlementStatus, window_id=999), missing, "unknown_window"),
        (partial(operator.GetOperationStatus, operation_id=str(uuid4())), missing, "unknown_operation"),
        (partial(operator.GetCurrentWindow, region="AsiaPacific"), missing, "no_accepting_window"),
        (partial(operator.OpenNewWindow, region="Atlantis"), invalid, "unknown_region"),
        (partial(operator.StreamWindowUpdates, region="Atlantis"), invalid, "unknown_region"),
        (partial(operator.GetOperationStatus, operation_id="7"), invalid, "operation_id_invalid"),
        (partial(close, window_id=open_), invalid, "reason_invalid"),
        (partial(roll_back, window_id=open_, reason=" \n"), invalid, "reason_invalid"),
        (partial(roll_back, window_id=open_, reason="nul \0"), invalid, "reason_invalid"),
        (partial(roll_back, window_id=open_, reason="x" * 501), invalid, "reason_invalid"),
        (partial(operator.OpenNewWindow, region=REGION), conflict, "window_already_open"),
        (partial(operator.ProcessWindow, window_id=open_), conflict, "cutoff_not_reached"),
        (partial(operator.ProcessWindow, window_id=running), conflict, "already_processing"),
        (partial(operator.ProcessWindow, window_id=done.pk), conflict, "window_final"),
        (partial(close, window_id=done.pk, reason="test"), conflict, "illegal_move"),
        (partial(roll_back, window_id=done.pk, reason="test"), conflict, "already_final"),
        (partial(roll_back, window_id=open_, reason="test"), conflict, "nothing_to_roll_back"),
        (partial(emergency, reason=" "), invalid, "reason_invalid"),
        (partial(emergency, max_obligations=-1), invalid, "max_obligations_invalid"),
        (partial(emergency, region="AsiaPacific"), missing, "no_accepting_window"),
    ]

    for call, status, code in answers:
        assert refused(call) == (status, code), code


def test_every_parent_of_errors_has_a_status() -> None:
    parents = [kind for kind in ClearingError.__subclasses__() if kind.__module__ == ClearingError.__module__]

    for parent in parents:
        status, code, _ = errors.answer(_made(parent), method="Any")

        assert status not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), parent
        assert code == parent.code


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ZeroDivisionError("secret 4711"), ("INTERNAL", "internal_error")),
        (OperationalError("host 10.0.0.7 refused"), ("UNAVAILABLE", "unavailable")),
    ],
)
def test_an_unexpected_failure_tells_nothing(
    operator: Client, monkeypatch: pytest.MonkeyPatch, failure: Exception, expected: tuple[str, str]
) -> None:
    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(Calls, "get_window_status", fail)

    with pytest.raises(grpc.RpcError) as refusal:
        operator.GetWindowStatus(window_id=1)

    answer: Any = refusal.value
    assert (answer.code().name, dict(answer.trailing_metadata())["error-code"]) == expected
    assert str(failure) not in answer.details()


def test_a_request_beyond_the_limit_is_refused(operator: Client) -> None:
    too_long = "x" * (2 * 1024 * 1024)

    assert refused(lambda: operator.RollbackWindow(window_id=1, reason=too_long))[0] == "RESOURCE_EXHAUSTED"


def test_a_call_whose_deadline_passes_before_its_turn_is_never_begun(
    running: Running, operator: Client
) -> None:
    window = factories.window()
    other = windows.begin_close(factories.window(windows.region("ADGM")), at=factories.AT)
    blocked: list[threading.Thread] = []
    with transaction.atomic():
        partitions.pass_gate(other.pk)  # intake in flight: closing that window waits
        for _ in range(8):  # every thread that makes calls
            closing = threading.Thread(target=_close_quietly, args=(operator, other.pk))
            closing.start()
            blocked.append(closing)
        _until(lambda: _waiting_in_database() == 8)

        late = refused(lambda: operator.ForceCloseWindow(window_id=window.pk, reason="late", timeout=0.5))

    for closing in blocked:
        closing.join()
    assert late[0] == "DEADLINE_EXCEEDED"
    assert operator.GetWindowStatus(window_id=other.pk).status == "Closed"
    assert operator.GetWindowStatus(window_id=window.pk).status == "Open"


def test_health_and_reflection_need_no_token(running: Running) -> None:
    with grpc.insecure_channel(running.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        _until(
            lambda: (
                health.Check(health_pb2.HealthCheckRequest(service="clearing.ClearingService")).status == 1
            )
        )
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = reflection.ServerReflectionInfo(iter([asked]))

    names = {service.name for service in listed.list_services_response.service}
    assert {"clearing.ClearingService", "grpc.health.v1.Health"} <= names


def test_health_says_not_serving_at_shutdown_and_streams_end(
    running: Running, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.5)  # who watches health never ends by itself
    with grpc.insecure_channel(running.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        said: list[int] = []
        reader = threading.Thread(target=lambda: _collect(watch, said))
        reader.start()
        updates = operator.StreamWindowUpdates(region=REGION)
        updates.initial_metadata()
        _until(lambda: 1 in said)

        running.stop()
        reader.join(10)

    assert said[-1] == health_pb2.HealthCheckResponse.NOT_SERVING
    assert refused(lambda: updates) == ("UNAVAILABLE", "server_stopping")


def _answer_to(client: Client, method: str) -> str:
    """The status of an otherwise empty call; a stream that opens is OK."""
    try:
        call = getattr(client, method)(**({"region": REGION} if method == "StreamWindowUpdates" else {}))
        if METHODS[method][2]:
            call.initial_metadata()
            opened = call.code() if call.done() else None
            call.cancel()
            return opened.name if opened else "OK"
    except grpc.RpcError as failure:
        answer: Any = failure
        return str(answer.code().name)
    return "OK"


def _made(parent: type[ClearingError]) -> ClearingError:
    return parent(*parent.fields)


def _close_quietly(client: Client, window_id: int) -> None:
    try:
        client.ForceCloseWindow(window_id=window_id, reason="test")
    except grpc.RpcError as failure:
        answer: Any = failure
        assert answer.code().name == "FAILED_PRECONDITION", answer  # another was first


def _waiting_in_database() -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return int(aside(lambda: sql(query))[0][0])  # a transaction keeps what it once saw of this view


def _until(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


def _collect(answers: Any, said: list[int]) -> None:
    try:
        for answer in answers:
            said.append(answer.status)
    except grpc.RpcError:
        return


def test_a_call_logs_the_ids_of_its_request(running: Running, operator: Client) -> None:
    with logged() as lines:
        assert refused(lambda: operator.GetWindowStatus(window_id=999999))[0] == "NOT_FOUND"
        running.stop()  # the line comes after the answer

    (line,) = [line for line in lines if line["logger"] == "clearing.rpc.guard"]
    assert (line["window_id"], line["method"], line["status"]) == (999999, "GetWindowStatus", "NOT_FOUND")
