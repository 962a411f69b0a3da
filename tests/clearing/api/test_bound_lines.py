"""Every line that is logged during a piece of work bears whose it is: request, window, operation."""

import logging
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from celery import signals
from django.utils import timezone
from pytest_django.fixtures import Settings

from clearing import clockwork, finality, pipeline, recovery, settling, tasks, windows
from clearing.consumers import settlements
from clearing.events.catalog import of_event
from clearing.models import AtomicOperation, Dispatch, WindowEvent
from clearing.states import Region
from clearing_project import trace
from clearing_project.celery import bind_task, release_task
from clearing_project.stack.servers import free_port
from settlement.models import SettlementInstruction
from settlement.rails import risk
from tests.clearing.api.caller import Caller
from tests.factories import AT, A, B, circle, closed, obligation, running, window
from tests.lines import logged

pytestmark = pytest.mark.django_db

logger = logging.getLogger("test.bound")


def ids(line: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Request, window and operation of a line."""
    return tuple(line.get(name) for name in trace.CARRIED)  # type: ignore[return-value]


def of(lines: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one line of a logger."""
    (line,) = [line for line in lines if line["logger"] == name]
    return line


@pytest.mark.parametrize("path", ["windows/999999", "windows/999999/result", "windows/999999/events"])
def test_a_request_about_a_window_bears_it_even_when_refused(operator: Caller, path: str) -> None:
    with logged() as lines:
        assert operator.get(path).status_code == 404

    line = of(lines, "clearing.api.middleware")
    assert line["window_id"] == 999999
    assert line["request_id"]


def test_a_window_named_in_the_body_is_bound_as_well(operator: Caller) -> None:
    with logged() as lines:
        operator.post("force-close", {"window_id": 999999, "reason": "test"})

    assert of(lines, "clearing.api.middleware")["window_id"] == 999999


def test_what_a_request_starts_bears_its_window_and_operation(
    operator: Caller, django_capture_on_commit_callbacks: Any
) -> None:
    shut = closed()

    with logged() as lines, django_capture_on_commit_callbacks(execute=True):
        operator.post(f"windows/{shut.pk}/process")

    operation = AtomicOperation.objects.get(window=shut, operation_type="WindowClearing")
    event = next(line for line in lines if line.get("event_type") == "Processing")
    assert event["operation_id"] == str(operation.pk)
    assert event["request_id"] == of(lines, "clearing.api.middleware")["request_id"]


def test_nothing_stays_bound_after_a_request(operator: Caller) -> None:
    operator.get("windows/999999")

    with logged() as lines:
        logger.info("later")

    assert ids(of(lines, "test.bound")) == (None, None, None)


def test_a_message_takes_window_and_operation_along_and_its_task_is_bound_to_them() -> None:
    headers: dict[str, str] = {}
    with trace.work(request_id="r", window_id=7, operation_id="o", caller="alice"):
        signals.before_task_publish.send(sender="clearing.tasks.sweep", headers=headers)
    assert headers == {"request_id": "r", "window_id": "7", "operation_id": "o"}

    tasks.sweep.push_request(**headers)
    try:
        bind_task(task_id="task-1", task=tasks.sweep)
        with logged() as lines:
            logger.info("inside")
        release_task(task=tasks.sweep)
    finally:
        tasks.sweep.pop_request()

    assert ids(of(lines, "test.bound")) == ("r", 7, "o")


def test_messages_of_a_run_bear_its_window_and_operation() -> None:
    circle(1000)
    run = running(closed(obligation(A, B)), applied=1)
    Dispatch.objects.create(operation=run, count=1, next_at=AT)

    with mock.patch.object(pipeline, "_publish", side_effect=lambda _: sent.append(trace.carried())):
        sent: list[dict[str, str]] = []
        pipeline.advance(run.pk)

    assert sent == [{"window_id": str(run.window_id), "operation_id": str(run.pk)}]


def test_the_sweep_binds_each_run_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    circle(1000)
    runs = [
        running(closed(obligation(A, B), region=region), applied=1) for region in (Region.ADGM, Region.EUROPE)
    ]
    for run in runs:
        Dispatch.objects.update_or_create(
            operation=run, defaults={"count": 1, "next_at": AT - timedelta(hours=1)}
        )
    monkeypatch.setattr(pipeline, "send", lambda operation_id: logger.info("sending"))

    with logged() as lines:
        recovery.sweep(at=timezone.now())
        logger.info("after")

    told = [ids(line)[1:] for line in lines if line["logger"] == "test.bound"]
    assert sorted(told[:2]) == sorted((run.window_id, str(run.pk)) for run in runs)
    assert told[2] == (None, None)


def test_the_tick_binds_the_window_that_it_closes(django_capture_on_commit_callbacks: Any) -> None:
    shut = window()
    windows.begin_close(shut, at=shut.cutoff_at)

    with logged() as lines, django_capture_on_commit_callbacks(execute=True):
        clockwork.keep(windows.region(shut.region), at=shut.cutoff_at + timedelta(hours=1))

    closing = [line for line in lines if line.get("event_type") in ("Closed", "Processing", "Completed")]
    assert closing
    assert {line["window_id"] for line in closing} == {shut.pk}


def test_threads_that_ask_an_engine_know_whose_question_it_is(settings: Settings) -> None:
    settings.RISK_ENGINE_URL = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    settings.REMOTE = {**settings.REMOTE, "ATTEMPTS_MAX": 1}
    circle(1000)
    run = running(closed(obligation(A, B), min_netting_efficiency_bps=0), applied=4)
    batch = SettlementInstruction.objects.values_list("batch_id", flat=True).first()
    assert batch is not None
    risk.plan(batch)

    with logged(logging.WARNING) as lines, trace.work(request_id="r", window_id=7, operation_id=str(run.pk)):
        risk.evaluate(batch, at=AT)

    waiting = [line for line in lines if "has no verdict" in line["event"]]
    assert waiting
    assert {ids(line) for line in waiting} == {("r", 7, str(run.pk))}


def test_a_confirmation_is_taken_under_its_own_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    circle(1000)
    run = running(closed(obligation(A, B), min_netting_efficiency_bps=0), applied=4)
    monkeypatch.setattr(settling, "hear", lambda *_, **__: {run.pk})

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("test")

    monkeypatch.setattr(finality, "settle", broken)
    with logged() as lines:
        settlements.take([], at=AT)

    assert of(lines, "clearing.consumers.settlements")["operation_id"] == str(run.pk)


def test_an_event_is_published_under_what_it_was_written_under() -> None:
    shut = window()
    event = WindowEvent.objects.filter(window=shut).latest("id")
    event.data = {**event.data, "request_id": "r"}

    assert of_event(event) == {"window_id": shut.pk, "request_id": "r"}
