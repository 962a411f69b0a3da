"""When windows open: local times, days on which the clock jumps, moments between openings."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.calendar import Schedule, next_opening, openings, slot

EUROPE = Schedule("Europe/Brussels", (time(8), time(14), time(20)))
DUBAI = Schedule("Asia/Dubai", (time(0), time(6), time(12), time(18)))
NIGHTLY = Schedule("Europe/Brussels", (time(2, 30), time(3, 30)))
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # 02:00 -> 03:00 and 03:00 -> 02:00 in Brussels


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(number: int, schedule: Schedule, *, since: date) -> list[str]:
    return [f"{moment:%d %H:%M}" for moment in islice(openings(schedule, since=since), number)]


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
    assert first(2, NIGHTLY, since=SPRING) == ["29 01:30", "30 00:30"]


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
    assert slot(EUROPE, at=utc(at)) == (utc(opened), utc(cutoff))


def test_the_next_opening_is_strictly_after() -> None:
    assert next_opening(EUROPE, after=utc("2026-01-15 07:00")) == utc("2026-01-15 13:00")
    assert next_opening(EUROPE, after=utc("2026-01-15 19:00")) == utc("2026-01-16 07:00")


zones = st.sampled_from(["UTC", "Europe/Brussels", "America/New_York", "Asia/Dubai", "Australia/Lord_Howe"])
schedules = st.builds(
    Schedule,
    zones,
    st.lists(st.times().map(lambda t: t.replace(tzinfo=None)), min_size=1, max_size=5).map(tuple),
)
moments = st.datetimes(datetime(2025, 1, 2), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(schedules, moments)
def test_slots_follow_each_other_without_gap_or_overlap(schedule: Schedule, at: datetime) -> None:
    opened, cutoff = slot(schedule, at=at)

    assert opened <= at < cutoff
    assert next_opening(schedule, after=at) == cutoff
    assert slot(schedule, at=cutoff)[0] == cutoff
    assert slot(schedule, at=cutoff - timedelta(microseconds=1)) == (opened, cutoff)


@given(schedules, moments)
def test_openings_ascend_and_come_at_least_daily(schedule: Schedule, at: datetime) -> None:
    found = list(islice(openings(schedule, since=at.date()), 20))

    assert all(timedelta() < later - earlier <= timedelta(hours=25) for earlier, later in pairwise(found))
