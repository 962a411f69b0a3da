"""When windows open: local times, days on which the clock jumps, moments between openings."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.calendar import (
    Day,
    Hours,
    Schedule,
    ScheduleNeverOpens,
    Slot,
    following,
    next_opening,
    slot,
    slots,
)
from clearing.states import DayKind

EUROPE = Schedule("Europe/Brussels", (time(8), time(14), time(20)))
DUBAI = Schedule("Asia/Dubai", (time(0), time(6), time(12), time(18)))
NIGHTLY = Schedule("Europe/Brussels", (time(2, 30), time(3, 30)))
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # 02:00 -> 03:00 and 03:00 -> 02:00 in Brussels


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(number: int, schedule: Schedule, *, since: date) -> list[str]:
    """Opening moments in UTC, as `29 06:00`."""
    return [f"{found.opens_at:%d %H:%M}" for found in islice(slots(schedule, since=since), number)]


def spans(number: int, schedule: Schedule, *, since: date) -> list[str]:
    """Slots in the schedule's own time, as `27 08:00-27 14:00`."""
    zone = ZoneInfo(schedule.time_zone)
    return [
        f"{found.opens_at.astimezone(zone):%d %H:%M}-{found.cutoff_at.astimezone(zone):%d %H:%M}"
        for found in islice(slots(schedule, since=since), number)
    ]


def test_local_opening_times_are_moments_in_utc() -> None:
    assert first(3, EUROPE, since=date(2026, 1, 15)) == ["15 07:00", "15 13:00", "15 19:00"]
    assert first(3, EUROPE, since=date(2026, 7, 15)) == ["15 06:00", "15 12:00", "15 18:00"]
    assert first(2, DUBAI, since=date(2026, 1, 15)) == ["14 20:00", "15 02:00"]


def test_openings_keep_local_time_across_the_spring_jump() -> None:
    assert first(6, EUROPE, since=date(2026, 3, 28)) == [
        "28 07:00", "28 13:00", "28 19:00", "29 06:00", "29 12:00", "29 18:00",
    ]  # fmt: skip


def test_openings_keep_local_time_across_the_autumn_jump() -> None:
    assert first(6, EUROPE, since=date(2026, 10, 24)) == [
        "24 06:00", "24 12:00", "24 18:00", "25 07:00", "25 13:00", "25 19:00",
    ]  # fmt: skip


def test_a_skipped_local_time_opens_once_where_the_clock_jumped_over_it() -> None:
    assert first(3, NIGHTLY, since=SPRING) == ["29 01:00", "29 01:30", "30 00:30"]


def test_a_local_time_that_comes_twice_opens_at_its_first() -> None:
    assert first(3, NIGHTLY, since=AUTUMN) == ["25 00:30", "25 02:30", "26 01:30"]


@pytest.mark.parametrize(
    ("at", "opened", "cutoff"),
    [
        ("2026-01-15 07:00", "2026-01-15 07:00", "2026-01-15 13:00"),
        ("2026-01-15 12:59:59", "2026-01-15 07:00", "2026-01-15 13:00"),
        ("2026-01-15 03:00", "2026-01-14 19:00", "2026-01-15 07:00"),
        ("2026-03-29 03:00", "2026-03-28 19:00", "2026-03-29 06:00"),
        ("2026-10-25 06:30", "2026-10-24 18:00", "2026-10-25 07:00"),
    ],
)
def test_a_moment_lies_in_the_slot_between_two_openings(at: str, opened: str, cutoff: str) -> None:
    assert slot(EUROPE, at=utc(at)) == Slot(utc(opened), utc(cutoff))


def test_the_next_opening_is_strictly_after() -> None:
    assert next_opening(EUROPE, after=utc("2026-01-15 07:00")) == utc("2026-01-15 13:00")
    assert next_opening(EUROPE, after=utc("2026-01-15 19:00")) == utc("2026-01-16 07:00")


# --- days with their own hours, and what happens between the last cutoff and the next opening ---------------

WEEK = frozenset(range(1, 6))
FRIDAY, SATURDAY = date(2026, 3, 27), date(2026, 3, 28)  # the clocks jump on the Sunday
CLOSED = Day(DayKind.CLOSED, "a holiday", None)


def test_closed_days_are_spanned_by_the_window_before_them() -> None:
    weekly = replace(EUROPE, weekdays=WEEK)

    assert spans(4, weekly, since=FRIDAY) == [
        "27 08:00-27 14:00", "27 14:00-27 20:00", "27 20:00-30 08:00", "30 08:00-30 14:00",
    ]  # fmt: skip


def test_a_last_cutoff_is_followed_by_a_window_until_the_next_opening() -> None:
    weekly = replace(EUROPE, weekdays=WEEK, closes_at=time(21))

    assert spans(4, weekly, since=FRIDAY)[2:] == ["27 20:00-27 21:00", "27 21:00-30 08:00"]


def test_or_intake_waits_for_the_next_opening() -> None:
    weekly = replace(EUROPE, weekdays=WEEK, closes_at=time(21), waits=True)

    assert spans(4, weekly, since=FRIDAY)[2:] == ["27 20:00-27 21:00", "30 08:00-30 14:00"]
    assert slot(weekly, at=utc("2026-03-27 20:00")) is None
    assert next_opening(weekly, after=utc("2026-03-27 20:00")) == utc("2026-03-30 06:00")
    assert following(weekly, at=utc("2026-03-27 20:00")).opens_at == utc("2026-03-30 06:00")


def test_a_last_cutoff_at_midnight_belongs_to_the_day_that_ends() -> None:
    weekly = replace(DUBAI, weekdays=WEEK, closes_at=time(0), waits=True)

    assert spans(6, weekly, since=FRIDAY)[3:5] == ["27 18:00-28 00:00", "30 00:00-30 06:00"]


def test_a_holiday_is_closed_and_a_half_day_ends_early() -> None:
    half = Day(DayKind.HALF, "a half-day", Hours((time(8), time(14)), closes_at=time(12)))
    known = replace(EUROPE, days={FRIDAY: half, SATURDAY: CLOSED}, closes_at=time(21))

    assert spans(3, known, since=FRIDAY) == ["27 08:00-27 12:00", "27 12:00-29 08:00", "29 08:00-29 14:00"]
    assert spans(2, replace(known, waits=True), since=FRIDAY) == ["27 08:00-27 12:00", "29 08:00-29 14:00"]


def test_an_extra_open_day_opens_on_a_closed_weekday() -> None:
    extra = Day(DayKind.OPEN, "year end", Hours((time(10),)))
    weekly = replace(EUROPE, weekdays=WEEK, days={SATURDAY: extra})

    assert spans(2, weekly, since=SATURDAY) == ["28 10:00-30 08:00", "30 08:00-30 14:00"]


def test_an_opening_before_the_last_cutoff_of_the_night_before_closes_that_window() -> None:
    late = replace(EUROPE, closes_at=time(2), waits=True)
    early = replace(late, days={SATURDAY: Day(DayKind.OPEN, "early", Hours((time(1),)))})

    assert spans(5, early, since=FRIDAY)[2:] == [
        "27 20:00-28 01:00",
        "28 01:00-29 08:00",
        "29 08:00-29 14:00",
    ]


def test_a_schedule_that_never_opens_says_so() -> None:
    never = replace(EUROPE, days={FRIDAY + n * timedelta(days=1): CLOSED for n in range(2000)})

    with pytest.raises(ScheduleNeverOpens):
        next_opening(never, after=utc("2026-03-27 12:00"))


# --- clocks that jump -----------------------------------------------------------------------------------


def test_half_an_hour_of_daylight_saving_is_half_an_hour() -> None:
    lord_howe = Schedule("Australia/Lord_Howe", (time(1, 45), time(2, 10)))

    assert first(4, lord_howe, since=date(2026, 4, 5)) == ["04 14:45", "04 15:40", "05 15:15", "05 15:40"]
    assert first(4, lord_howe, since=date(2026, 10, 4)) == ["03 15:15", "03 15:30", "04 14:45", "04 15:10"]


def test_two_openings_within_one_skipped_hour_are_one() -> None:
    assert first(2, Schedule("Europe/Brussels", (time(2, 10), time(2, 50))), since=SPRING)[0] == "29 01:00"
    assert first(2, Schedule("Europe/Brussels", (time(2, 10), time(2, 50))), since=SPRING)[1] == "30 00:10"


def test_a_window_that_lies_wholly_in_a_skipped_hour_does_not_take_place() -> None:
    brief = Schedule("Europe/Brussels", (time(2, 10),), closes_at=time(2, 50), waits=True)

    assert first(2, brief, since=SATURDAY) == ["28 01:10", "30 00:10"]


def test_a_day_that_the_date_line_swallowed_has_no_windows() -> None:
    samoa = Schedule("Pacific/Apia", (time(8), time(20)))

    assert spans(4, samoa, since=date(2011, 12, 29)) == [
        "29 08:00-29 20:00", "29 20:00-31 08:00", "31 08:00-31 20:00", "31 20:00-01 08:00",
    ]  # fmt: skip


def test_a_day_that_the_date_line_gave_twice_has_its_windows_once() -> None:
    kwajalein = Schedule("Kwajalein", (time(8), time(20)))

    found = list(islice(slots(kwajalein, since=date(1969, 9, 29)), 6))

    assert [(each.cutoff_at - each.opens_at) // timedelta(hours=1) for each in found] == [
        12,
        12,
        12,
        35,
        12,
        12,
    ]
    assert slot(kwajalein, at=utc("1969-10-01 01:00")) == found[3]


def test_midnight_itself_may_be_skipped() -> None:
    beirut = Schedule("Asia/Beirut", (time(0), time(12)))

    assert first(3, beirut, since=date(2026, 3, 29)) == ["28 22:00", "29 09:00", "29 21:00"]


# --- any schedule ---------------------------------------------------------------------------------------

ZONES = [
    "UTC", "Europe/Brussels", "America/New_York", "Asia/Dubai", "Australia/Lord_Howe", "Asia/Beirut",
    "America/St_Johns", "Pacific/Chatham", "Africa/Casablanca", "America/Havana", "Pacific/Apia",
]  # fmt: skip
local_times = st.times().map(lambda t: t.replace(tzinfo=None)) | st.integers(0, 95).map(
    lambda quarter: time(quarter // 4, quarter % 4 * 15)
)
opening_times = st.lists(local_times, min_size=1, max_size=5).map(tuple)
hours = st.builds(Hours, opening_times, st.none() | local_times)
special = (
    st.just(CLOSED)
    | hours.map(lambda found: Day(DayKind.HALF, "half", found))
    | hours.map(lambda found: Day(DayKind.OPEN, "open", found))
)
dates = st.dates(date(2026, 1, 1), date(2026, 12, 31))
schedules = st.builds(
    Schedule,
    st.sampled_from(ZONES),
    opening_times,
    closes_at=st.none() | local_times,
    weekdays=st.frozensets(st.integers(1, 7), min_size=1),
    waits=st.booleans(),
    days=st.dictionaries(dates, special, max_size=30),
)
moments = st.datetimes(datetime(2026, 1, 2), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(schedules, moments)
def test_slots_ascend_without_overlap_and_without_gap_unless_intake_waits(
    schedule: Schedule, at: datetime
) -> None:
    found = list(islice(slots(schedule, since=at.date()), 30))

    assert all(each.opens_at < each.cutoff_at for each in found)
    assert all(earlier.cutoff_at <= later.opens_at for earlier, later in pairwise(found))
    if not schedule.waits:
        assert all(earlier.cutoff_at == later.opens_at for earlier, later in pairwise(found))


@given(schedules, moments)
def test_wherever_one_starts_to_read_the_slots_are_the_same(schedule: Schedule, at: datetime) -> None:
    long = list(islice(slots(schedule, since=at.date() - timedelta(days=20)), 300))
    found = slot(schedule, at=at)

    around = [each for each in long if each.opens_at <= at < each.cutoff_at]
    assert around == ([] if found is None else [found])
    assert next_opening(schedule, after=at) == next(each.opens_at for each in long if each.opens_at > at)
    if found is None:
        assert schedule.waits
        assert following(schedule, at=at).opens_at == next_opening(schedule, after=at)
    else:
        assert following(schedule, at=at) == found


@given(schedules, moments)
def test_every_opening_time_of_every_open_day_opens_a_window(schedule: Schedule, at: datetime) -> None:
    """Told by the wall clock alone: the way back from UTC, and no arithmetic of ours."""
    zone, day = ZoneInfo(schedule.time_zone), at.date()
    known = schedule.hours(day)
    opened = {each.opens_at for each in islice(slots(schedule, since=day - timedelta(days=1)), 80)}

    for local in known.opening_times if known and known.closes_at is None else ():
        readings = {
            moment.astimezone(zone).replace(tzinfo=None)
            for moment in opened
            if moment.astimezone(zone).date() == day
        }
        exists = datetime.combine(day, local, zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        if exists == datetime.combine(day, local):
            assert exists in readings
