"""``manage.py stack`` as an operator runs it: every door open, tasks flowing, and gone without a trace."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from clearing_project.stack import probes
from clearing_project.stack.processes import left_behind
from clearing_project.stack.runtime import REPOSITORY, SERVERS

READY_SECONDS = 120.0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell that names no server, only where the data goes."""
    unnamed = {name: value for name, value in os.environ.items() if name not in SERVERS}
    own = {"DATA_DIR": str(tmp_path_factory.mktemp("whole stack")), "WEBHOOKS_ALLOW_PRIVATE": "true"}
    return {**unnamed, **own}


@pytest.fixture(scope="module")
def stack(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The whole stack, ready; stopped by SIGTERM, which must leave nothing."""
    directory = Path(environment["DATA_DIR"])
    output = directory.with_suffix(".out")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "stack"],
            cwd=REPOSITORY,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until(lambda: "\nstack ready\n" in output.read_text() or process.poll() is not None)
    assert process.poll() is None, output.read_text()
    family = psutil.Process(process.pid).children(recursive=True)

    yield process

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=READY_SECONDS) == 0, output.read_text()
    assert [member for member in family if member.is_running()] == []
    assert left_behind(directory) == []
    subprocess.run(
        [sys.executable, "manage.py", "stack", "--forget"], cwd=REPOSITORY, env=environment, check=True
    )


@pytest.fixture
def places(stack: subprocess.Popen[bytes], environment: dict[str, str]) -> dict[str, str]:
    """Where the running stack says its doors are."""
    found: dict[str, str] = json.loads((Path(environment["DATA_DIR"]) / "runtime.json").read_text())
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def get(url: str, login: str = "") -> tuple[int, str]:
    """Status and body of *url*, as NAME:PASSWORD."""
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.cycle
def test_every_door_is_open(places: dict[str, str]) -> None:
    for path in ("/health/ready", "/health/live", "/admin/login/", "/api/docs", "/api/schema"):
        assert get(places["HTTP_URL"] + path)[0] == 200, path
    probes.grpc_health(places["GRPC_ADDRESS"])()
    assert get(places["FLOWER_URL"] + "/workers")[0] == 401
    assert get(places["FLOWER_URL"] + "/workers", places["FLOWER_LOGIN"])[0] == 200


@pytest.mark.cycle
def test_pages_find_their_static_files(places: dict[str, str]) -> None:
    _, page = get(places["HTTP_URL"] + "/admin/login/")

    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert files
    for file in files:
        assert get(places["HTTP_URL"] + file)[0] == 200, file


@pytest.mark.cycle
def test_beat_sends_tasks_and_flower_shows_that_the_worker_ran_them(places: dict[str, str]) -> None:
    def succeeded() -> bool:
        _, body = get(places["FLOWER_URL"] + "/api/tasks?state=SUCCESS", places["FLOWER_LOGIN"])
        return any(task["name"] == "clearing.tasks.tick" for task in json.loads(body).values())

    until(succeeded)


@pytest.mark.cycle
def test_a_command_in_another_terminal_reaches_it(
    stack: subprocess.Popen[bytes], environment: dict[str, str]
) -> None:
    told = subprocess.run(
        [sys.executable, "manage.py", "issue_token", "somebody", "--role", "auditor"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(told.stdout.split()) == 1


def test_a_window_driven_over_grpc_is_told_alike_by_stream_nats_and_webhook(
    places: dict[str, str], environment: dict[str, str]
) -> None:
    toured = subprocess.run(
        [sys.executable, "manage.py", "tour_window"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert toured.returncode == 0, toured.stdout + toured.stderr
    assert toured.stdout.count(" Opened Closing Closed Processing Completed\n") == 3
    assert "HALYUS30 pays AGENT 40.00 USD" in toured.stdout
