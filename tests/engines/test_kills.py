"""SIGKILL between sending and marking, on either side: asked afterwards, and executed once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from clearing import finality
from clearing.models import AtomicOperation
from clearing_project import remote
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from settlement.models import Execution
from settlement.rails import executions
from settlement.simulators.settlement_engine import SettlementEngine
from settlement.states import ExecutionStatus
from tests.chaos import invariants
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, assert_settled_once, committed, settle, until

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]

SETTLE = """
import sys, uuid, datetime, django
django.setup()
from clearing import finality
finality.settle(uuid.UUID(sys.argv[1]), at=datetime.datetime.fromisoformat(sys.argv[2]))
"""
PATIENCE_SECONDS = 60


def settle_in_a_process(engine: Engine, operation: AtomicOperation, *, armed: Path) -> int:
    """Settle in a process of its own; its exit status."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    environment = {
        **os.environ,
        "DATABASE_URL": urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}")),
        "SETTLEMENT_ENGINE_URL": f"grpc://127.0.0.1:{engine.port}",
        "CLEARING_FAULTS": str(armed),
    }
    argv = [sys.executable, "-c", SETTLE, str(operation.pk), AT.isoformat()]
    ended = subprocess.run(argv, cwd=REPOSITORY, env=environment, timeout=PATIENCE_SECONDS, check=False)
    return ended.returncode


@pytest.mark.parametrize("point", ["engine.claimed", "engine.answered", "engine.recorded"])
def test_a_worker_killed_between_sending_and_marking_is_followed_by_a_question(
    engine: Engine, tmp_path: Path, point: str
) -> None:
    engine.start(is_forgetful=True)
    operation = committed()
    (tmp_path / point).write_text("kill")

    assert settle_in_a_process(engine, operation, armed=tmp_path) == -signal.SIGKILL

    marked = {"engine.recorded": ExecutionStatus.COMPLETED}.get(point, ExecutionStatus.SENDING)
    assert set(Execution.objects.exclude(sends=0).values_list("status", flat=True)) == {marked}
    settle(operation, at=AT + executions.lease())
    assert_settled_once(engine, operation)
    assert invariants.broken() == []


@pytest.fixture
def simulator(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Run the simulator as an operator does, on the address the engine is known by."""
    engine.name()
    started: list[Process] = []

    def start(name: str, *options: str) -> Process:
        log = tmp_path / f"{name}.log"
        book = f"--log={tmp_path / 'book.jsonl'}"
        address = f"--address=127.0.0.1:{engine.port}"
        argv = [
            sys.executable,
            "manage.py",
            "simulate_settlement_engine",
            address,
            book,
            "--forgetful",
            *options,
        ]
        process = Process(name, argv, directory=tmp_path, log=log, cwd=REPOSITORY)
        process.start()
        started.append(process)
        process.wait_until(probes.log_says(log, "settlement engine ready"), seconds=PATIENCE_SECONDS)
        return process

    yield start
    for each in started:
        each.stop()


@pytest.mark.parametrize("mode", ["die", "die_first"])
def test_an_engine_that_dies_over_an_order_has_executed_each_once_when_it_is_back(
    engine: Engine, simulator: Callable[..., Process], tmp_path: Path, settings: Settings, mode: str
) -> None:
    settings.REMOTE = {**settings.REMOTE, "TIMEOUT_SECONDS": 2.0}
    dying = simulator("dying", f"--faults={mode}=1")
    operation = committed()

    finality.settle(operation.pk, at=AT)
    until(lambda: not dying.is_alive)
    assert dying.status == -signal.SIGKILL
    assert ExecutionStatus.UNKNOWN in Execution.objects.values_list("status", flat=True)
    simulator("back")
    remote.close()
    settle(operation, at=AT + executions.lease())

    engine.service = SettlementEngine(tmp_path / "book.jsonl")
    assert_settled_once(engine, operation)
