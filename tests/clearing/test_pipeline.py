"""The cycle as it is drawn: what is sent for a run depends on what stands in the database alone."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from clearing import operations, pipeline, steps, windows
from clearing.checkpoints import netting_calculated
from clearing.models import Dispatch, WindowEvent
from clearing.operations import AlreadyProcessing
from clearing.pipeline import CutoffNotReached, WindowFinal
from clearing.states import OperationStatus, WindowStatus
from tests.database import sql
from tests.factories import AT, DAY, circle, closed, net, running, settled, snapshot, story, window

pytestmark = pytest.mark.django_db

COLLECT, NET, SEAL, INSTRUCT, SETTLE = ("collect", "net_currency", "seal", "instruct", "settle")


def tasks(signature: Any) -> Iterator[Any]:
    """Yield the tasks of a canvas in the order in which they may run."""
    parts = signature.get("kwargs", {})
    if "header" in parts:
        header = parts["header"]
        for inner in header["kwargs"]["tasks"] if "kwargs" in header else header:
            yield from tasks(inner)
        yield from tasks(parts["body"])
    elif "tasks" in parts:
        for inner in parts["tasks"]:
            yield from tasks(inner)
    else:
        yield signature


def drawn(operation: Any) -> list[str]:
    """Name the tasks that are drawn for the run."""
    canvas = pipeline.draw(steps.get(operation.pk), token=1)
    return [task["task"].removeprefix("clearing.pipeline.") for task in tasks(canvas)]


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        (1, [COLLECT, NET, NET, SEAL, INSTRUCT, SETTLE]),
        (2, [NET, NET, SEAL, INSTRUCT, SETTLE]),
        (3, [INSTRUCT, SETTLE]),
        (4, [SETTLE]),
    ],
)
def test_what_is_drawn_is_what_is_missing(applied: int, expected: list[str]) -> None:
    circle()

    assert drawn(running(closed(*story(DAY)), applied=applied)) == expected


def test_a_currency_that_is_netted_is_not_drawn_again() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)

    net(operation, 840)
    assert drawn(operation) == [NET, SEAL, INSTRUCT, SETTLE]

    net(operation, 392)
    assert drawn(operation) == [SEAL, INSTRUCT, SETTLE]


def test_tasks_take_ids_and_are_immutable_and_the_errback_hangs_on_the_whole_canvas() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=1)

    canvas = pipeline.draw(operation, token=7)

    for task in tasks(canvas):
        assert task["immutable"], task
        assert task["args"][0] == str(operation.pk)
        assert task["args"][-1] == 7
        assert all(isinstance(value, str | int) for value in task["args"])
    (errback,) = canvas.options["link_error"]
    assert (errback["task"], errback["args"]) == ("clearing.pipeline.roll_back", (str(operation.pk),))


def test_clearing_takes_the_window_at_once_and_leases_the_run() -> None:
    circle()
    shut, now = closed(*story(DAY)), timezone.now()

    operation = pipeline.clear(shut, at=now, reason="operator")

    assert windows.get(shut.pk).status == WindowStatus.PROCESSING
    assert (operation.status, operation.reason) == (OperationStatus.IN_PROGRESS, "operator")
    dispatch = Dispatch.objects.get(operation=operation)
    assert (dispatch.count, dispatch.next_at) == (1, now + pipeline.lease(0))
    with pytest.raises(AlreadyProcessing):
        pipeline.clear(shut, at=now)


def test_a_window_is_not_cleared_before_it_is_closed_nor_after_its_end() -> None:
    circle()
    opened = window()

    with pytest.raises(CutoffNotReached):
        pipeline.clear(opened, at=AT)
    windows.begin_close(opened, at=AT)
    with pytest.raises(CutoffNotReached) as refusal:
        pipeline.clear(opened, at=AT)
    assert refusal.value.details["status"] == "Closing"
    windows.finish_close(opened, at=AT)
    settled(windows.get(opened.pk))
    with pytest.raises(WindowFinal):
        pipeline.clear(opened, at=AT)

    assert opened.operations.filter(operation_type="WindowClearing").count() == 1


def test_a_run_that_cannot_take_its_window_is_rolled_back_at_once() -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$"
    )
    sql("CREATE TRIGGER broken BEFORE INSERT ON clearing_windowevent EXECUTE FUNCTION broken()")

    with pytest.raises(Exception, match="the disk is full"):
        pipeline.clear(shut, at=AT)

    assert windows.get(shut.pk).status == WindowStatus.CLOSED
    assert operations.live_clearing(shut.pk) is None
    assert snapshot() == before
    assert not WindowEvent.objects.filter(event_type="Processing").exists()


def test_a_lease_doubles_with_each_attempt_up_to_a_bound() -> None:
    seconds = [pipeline.lease(attempts).total_seconds() for attempts in range(8)]

    assert seconds[:6] == [seconds[0] * 2**power for power in range(6)]
    assert seconds[5:] == [seconds[5]] * 3
