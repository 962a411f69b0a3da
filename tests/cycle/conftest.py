"""A real Celery worker on the test database."""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from clearing_project.celery import app
from clearing_project.stack import probes
from clearing_project.stack.processes import Process, tail
from clearing_project.stack.runtime import REPOSITORY

READY_SECONDS = 60.0
LOG_LINES = 60
WORKER_OPTIONS = "--pool=prefork --concurrency=2 --loglevel=INFO --without-gossip --without-mingle"


@pytest.fixture(scope="session")
def test_environment(django_db_setup: None) -> dict[str, str]:
    """The environment that points a child process to the test database."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    name = str(connection.settings_dict["NAME"])
    return {"DATABASE_URL": urlunsplit(parts._replace(path=f"/{name}"))}


@pytest.fixture(scope="module")
def worker_process(
    test_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The module's worker, not yet started; none is left to take what tests of another module send."""
    directory = tmp_path_factory.mktemp("worker")
    command = f"celery -A clearing_project worker --hostname={node(directory)} {WORKER_OPTIONS}"
    process = Process(
        "worker",
        [sys.executable, "-m", *command.split()],
        directory=directory,
        log=directory / "worker.log",
        environment={**test_environment, "REMAP_SIGTERM": "SIGQUIT"},
        cwd=REPOSITORY,
    )
    yield process
    process.stop()


@pytest.fixture
def worker(transactional_db: None, worker_process: Process) -> Process:
    """
    A real worker that takes tasks; started by the first test that asks, and again after one that killed it.

    Messages that an earlier test left in the queue are dropped.
    """
    app.control.purge()
    if not worker_process.is_alive:
        worker_process.start()
    worker_process.wait_until(
        probes.worker(settings.BROKER_URL, node(worker_process.directory)), seconds=READY_SECONDS
    )
    return worker_process


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the worker's log beside the failure of a test that used it."""
    report = yield
    process = getattr(item, "funcargs", {}).get("worker")
    if report.failed and isinstance(process, Process):
        report.sections.append((f"worker log {process.log}", tail(process.log, LOG_LINES)))
    return report


def node(directory: Path) -> str:
    """The worker's name, unlike that of any other test session on the same broker."""
    return f"test-{os.getpid()}@{directory.name}"
