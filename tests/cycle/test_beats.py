"""Two Beats: one sends, the other takes over when it dies; were both to send, the rows would be the same."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from clearing import clockwork
from clearing.models import ClearingWindow, RegionSchedule
from clearing.obligations import submit
from clearing.states import Region, WindowStatus
from clearing_project.beat import KEY, STANDBY_SECONDS, Scheduler
from clearing_project.celery import app
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from settlement.models import SettlementInstruction
from tests.chaos import invariants
from tests.database import sql
from tests.factories import A, B, C, circle, obligation

pytestmark = [pytest.mark.cycle, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

PATIENCE_SECONDS = 120.0  # three Beats and a worker, beside other tests
SENDS, STANDS_BY, SENT = "beat: sends from here on", "beat: stands by", "Sending due task"
EVERY_BEAT_SENDS = "django_celery_beat.schedulers:DatabaseScheduler"
TASKS = {"clearing.tasks.tick", "clearing.tasks.sweep"}
CLEARED = ["Opened", "Closing", "Closed", "Processing", "Completed"]


class Recording(Scheduler):
    """Notes what it would send in place of sending it."""

    sent: list[str]

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Note the entry's task."""
        self.sent.append(entry.task)


@contextmanager
def beat() -> Iterator[Recording]:
    scheduler = Recording(app=app)
    scheduler.sent = []
    try:
        yield scheduler
    finally:
        scheduler.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def round_of(scheduler: Recording) -> float:
    """Let it send all that is due; the seconds it then wants to wait."""
    while (seconds := scheduler.tick()) == 0:
        pass
    return seconds


def _all_due() -> None:
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(minutes=1))


def test_of_two_beats_one_sends_and_the_other_takes_over_at_its_end() -> None:
    with beat() as first, beat() as second:
        round_of(first)
        assert round_of(second) == STANDBY_SECONDS
        assert set(first.sent) >= TASKS
        assert second.sent == []

        first.close()
        assert round_of(second) > 0
        assert second.sent == [], "it knows when the first one sent"

        _all_due()
        second.close()
        round_of(second)

        assert set(second.sent) >= TASKS


def test_a_beat_whose_session_ended_sends_nothing_once_another_took_over() -> None:
    with beat() as first, beat() as second:
        round_of(first)
        count = len(first.sent)
        _all_due()
        sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
            KEY["class"],
            KEY["lock"],
        )
        round_of(second)

        assert round_of(first) == STANDBY_SECONDS
        assert (len(first.sent), bool(second.sent)) == (count, True)

        second.close()
        _all_due()
        round_of(first)
        assert len(first.sent) > count, "it stands by as any other"


def test_windows_and_rows_are_the_same_with_one_beat_with_two_and_with_two_that_both_send(
    worker: Process, test_environment: dict[str, str], tmp_path: Path
) -> None:
    circle()
    pace, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(task__in=TASKS).update(interval=pace, expire_seconds=5)
    RegionSchedule.objects.update(is_enabled=False)
    now = timezone.now()
    one, two = (_process(name, test_environment, tmp_path) for name in ("one", "two"))
    more = _process("more", test_environment, tmp_path, f"--scheduler={EVERY_BEAT_SENDS}")
    try:
        one.start()
        with_one = _played(Region.EUROPE, now)
        assert [events for *_, events, _ in with_one] == [CLEARED, CLEARED, ["Opened"]]

        two.start()
        until(lambda: _says(two, STANDS_BY))
        assert _played(Region.ADGM, now, at_first_close=one.kill) == with_one
        until(lambda: _says(two, SENT))
        assert _log(two).index(STANDS_BY) < _log(two).index(SENDS) < _log(two).index(SENT)

        more.start()
        until(lambda: _says(more, SENT))
        assert _played(Region.ASIA_PACIFIC, now) == with_one
    finally:
        for process in (one, two, more):
            process.kill()
    assert invariants.broken() == []


def _process(name: str, environment: dict[str, str], directory: Path, *options: str) -> Process:
    command = "celery -A clearing_project beat --pidfile= --loglevel=INFO"
    return Process(
        name,
        [sys.executable, "-m", *command.split(), *options],
        directory=directory,
        log=directory / f"{name}.log",
        environment={**os.environ, **environment, "PYTHONUNBUFFERED": "1", "LOG_LEVEL": "INFO"},
        cwd=REPOSITORY,
    )


def _log(process: Process) -> str:
    assert process.log is not None
    return process.log.read_text("utf-8")


def _says(process: Process, text: str) -> bool:
    return text in _log(process)


def _played(
    region: Region, now: datetime, at_first_close: Callable[[], None] = lambda: None
) -> list[tuple[Any, ...]]:
    """
    Follow a schedule since yesterday that nobody ticked for, and wait until Beat has caught up.

    Returns:
        The region's windows in order: span, status, the kinds of events and what the instructions move.
    """
    then = now - timedelta(hours=20)
    opening_times = sorted((now - timedelta(hours=hours)).time().replace(microsecond=0) for hours in (4, 12))
    owed = [obligation(A, B, 500), obligation(B, C, 490), obligation(C, A, 480)]
    with transaction.atomic():  # Beat sees the window with what it holds, or not at all
        RegionSchedule.objects.filter(pk=region).update(
            is_enabled=True, time_zone="UTC", opening_times=opening_times
        )
        clockwork.keep(region, at=then)
        submit(owed, region=region, submitter="OPERATOR", at=then, all_or_nothing=True)
    found = ClearingWindow.objects.filter(region=region).order_by("opens_at")
    until(lambda: found.exclude(status=WindowStatus.OPEN).exists())
    at_first_close()
    until(lambda: list(found.values_list("status", flat=True)) == ["Completed", "Completed", "Open"])
    return [_told(window) for window in found]


def _told(window: ClearingWindow) -> tuple[Any, ...]:
    events = window.events.order_by("sequence").values_list("event_type", flat=True)
    legs = SettlementInstruction.objects.filter(batch_id__in=window.operations.values("pk"))
    columns = ("payer__code", "payee__code", "currency__code", "amount_minor", "status")
    return (
        window.opens_at,
        window.cutoff_at,
        window.status,
        list(events),
        sorted(legs.values_list(*columns)),
    )
