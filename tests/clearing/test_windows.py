"""Windows open and close: one that accepts in each region, none lost, none sealed too early."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from queue import Queue

import pytest
from django.db import ProgrammingError, transaction

from clearing import clockwork, operations, partitions, windows
from clearing.models import ClearingWindow, Obligation, ObligationKey, RegionSchedule, WindowEvent
from clearing.obligations import Intake, OutcomeStatus
from clearing.states import OperationStatus, OperationType, Region, WindowStatus
from clearing.windows import (
    CutoffNotAhead,
    NoAcceptingWindow,
    UnknownRegion,
    UnknownWindow,
    WindowAlreadyOpen,
)
from clearing_project.lifecycle import IllegalMove
from tests.database import PATIENCE_SECONDS, backend, refused, sql, together, wait_until_blocked
from tests.factories import AT, BY_HAND, circle, closed, obligation, scheduled, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
COLUMNS = "amount_minor, key, submitted_at, payer_id, payee_id, currency_id, priority, reference, submitter"


def opened_in(region: Region) -> list[ClearingWindow]:
    return list(ClearingWindow.objects.filter(region=region).order_by("opens_at"))


def spans(region: Region) -> list[str]:
    """Each window of the region as `10 06:00-10 12:00 Open`."""
    return [f"{row.opens_at:%d %H:%M}-{row.cutoff_at:%d %H:%M} {row.status}" for row in opened_in(region)]


def test_an_opened_window_accepts_and_its_operation_and_event_are_written() -> None:
    opened = windows.open_window(Region.GLOBAL, at=NOON)

    assert windows.accepting(Region.GLOBAL) == opened
    assert opened.cutoff_at == NOON + timedelta(hours=6)
    ((kind, status),) = opened.operations.values_list("operation_type", "status")
    assert (kind, status) == (OperationType.WINDOW_OPEN, OperationStatus.COMMITTED)
    assert list(opened.events.values_list("sequence", "event_type")) == [(1, "Opened")]


def test_a_region_without_schedule_opens_for_the_general_duration() -> None:
    assert windows.open_window(BY_HAND, at=NOON).cutoff_at == NOON + timedelta(hours=6)


def test_a_second_accepting_window_in_a_region_is_refused_by_both() -> None:
    first = window()
    other = window(Region.ASIA_PACIFIC)
    windows.close(other, at=AT)

    with pytest.raises(WindowAlreadyOpen) as refusal:
        window()
    assert refusal.value.details == {"region": BY_HAND.value, "window_id": first.pk}
    with refused("one_accepting_window"):
        second = scheduled(first, opens_at=first.cutoff_at, cutoff_at=first.cutoff_at + DAY)
        sql("UPDATE clearing_clearingwindow SET status = 'Open' WHERE id = %s", second.pk)

    assert len(opened_in(BY_HAND)) == 1


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=1)])
def test_a_cutoff_at_or_before_the_opening_is_refused(late: timedelta) -> None:
    with pytest.raises(CutoffNotAhead):
        windows.open_window(BY_HAND, at=NOON, cutoff_at=NOON - late)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnknownWindow):
        windows.get(4711)
    with pytest.raises(UnknownRegion):
        windows.region("Atlantis")
    with pytest.raises(NoAcceptingWindow):
        windows.accepting(BY_HAND)


def test_beginning_to_close_opens_the_next_window_where_this_one_ends() -> None:
    first = windows.open_window(Region.GLOBAL, at=NOON)

    windows.begin_close(first, at=first.cutoff_at + timedelta(seconds=3))

    assert spans(Region.GLOBAL) == ["10 12:00-10 18:00 Closing", "10 18:00-11 00:00 Open"]


def test_closing_early_opens_the_next_window_now_until_the_same_cutoff() -> None:
    first = windows.open_window(Region.GLOBAL, at=NOON)

    windows.begin_close(first, at=NOON + timedelta(hours=1), reason="drill")

    assert spans(Region.GLOBAL) == ["10 12:00-10 18:00 Closing", "10 13:00-10 18:00 Open"]


def test_a_region_whose_schedule_is_disabled_opens_no_next_window() -> None:
    windows.begin_close(window(), at=NOON)

    with pytest.raises(NoAcceptingWindow):
        windows.accepting(BY_HAND)


def test_when_the_next_window_cannot_open_this_one_stays_open() -> None:
    first = windows.open_window(Region.GLOBAL, at=NOON)
    sql(f"CREATE TABLE {partitions.name(first.pk + 1)} ()")

    with pytest.raises(ProgrammingError, match="already exists"):
        windows.begin_close(first, at=first.cutoff_at)

    assert spans(Region.GLOBAL)[0] == "10 12:00-10 18:00 Open"
    assert list(first.events.values_list("event_type", flat=True)) == ["Opened"]


def test_a_window_closes_once() -> None:
    shut = closed()

    for verb in (windows.close, windows.begin_close, windows.finish_close):
        with pytest.raises(IllegalMove):
            verb(shut, at=NOON)

    assert list(shut.events.values_list("event_type", flat=True)) == ["Opened", "Closing", "Closed"]
    assert windows.get(shut.pk).status == WindowStatus.CLOSED


def test_a_sealed_partition_refuses_a_late_row_and_any_change() -> None:
    circle()
    shut = closed(obligation())
    copy = "INSERT INTO {} (" + COLUMNS + ", window_id, id) SELECT " + COLUMNS + ", window_id, id + 1 FROM {}"

    for table in ("clearing_obligation", partitions.name(shut.pk)):
        with refused("sealed"):
            sql(copy.format(table, table))
        with refused("append_only"):
            sql(f"UPDATE {table} SET amount_minor = 1")
        with refused("obligation_is_kept"):
            sql(f"DELETE FROM {table}")

    assert Obligation.objects.filter(window=shut).count() == 1


def test_a_partition_takes_rows_of_its_own_window_only() -> None:
    circle()
    opened = window()
    take(obligation())

    with refused(f"{partitions.name(opened.pk)}_window_id_check"):
        sql(
            f"INSERT INTO {partitions.name(opened.pk)} ({COLUMNS}, window_id, id)"
            f" SELECT {COLUMNS}, window_id + 1, id + 1 FROM clearing_obligation"
        )


def test_events_are_gapless_and_never_changed() -> None:
    shut = closed()

    assert list(shut.events.values_list("sequence", flat=True)) == [1, 2, 3]
    with refused("append_only"):
        sql("UPDATE clearing_windowevent SET event_type = 'Failed'")
    with refused("append_only"):
        sql("DELETE FROM clearing_windowevent")
    with refused("one_event_per_sequence"):
        WindowEvent.objects.create(window=shut, sequence=3, event_type="Closed", occurred_at=AT)


@concurrent
def test_windows_opened_at_once_in_a_region_are_one() -> None:
    outcomes = together(
        *[partial(windows.open_window, BY_HAND, at=AT + timedelta(seconds=turn)) for turn in range(6)]
    )

    assert (
        sorted(type(outcome).__name__ for outcome in outcomes)
        == ["ClearingWindow"] + ["WindowAlreadyOpen"] * 5
    )
    assert len(opened_in(BY_HAND)) == 1


@concurrent
def test_closing_waits_for_the_intake_in_flight_and_nothing_is_lost() -> None:
    circle()
    opened = window()
    inside, leave = threading.Event(), threading.Event()
    closer: Queue[int] = Queue()

    def slow_intake() -> Intake:
        with transaction.atomic():
            taken = take(obligation(reference="in flight"))
            inside.set()
            assert leave.wait(PATIENCE_SECONDS)
            return taken

    def close() -> ClearingWindow:
        assert inside.wait(PATIENCE_SECONDS)
        windows.begin_close(opened, at=AT)
        closer.put(backend())
        return windows.finish_close(opened, at=AT)

    def watch() -> str:
        assert inside.wait(PATIENCE_SECONDS)
        wait_until_blocked(closer.get(timeout=PATIENCE_SECONDS))
        status = windows.get(opened.pk).status
        leave.set()
        return status

    taken, shut, seen = together(slow_intake, close, watch)

    assert seen == WindowStatus.CLOSING
    assert isinstance(taken, Intake), taken
    assert isinstance(shut, ClearingWindow), shut
    assert shut.status == WindowStatus.CLOSED
    assert [row.reference for row in Obligation.objects.filter(window=opened)] == ["in flight"]


@concurrent
def test_closing_waits_for_intake_that_has_passed_the_gate_and_not_written_yet() -> None:
    """Sealed in between, the window would refuse what it had let in."""
    circle()
    opened = window()
    held, leave = threading.Event(), threading.Event()
    taker: Queue[int] = Queue()
    closer: Queue[int] = Queue()

    def hold_keys() -> None:
        with transaction.atomic():
            sql("LOCK TABLE clearing_obligationkey IN EXCLUSIVE MODE")
            held.set()
            assert leave.wait(PATIENCE_SECONDS)

    def intake() -> Intake:
        assert held.wait(PATIENCE_SECONDS)
        taker.put(backend())
        return take(obligation(reference="let in"))

    def close() -> ClearingWindow:
        wait_until_blocked(taker.get(timeout=PATIENCE_SECONDS))
        windows.begin_close(opened, at=AT)
        closer.put(backend())
        return windows.finish_close(opened, at=AT)

    def watch() -> None:
        try:
            wait_until_blocked(closer.get(timeout=PATIENCE_SECONDS))
        finally:
            leave.set()

    _, taken, shut, waited = together(hold_keys, intake, close, watch)

    assert isinstance(taken, Intake), taken
    assert isinstance(shut, ClearingWindow), shut
    assert waited is None
    assert [row.reference for row in Obligation.objects.filter(window=opened)] == ["let in"]


@concurrent
def test_intake_during_closes_lands_in_exactly_one_window() -> None:
    RegionSchedule.objects.filter(region=BY_HAND).update(is_enabled=True)
    circle()
    window()
    done = threading.Event()

    def submit_one(writer: int, turn: int) -> Intake:
        return take(obligation(reference=f"{writer}-{turn}"))

    def write(writer: int) -> list[Intake]:
        return [submit_one(writer, turn) for turn in range(25)]

    def keep_closing() -> int:
        turns = 0
        while not done.is_set():
            turns += 1
            windows.close(windows.accepting(BY_HAND), at=AT + timedelta(hours=1, seconds=turns))
        return turns

    def write_all() -> list[list[Intake] | Exception]:
        try:
            return together(*[partial(write, writer) for writer in range(3)])
        finally:
            done.set()

    written, closes = together(write_all, keep_closing)

    assert isinstance(closes, int), closes
    assert isinstance(written, list), written
    intakes = [intake for batch in written if isinstance(batch, list) for intake in batch]
    assert len(intakes) == 75, written
    answered = {intake.outcomes[0].reference: intake.window_id for intake in intakes}
    assert dict(Obligation.objects.values_list("reference", "window_id")) == answered
    assert Obligation.objects.count() == ObligationKey.objects.count() == 75
    assert all(intake.count(OutcomeStatus.ACCEPTED) == 1 for intake in intakes)


# --- keep: the windows agree with the clock --------------------------------------------------------


def keep(region: Region, at: datetime) -> None:
    clockwork.keep(region, at=at)


def test_keep_opens_the_window_of_the_slot_and_leaves_it_until_its_cutoff() -> None:
    keep(Region.EUROPE, NOON)
    keep(Region.EUROPE, NOON + timedelta(minutes=59))

    assert spans(Region.EUROPE) == ["10 07:00-10 13:00 Open"]


def test_keep_closes_at_cutoff_seals_after_the_grace_and_starts_clearing() -> None:
    keep(Region.EUROPE, NOON)
    cutoff_at = NOON + timedelta(hours=1)

    keep(Region.EUROPE, cutoff_at)
    assert spans(Region.EUROPE) == ["10 07:00-10 13:00 Closing", "10 13:00-10 19:00 Open"]

    keep(Region.EUROPE, cutoff_at + timedelta(seconds=29))
    assert spans(Region.EUROPE)[0] == "10 07:00-10 13:00 Closing"

    keep(Region.EUROPE, cutoff_at + timedelta(seconds=30))
    first = opened_in(Region.EUROPE)[0]
    assert first.status == WindowStatus.PROCESSING
    assert operations.live_clearing(first.pk) is not None


def test_after_an_outage_each_scheduled_window_existed_once_and_none_overlaps() -> None:
    keep(Region.EUROPE, NOON)

    keep(Region.EUROPE, NOON + DAY + timedelta(hours=3))

    rows = opened_in(Region.EUROPE)
    assert spans(Region.EUROPE)[-1] == "11 13:00-11 19:00 Open"
    assert [f"{row.opens_at:%d %H}" for row in rows] == ["10 07", "10 13", "10 19", "11 07", "11 13"]
    assert all(earlier.cutoff_at == later.opens_at for earlier, later in pairwise(rows))
    assert all(row.status == WindowStatus.PROCESSING for row in rows[:-1])


@pytest.mark.parametrize(
    ("since", "hours"),
    [(datetime(2026, 3, 28, 20, tzinfo=UTC), 11), (datetime(2026, 10, 24, 19, tzinfo=UTC), 13)],
    ids=["the clock jumps forward", "the clock jumps back"],
)
def test_the_night_window_of_a_jump_has_its_real_length_and_no_gap(since: datetime, hours: int) -> None:
    for hour in range(30):
        keep(Region.EUROPE, since + timedelta(hours=hour))

    rows = opened_in(Region.EUROPE)
    assert rows[0].cutoff_at - rows[0].opens_at == timedelta(hours=hours)
    assert all(earlier.cutoff_at == later.opens_at for earlier, later in pairwise(rows))
    assert len({row.opens_at for row in rows}) == len(rows) == 4


def test_keep_leaves_a_disabled_region_alone_but_finishes_its_open_window() -> None:
    keep(BY_HAND, NOON)
    assert opened_in(BY_HAND) == []

    by_hand = window(opens_at=NOON)
    keep(BY_HAND, by_hand.cutoff_at + timedelta(minutes=1))

    assert [row.status for row in opened_in(BY_HAND)] == [WindowStatus.PROCESSING]


def test_enabling_a_region_again_opens_from_where_its_last_window_ended() -> None:
    keep(Region.EUROPE, NOON)
    RegionSchedule.objects.filter(region=Region.EUROPE).update(is_enabled=False)
    windows.close(windows.accepting(Region.EUROPE), at=NOON + timedelta(minutes=10))
    RegionSchedule.objects.filter(region=Region.EUROPE).update(is_enabled=True)

    keep(Region.EUROPE, NOON + timedelta(minutes=20))

    assert spans(Region.EUROPE)[-1] == "10 12:10-10 13:00 Open"


@concurrent
@pytest.mark.parametrize("hours", [0, 30], ids=["first opening", "catching up"])
def test_two_ticks_at_once_do_what_one_does(hours: int) -> None:
    if hours:
        keep(Region.EUROPE, NOON)
    at = NOON + timedelta(hours=hours)

    outcomes = together(
        *[partial(keep, Region.EUROPE, at + timedelta(microseconds=turn)) for turn in range(4)]
    )

    assert outcomes == [None] * 4
    rows = opened_in(Region.EUROPE)
    assert len({row.opens_at for row in rows}) == len(rows)
    assert [row.status for row in rows].count(WindowStatus.OPEN) == 1
    assert all(earlier.cutoff_at == later.opens_at for earlier, later in pairwise(rows))
    keep(Region.EUROPE, at)
    assert spans(Region.EUROPE)[-1] == ("11 13:00-11 19:00 Open" if hours else "10 07:00-10 13:00 Open")
