"""A window given up loses nothing: its obligations move on, and the sweep finishes what was left behind."""

from datetime import datetime, timedelta
from functools import partial
from queue import Queue
from threading import Event

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clearing import finality, operations, partitions, recovery, steps, windows
from clearing.models import ClearingWindow, Dispatch, Obligation, ObligationKey, RollOn
from clearing.obligations import Intake
from clearing.operations import AlreadyProcessing
from clearing.states import OperationStatus, WindowStatus
from clearing.windows import NoAcceptingWindow
from clearing_project.celery import app
from clearing_project.errors import Conflict
from tests.database import PATIENCE_SECONDS, backend, together, wait_until_blocked
from tests.factories import (
    AT,
    DAY,
    apply,
    balances,
    circle,
    closed,
    obligation,
    running,
    settled,
    story,
    take,
    window,
)

pytestmark = pytest.mark.django_db


def rolled_back() -> ClearingWindow:
    """A window whose only run was rolled back."""
    shut = closed(*story(DAY))
    operations.roll_back(running(shut, applied=3).pk, at=AT, reason="test")
    return windows.get(shut.pk)


def amounts(of: ClearingWindow) -> list[int]:
    return sorted(Obligation.objects.filter(window=of).values_list("amount_minor", flat=True))


def test_a_window_given_up_moves_every_obligation_with_its_key_to_the_next() -> None:
    circle()
    lost, following = rolled_back(), window()
    sent = obligation(amount_minor=7)
    take(sent)
    keys = set(ObligationKey.objects.values_list("key", flat=True))

    windows.give_up(lost, at=AT, reason="hopeless")

    assert windows.get(lost.pk).status == WindowStatus.FAILED
    assert (amounts(lost), amounts(following)) == ([], [7, 300, 400, 500])
    assert set(ObligationKey.objects.values_list("key", "window_id")) == {(key, following.pk) for key in keys}
    moved = Obligation.objects.filter(origin_window_id=lost.pk)
    assert (moved.count(), RollOn.objects.get(source=lost).obligations_count) == (3, 3)
    assert lost.events.latest("sequence").event_type == "Failed"


def test_what_was_moved_on_is_still_known_and_settles_once() -> None:
    circle(1000)
    sent = obligation(amount_minor=60)
    lost = closed(sent)
    operations.roll_back(running(lost, applied=4).pk, at=AT, reason="test")
    following = window()
    windows.give_up(windows.get(lost.pk), at=AT, reason="hopeless")

    again = take(sent)
    settled(windows.close(following, at=following.cutoff_at))

    assert [(row.status, row.window_id) for row in again.outcomes] == [("duplicate", following.pk)]
    assert (balances("BANK-A")["USD"], balances("BANK-B")["USD"]) == ((940, 0), (1060, 0))


def test_with_nowhere_to_move_to_a_window_is_not_given_up() -> None:
    circle()
    lost = rolled_back()

    with pytest.raises(NoAcceptingWindow):
        windows.give_up(lost, at=AT, reason="hopeless")

    assert windows.get(lost.pk).status == WindowStatus.ROLLED_BACK
    assert amounts(lost) == [300, 400, 500]


def test_a_window_that_is_being_cleared_or_has_ended_is_not_given_up() -> None:
    circle()
    again, done = rolled_back(), settled(closed(*story(DAY))).window
    running(again)
    window()

    with pytest.raises(AlreadyProcessing):
        windows.give_up(again, at=AT, reason="hopeless")
    with pytest.raises(Conflict):
        windows.give_up(done, at=AT, reason="hopeless")

    assert (amounts(again), amounts(done)) == ([300, 400, 500], [300, 400, 500])


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_closing_in_one_transaction_waits_for_who_entered_and_never_in_a_circle() -> None:
    """A force-close with an Idempotency-Key once took the row before the gate, who entered the reverse."""
    circle()
    lost, following = rolled_back(), window()
    closer: Queue[int] = Queue()
    entered = Event()

    def close() -> ClearingWindow:
        with transaction.atomic():
            closer.put(backend())
            assert entered.wait(PATIENCE_SECONDS)
            return windows.close(following, at=AT, reason="test")

    def give_up() -> RollOn:
        with transaction.atomic():
            partitions.pass_gate(following.pk)
            entered.set()
            wait_until_blocked(closer.get(timeout=PATIENCE_SECONDS))
            return windows.give_up(lost, at=AT, reason="hopeless")

    closed_, rolled = together(close, give_up)

    assert isinstance(rolled, RollOn), rolled
    assert isinstance(closed_, ClearingWindow), closed_
    assert (closed_.status, amounts(following)) == (WindowStatus.CLOSED, [300, 400, 500])


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_giving_up_beside_intake_and_beside_itself_loses_and_doubles_nothing() -> None:
    circle()
    lost, following = rolled_back(), window()
    give_up = partial(windows.give_up, lost, at=AT, reason="hopeless")

    outcomes = together(give_up, give_up, *[partial(take, obligation(amount_minor=1)) for _ in range(4)])

    assert sorted(type(outcome).__name__ for outcome in outcomes[:2]) == ["IllegalMove", "RollOn"]
    assert all(isinstance(outcome, Intake) for outcome in outcomes[2:]), outcomes
    assert (amounts(lost), amounts(following)) == ([], [1, 1, 1, 1, 300, 400, 500])
    assert ObligationKey.objects.filter(window_id=following.pk).count() == 7


# --- the sweep, seen from the database: which runs it takes further --------------------------------


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def left_behind(status: str, *, at: datetime) -> Dispatch:
    """A run in *status* whose lease has ended."""
    shut = closed(*story(DAY), auto_settle=status == "committed")
    operation = running(shut, applied=4)
    dispatch = Dispatch.objects.create(operation=operation, count=1, next_at=at - timedelta(seconds=1))
    if status != "in progress":
        finality.commit(operation.pk, at=at)
    if status == "held, and being rolled back":
        operations._begin_rollback(operation.pk, at=at, reason="operator")
    if status == "final":
        finality.settle(operation.pk, at=at)
    return dispatch


@pytest.mark.parametrize(
    ("status", "taken"),
    [("in progress", 1), ("held", 0), ("held, and being rolled back", 1), ("final", 0)],
)
def test_the_sweep_takes_live_runs_further_and_leaves_held_and_ended_ones(
    status: str, taken: int, now: datetime
) -> None:
    """A rollback of a held run that was interrupted was once left behind for ever."""
    circle()
    dispatch = left_behind(status, at=now)

    assert recovery.sweep(at=now) == taken
    assert recovery.sweep(at=now) == 0

    app.control.purge()
    dispatch.refresh_from_db()
    assert dispatch.count == 1 + taken


def test_a_run_that_gets_further_begins_its_attempts_anew(now: datetime) -> None:
    """A long run on bad days once used up its attempts although each brought it further."""
    circle()
    shut = closed(*story(DAY))
    operation = running(shut, applied=1)
    Dispatch.objects.create(operation=operation, count=1, next_at=now)
    attempts_max, turn = settings.CLEARING["ATTEMPTS_MAX"], 0
    for step in (1, 2, 3):
        for _ in range(attempts_max - 1):
            turn += 1
            recovery.sweep(at=now + timedelta(days=turn))
        assert steps.get(operation.pk).rolling_back_at is None
        apply(operation, step)

    recovery.sweep(at=now + timedelta(days=turn + 1))

    app.control.purge()
    found = Dispatch.objects.get(pk=operation.pk)
    assert steps.get(operation.pk).rolling_back_at is None
    assert (found.count, found.attempts) == (2 + turn, 1)


def test_a_run_that_gets_no_further_is_condemned_after_its_attempts(now: datetime) -> None:
    circle()
    dispatch = left_behind("in progress", at=now)
    attempts_max = settings.CLEARING["ATTEMPTS_MAX"]

    for turn in range(attempts_max):
        assert steps.get(dispatch.pk).rolling_back_at is None
        recovery.sweep(at=now + timedelta(days=1 + turn))

    app.control.purge()
    found = steps.get(dispatch.pk)
    assert (found.status, found.error_code) == (OperationStatus.IN_PROGRESS, "attempts_exhausted")
    assert found.rolling_back_at is not None
