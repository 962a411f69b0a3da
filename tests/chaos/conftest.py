"""The chaos driver in a process of its own, with servers of its own that it may kill."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from django.conf import settings

from clearing_project.stack.runtime import REPOSITORY

ANSWER_SECONDS = 180.0
STOP_SECONDS = 30.0


class Player:
    """
    Plays runs on one cluster, which is started by the first and shared by all.

    Args:
        rails: what settles there, ``ledger`` or ``engine``.
    """

    def __init__(self, rails: str = "ledger") -> None:
        self._rails = rails
        self._process: subprocess.Popen[str] | None = None
        self._answers: Queue[str] = Queue()

    def play(self, **asked: Any) -> dict[str, Any]:
        """Play what is *asked* for and return its outcome."""
        process = self._process or self._start()
        assert process.stdin is not None, "started with a pipe"
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer = self._answers.get(timeout=ANSWER_SECONDS)
        assert answer, f"the driver ended with {process.wait(STOP_SECONDS)}"
        outcome: dict[str, Any] = json.loads(answer)
        return outcome

    def stop(self) -> None:
        """Let the driver stop its cluster; it does so at the end of its input, also when we are killed."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended; a test said so
                self._process.stdin.close()
            self._process.wait(STOP_SECONDS)

    def _start(self) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos", "--serve", f"--rails={self._rails}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,  # a Ctrl-C reaches it as the end of its input
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None, "started with a pipe"
        for line in process.stdout:
            self._answers.put(line)
        self._answers.put("")


@pytest.fixture
def armoury(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where fault points of this process are armed."""
    monkeypatch.setitem(settings.CLEARING, "FAULTS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def chaos() -> Iterator[Player]:
    """The session's driver."""
    player = Player()
    yield player
    player.stop()


@pytest.fixture(scope="module")
def outside() -> Iterator[Player]:
    """A driver whose cluster settles at an engine outside; the module's own."""
    player = Player("engine")
    yield player
    player.stop()
