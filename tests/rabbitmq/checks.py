"""What only RabbitMQ can show; run by ``make rabbitmq``, which starts the node."""

import json
import os
import subprocess
import time
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from clearing import pipeline, recovery
from clearing.states import OperationStatus, WindowStatus
from clearing_project.celery import app
from clearing_project.stack.processes import Process
from tests.cycle import conftest as cycle
from tests.cycle.day import cleared, ended, lapse, status
from tests.factories import A, B, C, circle, closed, obligation

pytestmark = [pytest.mark.cycle, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

TOLD: dict[str, Any] = json.loads(os.environ["RABBITMQ_OF_TESTS"])
PATIENCE_SECONDS = 60
worker, worker_process, test_environment = cycle.worker, cycle.worker_process, cycle.test_environment


def control(*arguments: str) -> str:
    """Ask the node."""
    return subprocess.run(
        ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *arguments],
        env=TOLD["environment"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def table(*arguments: str) -> list[dict[str, str]]:
    """Ask for a list; its first line names the columns."""
    head, *rows = [line.split("\t") for line in control(*arguments).splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_queue_is_a_durable_quorum_queue_and_sending_is_confirmed(worker: Process) -> None:
    (queue,) = [row for row in table("list_queues", "name", "type", "durable") if row["name"] == "clearing"]

    assert settings.BROKER_URL.startswith("amqp://")
    assert (queue["type"], queue["durable"]) == ("quorum", "true")
    with app.connection_for_write() as connection:
        assert (connection.transport_options or {})["confirm_publish"] is True


def test_prefetch_is_of_each_consumer(worker: Process) -> None:
    circle()
    cleared(closed(obligation(A, B), min_netting_efficiency_bps=0))

    (consumer,) = [row for row in table("list_consumers") if row["queue_name"] == "clearing"]
    channels = table("list_channels", "pid", "global_prefetch_count")

    assert consumer["ack_required"] == "true"
    assert int(consumer["prefetch_count"]) == 2  # as many as the worker has processes
    assert {row["global_prefetch_count"] for row in channels} == {"0"}


def test_runs_survive_the_brokers_stop(worker: Process) -> None:
    """First with the message at the broker, which keeps it; then with one that could not be sent at all."""
    circle()
    first = closed(obligation(A, B), obligation(B, C, 3), min_netting_efficiency_bps=0)
    worker.stop()
    operation = pipeline.clear(first, at=timezone.now(), reason="test")
    control("stop_app")
    control("start_app")
    worker.start()
    assert ended(operation).status == OperationStatus.COMMITTED
    assert status(first) == WindowStatus.COMPLETED

    second = closed(obligation(A, B), min_netting_efficiency_bps=0)
    control("stop_app")
    try:
        operation = pipeline.clear(second, at=timezone.now(), reason="test")
        assert status(second) == WindowStatus.PROCESSING
    finally:
        control("start_app")
    lapse(operation)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and status(second) == WindowStatus.PROCESSING:
        recovery.sweep(at=timezone.now())
        time.sleep(1)
    assert ended(operation).status == OperationStatus.COMMITTED
