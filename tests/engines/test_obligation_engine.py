"""What belongs in a window comes from the obligation engine: all of it, once, whatever breaks on the way."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django.fixtures import Settings

from clearing import clockwork, emergency, metrics, operations, pipeline, pull, steps, tasks, windows
from clearing.engine import crosscheck, pulls
from clearing.engine.crosscheck import NettingDiffers
from clearing.engine.pulls import PullOver, PullPending
from clearing.models import AtomicOperation, ClearingWindow, Obligation, ObligationPull, RegionSchedule
from clearing.obligations import Submission
from clearing.simulators.obligation_engine import ObligationEngine, serving
from clearing.states import PullStatus, WindowStatus
from clearing_project import remote
from clearing_project.remote import RemoteRefused, RemoteUnavailable
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import free_port
from tests import factories
from tests.database import refused, sql
from tests.factories import AT, BY_HAND, A, B, C, obligation

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObligationEngine]:
    """An engine that is configured, with nothing to send yet; batches are small."""
    monkeypatch.setattr(pull, "BATCH_MAX", 4)
    simulated = ObligationEngine(late_seconds=0.3)
    with serving(simulated, "127.0.0.1:0") as port:
        settings.OBLIGATION_ENGINE_URL = f"grpc://127.0.0.1:{port}"
        yield simulated


def day(count: int = 10) -> list[Submission]:
    """Obligations around a circle, in two currencies."""
    parties = [(A, B), (B, C), (C, A)]
    return [
        obligation(*parties[number % 3], 100 + number, "USD" if number % 2 else "JPY", reference=f"e{number}")
        for number in range(count)
    ]


def closing(**fields: Any) -> ClearingWindow:
    """A window past its intake."""
    return windows.begin_close(factories.window(**fields), at=AT)


def stored(window: ClearingWindow) -> list[str]:
    return list(Obligation.objects.filter(window=window).order_by("id").values_list("reference", flat=True))


def later(seconds: float = 600) -> datetime:
    return AT + timedelta(seconds=seconds)


def cleared(window: ClearingWindow) -> AtomicOperation:
    """A run of the window up to where its netting is sealed."""
    operation = factories.running(window, applied=2)
    for currency_id in factories.frozen_currencies(operation):
        steps.begin(operation.pk, "netting_calculated", at=AT)
        factories.net(operation, currency_id)
    return operation


def test_what_belongs_in_a_window_is_pulled_before_it_closes(engine: ObligationEngine) -> None:
    factories.circle()
    engine.give(day())
    window = closing()

    with pytest.raises(PullPending):
        windows.finish_close(window, at=AT)
    assert pull.pull(window.pk, at=AT)
    closed = windows.finish_close(window, at=AT)

    assert closed.status == WindowStatus.CLOSED
    assert stored(window) == [f"e{number}" for number in range(10)]
    assert set(Obligation.objects.values_list("submitter", flat=True)) == {"@engine"}
    found = ObligationPull.objects.get()
    assert (found.status, found.cursor, found.taken) == (PullStatus.COMPLETE, 10, 10)


def test_postgresql_lets_no_window_close_before_its_pull(engine: ObligationEngine) -> None:
    window = closing()

    with refused("pull_before_close"):
        sql(
            "UPDATE clearing_clearingwindow SET status = 'Closed', closed_at = now() WHERE id = %s", window.pk
        )


def test_the_clock_closes_a_window_only_when_its_pull_is_complete(engine: ObligationEngine) -> None:
    factories.circle()
    window = closing()

    clockwork.keep(BY_HAND, at=later())
    waits = windows.get(window.pk).status
    waited = metrics.exposition().decode()
    pull.pull(window.pk, at=later())
    clockwork.keep(BY_HAND, at=later())

    assert waits == WindowStatus.CLOSING
    assert "deltran_clearing_oldest_pull_age_seconds 0.0" not in waited
    assert windows.get(window.pk).status == WindowStatus.COMPLETED


def test_the_worker_pulls_closes_and_starts_clearing_in_one_go(engine: ObligationEngine) -> None:
    factories.circle()
    engine.give(day())
    window = closing()

    tasks.pull.apply(args=(window.pk,), throw=True)
    tasks.pull.apply(args=(window.pk,), throw=True)

    assert windows.get(window.pk).status == WindowStatus.PROCESSING
    assert len(stored(window)) == 10
    assert engine.streams == [(window.pk, 0)]


@pytest.mark.parametrize("fault", ["cut", "twice", "late", "again"])
def test_a_stream_that_breaks_doubles_or_begins_anew_is_taken_once(
    engine: ObligationEngine, fault: str
) -> None:
    factories.circle()
    engine.give(day())
    engine.misbehave(**{fault: 2})
    window = closing()

    assert pull.pull(window.pk, at=AT)

    assert stored(window) == [f"e{number}" for number in range(10)]
    places = [place for _, place in engine.streams]
    if fault == "cut":
        assert places == [0, 4, 4], "resumed after what was committed"


def test_a_pull_whose_process_died_goes_on_where_its_last_commit_stands(
    engine: ObligationEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.circle()
    engine.give(day())
    window = closing()

    def die(point: str) -> str:
        raise SystemExit(point)

    monkeypatch.setattr(pull, "reach", die)
    with pytest.raises(SystemExit):
        pull.pull(window.pk, at=AT)
    monkeypatch.undo()
    monkeypatch.setattr(pull, "BATCH_MAX", 4)
    half = stored(window)
    is_leased = not pull.pull(window.pk, at=AT)
    assert pull.pull(window.pk, at=later())

    assert (half, is_leased) == (["e0", "e1", "e2", "e3"], True)
    assert stored(window) == [f"e{number}" for number in range(10)]
    assert engine.streams == [(window.pk, 0), (window.pk, 4)]


def test_without_the_engine_the_close_is_held_and_an_operator_may_go_on_without(
    engine: ObligationEngine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CLEARING = {**settings.CLEARING, "PULL_ATTEMPTS_MAX": 2}
    engine.misbehave(reject=-1)
    window = closing()

    for attempt in range(3):
        assert not pull.pull(window.pk, at=later(attempt * 100))
    held = ObligationPull.objects.get()
    closed = windows.close(window, at=AT, reason="the engine is down for the day")

    assert (held.status, held.attempts, held.error_code) == (PullStatus.PENDING, 3, "remote_refused")
    assert "is held" in caplog.text
    assert closed.status == WindowStatus.CLOSED
    waived = ObligationPull.objects.get()
    assert (waived.status, waived.waived_reason) == (PullStatus.WAIVED, "the engine is down for the day")
    with pytest.raises(PullOver), transaction.atomic():
        pulls.advance(window.pk, cursor=1, taken=1, at=AT)


def test_the_policy_may_be_to_go_on_without(engine: ObligationEngine, settings: Settings) -> None:
    settings.CLEARING = {**settings.CLEARING, "PULL_ATTEMPTS_MAX": 1, "PULL_POLICY": "proceed"}
    engine.misbehave(reject=-1)
    window = closing()

    pull.pull(window.pk, at=AT)

    assert ObligationPull.objects.get().status == PullStatus.WAIVED
    assert windows.finish_close(window, at=AT).status == WindowStatus.CLOSED


def test_a_close_by_hand_waits_for_the_engine_first(engine: ObligationEngine) -> None:
    window = factories.window()

    first = windows.close(window, at=AT, reason="early")

    assert first.status == WindowStatus.CLOSING
    assert pulls.is_pending(window.pk)


def test_an_emergency_does_not_wait_for_the_engine(engine: ObligationEngine) -> None:
    window = factories.window()

    operation = emergency.clear(BY_HAND, at=AT, reason="outage")

    assert operation.window_id == window.pk
    assert ObligationPull.objects.get().status == PullStatus.WAIVED


Spoil = Callable[[list[Submission]], None]
WRONG: dict[str, Spoil] = {
    "unknown_participant": lambda rows: rows.append(obligation("NOBODY", B, reference="x")),
    "reference_conflict": lambda rows: rows.append(obligation(A, B, 7, "USD", reference="e1")),
}


@pytest.mark.parametrize("code", sorted(WRONG))
def test_what_intake_refuses_holds_the_window_rather_than_leaving_it_out(
    engine: ObligationEngine, code: str
) -> None:
    factories.circle()
    rows = day(3)
    WRONG[code](rows)
    engine.give(rows)
    window = closing()

    assert not pull.pull(window.pk, at=AT)

    assert ObligationPull.objects.get().error_code == code
    assert stored(window) == []
    assert pulls.is_pending(window.pk)


def test_an_obligation_that_came_for_another_window_holds_the_pull(engine: ObligationEngine) -> None:
    factories.circle()
    engine.give(day(2))
    first = closing()
    pull.pull(first.pk, at=AT)
    windows.finish_close(first, at=AT)
    engine.give(day(3))
    second = closing()

    assert not pull.pull(second.pk, at=AT)

    assert ObligationPull.objects.get(pk=second.pk).error_code == "pulled_elsewhere"
    assert stored(second) == []


def pulled(engine: ObligationEngine, *more: Submission, **fields: Any) -> ClearingWindow:
    """A closed window with the engine's day in it, and what came by other doors."""
    factories.circle()
    engine.give(day())
    window = factories.window(**fields)
    if more:
        factories.take(*more)
    windows.begin_close(window, at=AT)
    assert pull.pull(window.pk, at=AT)
    return windows.finish_close(window, at=AT)


def test_equal_netting_passes(engine: ObligationEngine) -> None:
    crosscheck.check(cleared(pulled(engine)))


def test_obligations_of_other_doors_do_not_disturb_the_comparison(engine: ObligationEngine) -> None:
    operation = cleared(pulled(engine, obligation(A, B, 5, "USD"), obligation(A, C, 9, "BHD")))

    crosscheck.check(operation)

    engine.misbehave(wrong_netting=1)
    with pytest.raises(NettingDiffers):
        crosscheck.check(operation)


@pytest.mark.parametrize("fault", ["wrong_netting", "wrong_count"])
def test_another_netting_fails_the_run_and_rolls_it_back(engine: ObligationEngine, fault: str) -> None:
    window = pulled(engine)
    operation = cleared(window)
    engine.misbehave(**{fault: 1})

    with pytest.raises(NettingDiffers):
        pipeline.seal.apply(args=(str(operation.pk),), throw=True)
    operation.refresh_from_db()
    operations.roll_back(operation.pk, at=AT)

    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("RolledBack", "netting_differs")
    assert windows.get(window.pk).status == WindowStatus.ROLLED_BACK


def test_an_engine_that_is_silent_leaves_the_run_to_be_tried_again(engine: ObligationEngine) -> None:
    operation = cleared(pulled(engine))
    engine.misbehave(timeout=-1)

    with pytest.raises(RemoteUnavailable):
        crosscheck.check(operation)
    engine.misbehave(timeout=0, reject=1)
    with pytest.raises(RemoteRefused):
        crosscheck.check(operation)

    operation.refresh_from_db()
    assert (operation.status, operation.rolling_back_at) == ("InProgress", None)


def test_what_moved_on_from_a_full_window_is_compared_where_it_is_cleared(engine: ObligationEngine) -> None:
    RegionSchedule.objects.filter(region=BY_HAND).update(is_enabled=True)
    full = pulled(engine, max_obligations=6)
    following = windows.accepting(BY_HAND)
    windows.begin_close(following, at=AT)
    assert pull.pull(following.pk, at=AT)
    windows.finish_close(following, at=AT)

    assert (len(stored(full)), len(stored(following))) == (6, 4)
    crosscheck.check(cleared(full))
    crosscheck.check(cleared(following))


def test_an_empty_window_is_compared_too_and_completes(engine: ObligationEngine) -> None:
    window = closing()
    pull.pull(window.pk, at=AT)
    windows.finish_close(window, at=AT)

    pipeline.clear(windows.get(window.pk), at=AT)

    assert windows.get(window.pk).status == WindowStatus.COMPLETED


def test_without_an_engine_nothing_is_planned_and_nothing_compared() -> None:
    factories.circle()
    window = factories.closed(*day(3))

    crosscheck.check(cleared(window))

    assert not ObligationPull.objects.exists()


def test_the_simulator_may_die_in_the_middle_and_come_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pull, "BATCH_MAX", 4)
    factories.circle()
    file = tmp_path / "day.csv"
    lines = [f"{row.reference},{row.payer},{row.payee},{row.currency},{row.amount}" for row in day()]
    file.write_text("\n".join(["reference,payer,payee,currency,amount", *lines, ""]))
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    settings.OBLIGATION_ENGINE_URL = f"grpc://{address}"
    window = closing()

    with simulated(file, address, tmp_path, "--fault", "die:1") as first:
        assert not pull.pull(window.pk, at=AT)
        half, died = stored(window), not first.is_alive
    remote.close()  # as in another process: this one's channel waits before it connects again
    with simulated(file, address, tmp_path) as second:
        assert pull.pull(window.pk, at=later())

    assert died
    assert len(half) in (0, 4), "what had left the engine when it died comes whole batches at a time"
    assert stored(window) == [f"e{number}" for number in range(10)]
    assert second.status == 0


@contextmanager
def simulated(file: Path, address: str, directory: Path, *options: str) -> Iterator[Process]:
    """The simulator as a process, ready."""
    log = directory / f"engine-{len(options)}.log"
    argv = [sys.executable, "manage.py", "simulate_obligation_engine", str(file), "--address", address]
    process = Process(
        "engine", [*argv, *options], directory=directory, log=log, environment={}, cwd=REPOSITORY
    )
    process.start()
    try:
        process.wait_until(probes.log_says(log, "obligation engine ready"), seconds=30)
        yield process
    finally:
        process.stop()
