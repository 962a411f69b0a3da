"""The windows agree with the clock, whatever clock and servers did: each slot once, none overlapping."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing import calendar, clockwork, schedules, windows
from clearing.calendar import ScheduleNeverOpens
from clearing.models import ClearingWindow, RegionSchedule
from clearing.obligations import submit
from clearing.states import Region, WhenClosed, WindowStatus
from clearing.windows import CutoffNotAhead, NoAcceptingWindow
from tests.database import refused, together
from tests.factories import BY_HAND, circle, obligation, scheduled, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

FRIDAY = datetime(2026, 3, 13, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def follow(region: Region = Region.EUROPE, **fields: Any) -> None:
    """Let the region follow another schedule from now on."""
    RegionSchedule.objects.filter(pk=region).update(is_enabled=True, **fields)


def office_hours() -> None:
    """Monday to Friday, 09:00 to 17:00 in UTC, cutoff at 13:00 and 17:00; else intake waits."""
    follow(
        time_zone="UTC",
        opening_times=[time(9), time(13)],
        closes_at=time(17),
        weekdays=[1, 2, 3, 4, 5],
        when_closed=WhenClosed.WAIT,
    )


def keep(at: datetime, region: Region = Region.EUROPE) -> None:
    clockwork.keep(region, at=at)


def spans(region: Region = Region.EUROPE) -> list[str]:
    """Each window as `13 09:00-13 13:00`, in order of opening; an open one ends in `…`."""
    rows = ClearingWindow.objects.filter(region=region).order_by("opens_at")
    return [
        f"{row.opens_at:%d %H:%M}-{row.cutoff_at:%d %H:%M}{'…' if row.status == WindowStatus.OPEN else ''}"
        for row in rows
    ]


def waits_until(region: Region = Region.EUROPE) -> datetime | None:
    return RegionSchedule.objects.get(pk=region).waits_until


# --- intake that waits ----------------------------------------------------------------------------------


def test_after_the_last_cutoff_no_window_accepts_until_the_next_opening() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 5 * HOUR)

    assert spans() == ["13 09:00-13 13:00", "13 13:00-13 17:00"]
    assert waits_until() == datetime(2026, 3, 16, 9, tzinfo=UTC)
    with pytest.raises(NoAcceptingWindow):
        windows.enter(Region.EUROPE, at=FRIDAY + DAY)

    keep(FRIDAY + 3 * DAY - 3 * HOUR)
    assert spans()[2:] == ["16 09:00-16 13:00…"]
    assert waits_until() is None


def test_a_region_enabled_while_it_is_closed_waits_for_its_first_opening() -> None:
    office_hours()

    keep(FRIDAY + DAY)

    assert spans() == []
    assert waits_until() == schedules.next_opening(Region.EUROPE, after=FRIDAY + DAY)


def test_a_due_window_is_opened_by_the_first_obligation_although_no_tick_came() -> None:
    office_hours()
    circle()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    taken = submit(
        [obligation()],
        region=Region.EUROPE,
        submitter="@operator",
        at=FRIDAY + 3 * DAY,
        all_or_nothing=True,
    )

    assert windows.get(taken.window_id or 0).opens_at == datetime(2026, 3, 16, 9, tzinfo=UTC)


def test_a_changed_schedule_changes_what_intake_waits_for() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    follow(weekdays=[2, 3, 4, 5])
    keep(FRIDAY + 7 * HOUR)
    assert waits_until() == datetime(2026, 3, 17, 9, tzinfo=UTC)

    follow(when_closed=WhenClosed.SPAN)
    keep(FRIDAY + 8 * HOUR)
    assert spans()[2:] == ["13 17:00-17 09:00…"]
    assert waits_until() is None


def test_a_window_opened_by_hand_while_intake_waits_lasts_until_the_opening_it_waits_for() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    opened = windows.open_window(Region.EUROPE, at=FRIDAY + DAY)
    assert opened.cutoff_at == datetime(2026, 3, 16, 9, tzinfo=UTC)

    windows.close(opened, at=FRIDAY + DAY + HOUR)
    assert waits_until() == opened.cutoff_at
    keep(opened.cutoff_at)
    assert spans()[2:] == ["14 12:00-16 09:00", "16 09:00-16 13:00…"]


def test_a_region_disabled_while_intake_waits_makes_up_for_nothing_when_it_comes_back() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    RegionSchedule.objects.filter(pk=Region.EUROPE).update(is_enabled=False)
    keep(FRIDAY + 4 * DAY)
    assert waits_until() is None
    follow()
    keep(FRIDAY + 11 * DAY)

    assert spans()[2:] == ["24 09:00-24 13:00…"]


def test_nothing_follows_a_schedule_that_never_opens_and_the_window_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep(FRIDAY)
    monkeypatch.setattr(calendar, "CLOSED_DAYS_MAX", -1)

    with pytest.raises(ScheduleNeverOpens):
        keep(FRIDAY + DAY)

    assert spans() == ["13 07:00-13 13:00…"]


# --- outages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [3, 72], ids=lambda hours: f"{hours} h down")
@pytest.mark.parametrize("waits", [False, True], ids=["spanning", "waiting"])
def test_after_an_outage_each_slot_has_had_its_window_once(hours: int, *, waits: bool) -> None:
    if waits:
        office_hours()
    keep(FRIDAY)
    at = FRIDAY + hours * HOUR

    keep(at)

    rows = list(ClearingWindow.objects.filter(region=Region.EUROPE).order_by("opens_at"))
    schedule = schedules.of(Region.EUROPE)
    assert schedule is not None
    due = [
        (each.opens_at, each.cutoff_at)
        for each in _until(schedule, FRIDAY.date(), at)
        if each.cutoff_at > FRIDAY
    ]
    assert [(row.opens_at, row.cutoff_at) for row in rows] == due
    assert all(row.cutoff_at <= at for row in rows if row.status != WindowStatus.OPEN)


def _until(schedule: calendar.Schedule, since: date, at: datetime) -> list[calendar.Slot]:
    found = []
    for each in calendar.slots(schedule, since=since):
        if each.opens_at > at:
            break
        found.append(each)
    return found


def test_an_outage_that_began_while_intake_waited_leaves_no_slot_out() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    keep(FRIDAY + 4 * DAY + 2 * HOUR)

    assert spans()[2:] == [
        "16 09:00-16 13:00", "16 13:00-16 17:00", "17 09:00-17 13:00", "17 13:00-17 17:00…",
    ]  # fmt: skip


def test_a_long_outage_is_made_up_for_over_several_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clockwork, "CATCH_UP_MAX", 2)
    keep(FRIDAY)

    for _ in range(3):
        keep(FRIDAY + DAY)

    assert spans() == [
        "13 07:00-13 13:00", "13 13:00-13 19:00", "13 19:00-14 07:00", "14 07:00-14 13:00…",
    ]  # fmt: skip


def test_a_clock_that_jumped_ahead_and_back_doubles_nothing() -> None:
    keep(FRIDAY)
    keep(FRIDAY + DAY)
    before = spans()

    keep(FRIDAY)
    windows.close(windows.accepting(Region.EUROPE), at=FRIDAY)
    windows.close(windows.accepting(Region.EUROPE), at=FRIDAY)

    rows = list(ClearingWindow.objects.filter(region=Region.EUROPE).order_by("opens_at"))
    assert spans()[: len(before) - 1] == before[:-1]
    assert len(rows) == len(before) + 2
    assert all(earlier.opens_at < later.opens_at for earlier, later in pairwise(rows))
    assert windows.accepting(Region.EUROPE) == rows[-1]
    keep(FRIDAY + 2 * DAY)
    assert spans()[-1] == "15 07:00-15 13:00…"


def test_a_clock_that_jumped_back_while_intake_waits_doubles_nothing() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 3 * DAY + 6 * HOUR)
    before = spans()

    for hour in range(0, 72, 5):
        keep(FRIDAY + hour * HOUR)

    assert spans() == before
    assert waits_until() == datetime(2026, 3, 17, 9, tzinfo=UTC)


def test_a_window_opened_by_hand_begins_where_the_last_one_ended_although_the_clock_is_behind() -> None:
    last = window()
    windows.close(last, at=last.cutoff_at)

    opened = windows.open_window(BY_HAND, at=last.opens_at)

    assert opened.opens_at == last.cutoff_at
    windows.close(opened, at=last.opens_at)
    with pytest.raises(CutoffNotAhead):
        windows.open_window(BY_HAND, at=last.opens_at, cutoff_at=last.cutoff_at)


@concurrent
def test_two_ticks_at_the_end_of_a_wait_open_one_window() -> None:
    office_hours()
    keep(FRIDAY)
    keep(FRIDAY + 6 * HOUR)

    outcomes = together(*[partial(keep, FRIDAY + 3 * DAY + turn * HOUR) for turn in range(4)])

    assert outcomes == [None] * 4
    keep(FRIDAY + 3 * DAY + 3 * HOUR)
    assert spans()[2:] == ["16 09:00-16 13:00", "16 13:00-16 17:00…"]


# --- PostgreSQL itself ----------------------------------------------------------------------------------


def test_windows_that_overlap_are_refused_by_postgresql() -> None:
    first = window()
    windows.close(first, at=first.cutoff_at - HOUR)

    for opens_at, cutoff_at in (
        (first.opens_at + HOUR, first.cutoff_at),
        (first.opens_at - HOUR, first.opens_at + timedelta(microseconds=1)),
        (first.cutoff_at - 2 * HOUR, first.cutoff_at + HOUR),
    ):
        with refused("windows_never_overlap"):
            scheduled(first, opens_at=opens_at, cutoff_at=cutoff_at, closing_at=None)

    scheduled(first, opens_at=first.cutoff_at - HOUR, closing_at=None)
    scheduled(first, opens_at=first.opens_at - HOUR, cutoff_at=first.opens_at, closing_at=None)
    scheduled(first, region=Region.ASIA_PACIFIC, closing_at=None)
    with refused("windows_never_overlap"):
        ClearingWindow.objects.filter(pk=first.pk).update(closing_at=first.cutoff_at)


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("schedule_weekdays", {"weekdays": []}),
        ("schedule_weekdays", {"weekdays": [0]}),
        ("schedule_weekdays", {"weekdays": [1, 8]}),
        ("schedule_when_closed", {"when_closed": "maybe", "closes_at": time(23)}),
        ("schedule_waits_from_a_cutoff", {"when_closed": "wait"}),
        ("schedule_has_openings", {"opening_times": []}),
    ],
)
def test_a_schedule_that_no_day_can_follow_is_refused_by_postgresql(
    constraint: str, fields: dict[str, Any]
) -> None:
    with refused(constraint):
        follow(**fields)


# --- any schedule, any knocks ---------------------------------------------------------------------------

local_times = st.integers(0, 47).map(lambda half: time(half // 2, half % 2 * 30))


@contextmanager
def undone() -> Iterator[None]:
    """Take back all that the block did: windows are never deleted, and each example needs its own."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@settings(max_examples=12, deadline=None)
@given(
    zone=st.sampled_from(["UTC", "Europe/Brussels", "Australia/Lord_Howe", "America/St_Johns"]),
    opening_times=st.lists(local_times, min_size=1, max_size=2, unique=True),
    closes_at=local_times,
    weekdays=st.sets(st.integers(1, 7), min_size=1),
    waits=st.booleans(),
    start=st.sampled_from([datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)]),
    hours=st.lists(st.integers(-20, 40), min_size=1, max_size=6),
)
def test_whenever_the_ticks_come_the_windows_are_the_slots_of_the_schedule(
    zone: str,
    opening_times: list[time],
    closes_at: time,
    weekdays: set[int],
    start: datetime,
    hours: list[int],
    *,
    waits: bool,
) -> None:
    with undone():
        follow(
            time_zone=zone,
            opening_times=opening_times,
            closes_at=closes_at,
            weekdays=sorted(weekdays),
            when_closed="wait" if waits else "span",
        )
        at = start
        keep(at)
        for hour in hours:
            at += hour * HOUR
            keep(at)

        rows = list(ClearingWindow.objects.filter(region=Region.EUROPE).order_by("opens_at"))
        schedule = schedules.of(Region.EUROPE)
        assert schedule is not None
        assert waits or rows
        if rows:
            planned = _until(schedule, start.date() - 10 * DAY, rows[-1].opens_at)
            made = [(row.opens_at, row.cutoff_at) for row in rows]
            assert made == [(each.opens_at, each.cutoff_at) for each in planned][-len(rows) :]
            assert rows[0].opens_at <= start or waits
        furthest = start + max(0, *accumulate(hours)) * HOUR
        assert all(row.cutoff_at <= furthest for row in rows if row.status != WindowStatus.OPEN)
        if rows and rows[-1].status == WindowStatus.OPEN:
            assert rows[-1].cutoff_at > at
        else:
            assert calendar.slot(schedule, at=max([at, *(row.cutoff_at for row in rows)])) is None
        assert all(row.status != WindowStatus.OPEN for row in rows[:-1])
