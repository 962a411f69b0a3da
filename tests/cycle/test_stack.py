"""The stack runner: ready when all is, one fault stops all, and nothing outlives it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from clearing_project.stack import runtime
from clearing_project.stack.children import RESTARTS_MAX
from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.probes import Probe
from clearing_project.stack.processes import end_left_behind, left_behind
from clearing_project.stack.runner import GIVEN
from clearing_project.stack.servers import EmbeddedRedis, free_port

SMALL = "tests.cycle.small_stack"
READY_SECONDS = 60.0
PORTS = ("HTTP_PORT", "GRPC_PORT", "FLOWER_PORT")


class Runner:
    """A stack runner in a process of its own, with what it printed."""

    def __init__(self, directory: Path, *command: str, **environment: str) -> None:
        self.directory = directory
        self.output = directory.parent / f"{directory.name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", SMALL, str(directory), *command],
                cwd=runtime.REPOSITORY,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def until_ready(self) -> "Runner":
        until(lambda: "\nstack ready\n" in self.printed or self.process.poll() is not None, self)
        assert self.process.poll() is None, self.printed
        return self

    def ended(self) -> int:
        return self.process.wait(timeout=READY_SECONDS)

    def pid(self, name: str) -> int:
        """The process that the runner started as *name*: the one whose output is its log."""
        (found,) = self.pids(name)
        return found

    def pids(self, name: str) -> list[int]:
        """As ``pid``, or nothing while it is being started again."""
        log = str((self.directory / "logs" / f"{name}.log").resolve())
        children = [child.pid for child in psutil.Process(self.process.pid).children()]
        return [pid for pid in children if os.path.realpath(f"/proc/{pid}/fd/1") == log]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Start runners on one data directory, in a path with a space; none outlives the test."""
    directory = tmp_path / "data dir"
    runners: list[Runner] = []

    def start(*command: str, **environment: str) -> Runner:
        runners.append(Runner(directory, *command, **environment))
        return runners[-1]

    yield start
    for runner in runners:
        if runner.process.poll() is None:
            runner.process.send_signal(signal.SIGTERM)
            runner.ended()
    if any(runner.process.returncode == -signal.SIGKILL for runner in runners):
        end_left_behind(directory)
    assert left_behind(directory) == []


def until(condition: Callable[[], object], runner: Runner) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, runner.printed
        time.sleep(0.05)


def answers(probe: Probe) -> bool:
    try:
        probe()
    except Exception:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_every_process_it_started(
    run: Callable[..., Runner], number: signal.Signals
) -> None:
    runner = run().until_ready()
    family = psutil.Process(runner.process.pid).children(recursive=True)
    assert len(family) >= 4

    runner.process.send_signal(number)

    assert runner.ended() == 0
    assert [process for process in family if process.is_running()] == []
    assert left_behind(runner.directory) == []


def test_a_signal_during_the_start_ends_it_too(run: Callable[..., Runner]) -> None:
    runner = run()
    until((runner.directory / "logs").exists, runner)

    runner.process.send_signal(signal.SIGTERM)

    assert runner.ended() == 0
    assert "stack ready" not in runner.printed
    assert left_behind(runner.directory) == []


def test_what_a_killed_runner_left_is_ended_by_the_next(run: Callable[..., Runner]) -> None:
    killed = run().until_ready()
    stubborn = psutil.Process(killed.pid("stubborn"))
    killed.process.kill()
    killed.ended()
    assert stubborn.is_running()

    following = run().until_ready()

    assert not stubborn.is_running()
    assert re.search(r"stopped \d+ processes of a stack that was killed", following.printed)


def test_a_child_that_dies_stops_everything_and_names_its_log(run: Callable[..., Runner]) -> None:
    runner = run().until_ready()

    os.kill(runner.pid("steady"), signal.SIGKILL)

    assert runner.ended() == 1
    assert "steady ended with status -9" in runner.printed
    assert str(runner.directory / "logs" / "steady.log") in runner.printed
    assert left_behind(runner.directory) == []


def test_servers_that_die_come_back_where_they_were(run: Callable[..., Runner]) -> None:
    """The whole stack once ended with any of them."""
    runner = run(**dict.fromkeys(GIVEN, "")).until_ready()
    places = json.loads(runtime.runtime_path(runner.directory).read_text())
    dead = {name: runner.pid(name) for name in ("postgresql", "redis", "nats")}

    for pid in dead.values():
        os.kill(pid, signal.SIGKILL)

    for name, variable in zip(dead, GIVEN, strict=True):
        until(lambda name=name: runner.pids(name) not in ([], [dead[name]]), runner)  # type: ignore[misc]
        until(partial(answers, GIVEN[variable](places[variable])), runner)
        assert f"{name} ended with status -9: starting it again (1 of {RESTARTS_MAX}" in runner.printed
    assert runner.process.poll() is None


def test_a_command_given_to_the_stack_ends_it_with_its_own_status(run: Callable[..., Runner]) -> None:
    runner = run("-c", "print('seen on the terminal'); raise SystemExit(4)")

    assert runner.ended() == 4
    assert re.search("stack ready.*seen on the terminal.*stack stopped", runner.printed, re.DOTALL)
    assert left_behind(runner.directory) == []


def test_a_signal_ends_a_command_given_to_the_stack(run: Callable[..., Runner]) -> None:
    runner = run("-c", "import time; print('begun', flush=True); time.sleep(600)")
    until(lambda: "begun" in runner.printed, runner)

    runner.process.send_signal(signal.SIGINT)

    assert runner.ended() == 0
    assert left_behind(runner.directory) == []


def test_a_worker_comes_back_but_not_for_ever(run: Callable[..., Runner]) -> None:
    runner = run().until_ready()

    for count in range(1, RESTARTS_MAX + 1):
        os.kill(runner.pid("worker-1"), signal.SIGKILL)
        until(lambda count=count: f"({count} of {RESTARTS_MAX}" in runner.printed, runner)  # type: ignore[misc]
        until(lambda: runner.pids("worker-1"), runner)
    os.kill(runner.pid("worker-1"), signal.SIGKILL)

    assert runner.ended() == 1
    assert "worker-1 ended with status -9" in runner.printed


def test_a_second_stack_in_the_same_folder_is_refused(run: Callable[..., Runner]) -> None:
    first = run().until_ready()

    second = Runner(first.directory)

    assert second.ended() == 1
    assert f"A stack runs on {first.directory} already (process {first.process.pid})" in second.printed
    assert first.process.poll() is None


def test_a_named_server_that_is_away_is_named_in_the_error(run: Callable[..., Runner]) -> None:
    runner = run(NATS_URL=f"nats://127.0.0.1:{free_port('127.0.0.1')}")

    assert runner.ended() == 1
    assert "NATS_URL names a server that does not answer" in runner.printed


def test_taken_ports_are_left_alone(run: Callable[..., Runner]) -> None:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    wished = {name: str(listener.getsockname()[1]) for name, listener in zip(PORTS, taken, strict=True)}

    runner = run(**wished).until_ready()

    for name, port in wished.items():
        assert f"{name} {port} is taken, using" in runner.printed
        assert f":{port}" not in runner.printed
    for listener in taken:
        listener.close()


def test_another_terminal_finds_the_stack_as_long_as_it_runs(
    run: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = run(BROKER_URL="").until_ready()
    monkeypatch.setenv("DATA_DIR", str(runner.directory))
    for name in runtime.SERVERS:
        monkeypatch.delenv(name, raising=False)

    runtime.fill_environment()

    assert (runner.directory / "runtime.json").stat().st_mode & 0o077 == 0
    found = {name: os.environ.pop(name, None) for name in runtime.SERVERS[:3]}
    assert all(found.values())

    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    runtime.fill_environment()
    assert "DATABASE_URL" not in os.environ  # two systems are never mixed

    monkeypatch.delenv("REDIS_URL")
    runner.process.kill()
    runner.ended()
    runtime.fill_environment()
    assert "DATABASE_URL" not in os.environ


def test_embedded_servers_keep_data_and_address_over_a_crash(tmp_path: Path) -> None:
    directory = tmp_path / "data dir"
    postgres, broker = EmbeddedPostgres(directory), EmbeddedRedis(directory)
    try:
        postgres.start()
        broker.start()
        addresses = postgres.url, broker.url
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        with redis.Redis.from_url(broker.url) as client:
            client.set("kept", "42")

        postgres.kill()
        broker.stop()
        postgres.start()
        broker.start()

        assert (postgres.url, broker.url) == addresses
        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
        with redis.Redis.from_url(broker.url, decode_responses=True) as client:
            assert client.get("kept") == "42"
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    finally:
        broker.stop()
        postgres.remove()
    assert left_behind(directory, homes=[postgres.data]) == []
    assert not postgres.home.exists()
