"""What the chaos runs found, each nailed down without chance: doubles of a call, one broken among many."""

from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from clearing import finality, operations, pipeline, recovery, steps, windows
from clearing.checkpoints import STEPS
from clearing.faults import POINTS, FaultInjected
from clearing.models import AtomicOperation, ClearingWindow, Dispatch
from clearing.states import OperationStatus, WindowStatus
from tests.chaos import invariants
from tests.database import sql, together
from tests.factories import AT, DAY, circle, closed, running, story

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

TRIALS = 10


def dispatched(shut: ClearingWindow, *, applied: int = 0) -> AtomicOperation:
    """A run whose lease has ended."""
    operation = running(shut, applied=applied)
    Dispatch.objects.create(operation=operation, count=1, next_at=AT)
    return operation


@concurrent
def test_an_empty_window_advanced_by_three_at_once_completes_and_nobody_deadlocks() -> None:
    for _ in range(TRIALS):
        operation = dispatched(closed())

        answers = together(*[partial(pipeline.advance, operation.pk)] * 3)

        assert [answer for answer in answers if answer is not None] == []
        ended = steps.get(operation.pk)
        assert (ended.status, ended.window.status) == (OperationStatus.COMMITTED, WindowStatus.COMPLETED)
    assert invariants.broken() == []


def test_a_double_that_comes_after_the_commit_does_not_undo_an_empty_window() -> None:
    operation = dispatched(closed(), applied=4)
    finality.commit(operation.pk, at=AT)

    with pytest.raises(steps.OperationStopped):
        pipeline._finish_empty(operation, at=AT, token=1)

    assert steps.get(operation.pk).rolling_back_at is None


def test_a_released_run_whose_release_died_before_the_money_moved_is_settled_by_the_sweep(
    armoury: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle(10_000)
    shut = closed(*story(DAY), auto_settle=False)
    operation = dispatched(shut, applied=4)
    assert finality.commit(operation.pk, at=AT)
    (armoury / "finality.after").write_text("raise")
    with pytest.raises(FaultInjected):
        pipeline.clear(shut, at=AT, release=True)
    assert windows.get(shut.pk).status == WindowStatus.SETTLING
    sent: list[object] = []
    monkeypatch.setattr(pipeline, "_publish", sent.append)

    recovery.sweep(at=timezone.now())

    assert sent == [pipeline.settle.si(str(operation.pk))]
    pipeline.settle(str(operation.pk))
    assert windows.get(shut.pk).status == WindowStatus.COMPLETED


def test_a_held_run_is_not_sent() -> None:
    circle(10_000)
    operation = dispatched(closed(*story(DAY), auto_settle=False), applied=4)
    finality.commit(operation.pk, at=AT)

    assert recovery.sweep(at=timezone.now()) == 0
    assert operations.is_held(steps.get(operation.pk))


def test_a_run_that_cannot_be_sent_keeps_the_sweep_from_no_other(
    armoury: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle(10_000)
    both = [dispatched(closed(*story(DAY)), applied=1) for _ in range(2)]
    (armoury / "publish.before").write_text("raise")
    sent: list[object] = []
    monkeypatch.setattr(pipeline, "draw", lambda operation, token: _Message(sent))

    assert recovery.sweep(at=timezone.now()) == 2

    assert len(sent) == 1
    assert [Dispatch.objects.get(pk=run.pk).count for run in both] == [2, 2]


@concurrent
def test_a_database_that_goes_away_during_an_undo_is_no_failed_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    circle(10_000)
    operation = running(closed(*story(DAY)), applied=4)
    last = STEPS[-1]

    def cut_off(*_: object, **__: object) -> None:
        sql("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(last, "undo", cut_off)
    with pytest.raises(OperationalError):
        operations.roll_back(operation.pk, at=AT, reason="the cause")
    assert steps.get(operation.pk).status == OperationStatus.IN_PROGRESS

    monkeypatch.undo()
    ended = operations.roll_back(operation.pk, at=AT)

    assert (ended.status, ended.error_message) == (OperationStatus.ROLLED_BACK, "the cause")
    assert invariants.broken() == []


def test_every_fault_point_is_reached_somewhere() -> None:
    root = Path(settings.BASE_DIR) / "clearing"
    code = "".join(path.read_text("utf-8") for path in root.rglob("*.py") if path.name != "faults.py")
    suffixes = ("begin.before", "begin.after", "undo.before", "undo.between", "undo.after")
    named = {suffix for suffix in (*suffixes, "before", "between", "after") if f'.{suffix}")' in code}
    stepped = tuple(f"{step}." for step in (steps.FIRST, *steps.CHILD_TYPES))

    missing = [
        point
        for point in POINTS
        if f'reach("{point}")' not in code
        and not (point.startswith(stepped) and point.partition(".")[2] in named)
    ]

    assert missing == []


class _Message:
    """A canvas that notes that it was sent."""

    def __init__(self, sent: list[object]) -> None:
        self.sent = sent

    def apply_async(self) -> None:
        self.sent.append(self)
