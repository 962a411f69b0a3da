"""Listening to the settlement engine: confirmations are taken as they come, over a broken stream, too."""

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from clearing import finality
from clearing.consumers import settlements
from clearing.states import WindowStatus
from clearing_project.stack.children import Site, children, simulated
from settlement.models import Execution
from settlement.states import ExecutionStatus
from tests.engines.conftest import Engine
from tests.engines.scenes import (
    AT,
    PATIENCE_SECONDS,
    assert_settled_once,
    committed,
    one_in_currency,
    status,
    until,
)

committing = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def listening() -> Iterator[None]:
    """Listen in a thread with a connection of its own."""
    stop = threading.Event()

    def listen() -> None:
        try:
            settlements.run(stop=stop)
        finally:
            connection.close()

    thread = threading.Thread(target=listen)
    thread.start()
    yield
    stop.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


@committing
def test_a_confirmation_is_taken_when_it_comes_and_completes_the_window(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    engine.start(choose=lambda _: "late", late_seconds=3600, is_forgetful=True)
    request.getfixturevalue("listening")
    until(lambda: bool(engine.service._listeners))
    operation = committed()
    finality.settle(operation.pk, at=AT)
    first = set(Execution.objects.filter(status=ExecutionStatus.EXECUTING).values_list("pk", flat=True))
    assert first
    confirmed: set[UUID] = set()

    def confirm() -> bool:
        """Execute what waits; nobody but the listener asks."""
        for row in Execution.objects.filter(status=ExecutionStatus.EXECUTING).exclude(pk__in=confirmed):
            confirmed.add(row.pk)
            engine.execute_now(str(row.pk))
        return status(operation) == WindowStatus.COMPLETED

    until(confirm)

    assert_settled_once(engine, operation)


@committing
def test_a_stream_that_broke_is_opened_again(engine: Engine, request: pytest.FixtureRequest) -> None:
    engine.start(choose=one_in_currency("late"), late_seconds=3600)
    request.getfixturevalue("listening")
    until(lambda: bool(engine.service._listeners))
    operation = committed()
    finality.settle(operation.pk, at=AT)
    waiting = Execution.objects.filter(status=ExecutionStatus.EXECUTING).earliest("pk")

    engine.stop()
    engine.start(late_seconds=3600)
    until(lambda: bool(engine.service._listeners))
    engine.execute_now(str(waiting.pk))

    until(lambda: Execution.objects.get(pk=waiting.pk).status == ExecutionStatus.COMPLETED)


def test_without_an_engine_there_is_nothing_to_listen_to() -> None:
    with pytest.raises(CommandError, match="names no settlement engine"):
        call_command("settlement_events")


def test_the_stack_listens_where_an_engine_is_named_and_simulates_both_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = {"DATABASE_URL": "postgres://", "REDIS_URL": "redis://", "NATS_URL": "nats://"}
    site = Site(tmp_path, servers, http_host="127.0.0.1", http_port=1, grpc_port=2, flower_port=3)
    without = {child.name for child in children(site)}

    monkeypatch.setenv("SETTLEMENT_ENGINE_URL", "grpc://127.0.0.1:4")
    monkeypatch.setenv("RISK_ENGINE_URL", "http://127.0.0.1:5")

    assert {child.name for child in children(site)} - without == {"confirmations"}
    simulators = {child.name: child.arguments for child in simulated(site)}
    assert set(simulators) - without == {"confirmations", "settlement-engine", "risk-engine"}
    assert "--address=127.0.0.1:4" in simulators["settlement-engine"]
    assert "--address=127.0.0.1:5" in simulators["risk-engine"]
