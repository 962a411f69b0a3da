"""Outside engines on real sockets, and settings that do not make a test wait."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from clearing_project import remote
from clearing_project.stack.servers import free_port
from settlement.rails import executions
from settlement.simulators import settlement_engine
from settlement.simulators.faults import Choose
from settlement.simulators.settlement_engine import SettlementEngine


@pytest.fixture(autouse=True)
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short time-outs and waits; breakers and channels of this test alone."""
    settings.REMOTE = {
        "TIMEOUT_SECONDS": 2.0,
        "ATTEMPTS_MAX": 3,
        "FAILURES_MAX": 5,
        "RESET_SECONDS": 0.3,
    }
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    remote.close()
    yield
    remote.close()


class Engine:
    """The simulated settlement engine, in this process, on a real socket."""

    def __init__(self, log: Path, settings: Settings) -> None:
        self._log, self._settings = log, settings
        self._stack = ExitStack()
        self.port = 0

    def start(self, *, choose: Choose = lambda _: "", **options: Any) -> SettlementEngine:
        """Start it, on the port it had before; it remembers what its log says."""
        self.service = SettlementEngine(self._log, choose=choose, **options)
        address = f"127.0.0.1:{self.port}"
        self.port = self._stack.enter_context(settlement_engine.serving(self.service, address))
        self.name()
        return self.service

    def name(self) -> None:
        """Name it to the clearing engine; one that never ran gets a port where nothing listens."""
        self.port = self.port or free_port("127.0.0.1")
        self._settings.SETTLEMENT_ENGINE_URL = f"grpc://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop it; may be repeated."""
        self._stack.close()

    def execute_now(self, obligation_id: str) -> None:
        """Execute an order that it has accepted and was to execute late."""
        (entry,) = [each for each in self.service.told("accepted") if each["obligation_id"] == obligation_id]
        self.service._execute(entry)

    def count(self, what: str) -> Counter[str]:
        """Count the log's lines about *what* by obligation id."""
        return Counter(entry["obligation_id"] for entry in self.service.told(what))


@pytest.fixture
def engine(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that is not started yet; what it left open is asked for by a later call alone."""
    monkeypatch.setattr(executions, "ASK_SECONDS", 60.0)
    settings.REMOTE = {**settings.REMOTE, "TIMEOUT_SECONDS": 0.4, "ATTEMPTS_MAX": 2}
    made = Engine(tmp_path / "engine.jsonl", settings)
    yield made
    made.stop()
