"""The worker that other tests rely on is a real one."""

import pytest
from celery.result import AsyncResult

from clearing_project.celery import app
from clearing_project.stack.processes import Process


@pytest.mark.cycle
def test_the_worker_runs_tasks_and_comes_back_after_it_was_killed(
    worker: Process, request: pytest.FixtureRequest
) -> None:
    first = worker.pid
    worker.kill()
    assert not worker.is_alive

    worker.start()
    result: AsyncResult[object] = app.send_task("celery.backend_cleanup", queue="clearing")

    result.get(timeout=30)
    assert worker.pid != first
