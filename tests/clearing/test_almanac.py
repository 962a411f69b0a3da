"""Holiday calendars: computed once and kept, whatever the library says later; and operators' own days."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

import pytest

from clearing import almanac, calendar, clockwork, schedules, tasks
from clearing.almanac import UnknownCalendar
from clearing.models import CalendarYear, ClearingWindow, RegionSchedule, SpecialDay
from clearing.states import DayKind, Region
from tests.database import refused, sql

pytestmark = pytest.mark.django_db

WEDNESDAY = datetime(2026, 4, 1, 10, 0, tzinfo=UTC)  # Good Friday is 3 April, Easter Monday 6 April
CHRISTMAS_EVE = date(2026, 12, 24)


def follow(*calendars: str, region: Region = Region.EUROPE, **fields: Any) -> RegionSchedule:
    """Let the region follow calendars, Monday to Friday, and store their days."""
    fields = {"weekdays": [1, 2, 3, 4, 5], "is_enabled": True, "calendars": list(calendars), **fields}
    RegionSchedule.objects.filter(pk=region).update(**fields)
    almanac.extend(region, at=WEDNESDAY)
    return RegionSchedule.objects.get(pk=region)


def spans(row: RegionSchedule, since: date, number: int) -> list[str]:
    found = calendar.slots(schedules.read(row), since=since)
    return [f"{each.opens_at:%d %H:%M}-{each.cutoff_at:%d %H:%M}" for each in islice(found, number)]


def year_of(name: str, year: int = 2026) -> CalendarYear:
    return CalendarYear.objects.get(calendar=name, year=year)


def drifted(name: str = "ECB") -> CalendarYear:
    """Make the stored days those of another version of the library: some missing, one more, one renamed."""
    stored = year_of(name)
    stored.days.filter(date__in=[date(2026, 1, 1), date(2026, 5, 1), date(2026, 12, 25)]).delete()
    stored.days.create(date=date(2026, 5, 1), kind="closed", name="May Day")
    stored.days.create(date=date(2026, 6, 1), kind="closed", name="abolished")
    CalendarYear.objects.filter(pk=stored.pk).update(library_version="holidays 0.1")
    return year_of(name)


def test_the_library_knows_target_the_fed_markets_countries_and_their_parts() -> None:
    assert list(almanac.compute("ECB", 2026)) == [
        date(2026, 1, 1), date(2026, 4, 3), date(2026, 4, 6),
        date(2026, 5, 1), date(2026, 12, 25), date(2026, 12, 26),
    ]  # fmt: skip
    assert date(2026, 11, 26) in almanac.compute("XFED", 2026)
    assert almanac.compute("XNYS", 2026)[CHRISTMAS_EVE].kind == DayKind.HALF
    assert almanac.compute("XNYS", 2026)[date(2026, 12, 25)].kind == DayKind.CLOSED
    assert date(2026, 1, 6) in almanac.compute("DE-BY", 2026)
    assert date(2026, 1, 6) not in almanac.compute("DE", 2026)


@pytest.mark.parametrize("name", ["", "TARGET", "Germany", "XX", "DE-ZZ", "ECB-1", "de", "X" * 16])
def test_a_calendar_that_the_library_has_not_is_refused(name: str) -> None:
    with pytest.raises(UnknownCalendar):
        almanac.check([name])


def test_holidays_are_closed_and_the_window_before_them_spans_them() -> None:
    row = follow("ECB")

    assert spans(row, date(2026, 4, 2), 4) == [
        "02 06:00-02 12:00",
        "02 12:00-02 18:00",
        "02 18:00-07 06:00",
        "07 06:00-07 12:00",
    ]


def test_a_day_closed_in_one_of_several_calendars_is_closed_and_bears_their_names() -> None:
    days = schedules.read(follow("ECB", "XNYS", "DE")).days

    assert days[date(2026, 7, 3)].name == "Independence Day (observed)"
    assert days[date(2026, 12, 25)].name == "Christmas Day"
    assert days[date(2026, 1, 1)].name == "New Year's Day"
    assert days[date(2026, 4, 6)].hours is None


def test_a_half_day_has_its_own_last_cutoff() -> None:
    row = follow("XNYS", half_day_closes_at=time(13), closes_at=time(21))

    assert spans(row, CHRISTMAS_EVE, 3) == ["24 07:00-24 12:00", "24 12:00-28 07:00", "28 07:00-28 13:00"]


def test_a_half_day_on_a_closed_weekday_stays_closed() -> None:
    row = follow("XNYS", half_day_closes_at=time(13), closes_at=time(21), weekdays=[1, 2, 3])

    assert CHRISTMAS_EVE not in schedules.read(row).days


def test_calendars_are_stored_two_years_ahead_once_and_year_by_year() -> None:
    row = follow("ECB", "XNYS")
    again = almanac.extend(Region.EUROPE, at=WEDNESDAY)
    later = almanac.extend(Region.EUROPE, at=WEDNESDAY + timedelta(days=366))

    assert again == []
    assert [(year.calendar, year.year) for year in later] == [("ECB", 2029), ("XNYS", 2029)]
    assert row.years.count() == 8
    assert {year.library_version for year in row.years.all()} == {almanac.LIBRARY_VERSION}


def test_beats_daily_task_stores_the_next_years() -> None:
    RegionSchedule.objects.filter(pk=Region.EUROPE).update(calendars=["ECB"])

    tasks.clean_up()

    assert CalendarYear.objects.filter(schedule=Region.EUROPE, calendar="ECB").count() == 3


def test_another_version_of_the_library_changes_no_stored_day() -> None:
    row = follow("ECB")
    drifted()

    almanac.extend(Region.EUROPE, at=WEDNESDAY)

    assert date(2026, 6, 1) in schedules.read(row).days
    assert date(2026, 12, 25) not in schedules.read(row).days


def test_differences_of_the_future_are_shown_and_accepted_and_those_of_the_past_are_not() -> None:
    row = follow("ECB")
    stored = drifted()

    shown = [str(each) for each in almanac.differences(stored, at=WEDNESDAY)]
    accepted = almanac.accept(stored, at=WEDNESDAY)

    assert shown == [str(each) for each in accepted] == [
        "2026-05-01: closed (May Day) → closed (Labour Day)",
        "2026-06-01: closed (abolished) → ordinary",
        "2026-12-25: ordinary → closed (Christmas Day)",
    ]  # fmt: skip
    assert almanac.differences(stored, at=WEDNESDAY) == []
    days = schedules.read(row).days
    assert date(2026, 6, 1) not in days
    assert days[date(2026, 12, 25)].hours is None
    assert date(2026, 1, 1) not in days, "the past stays as it was"
    assert year_of("ECB").library_version == almanac.LIBRARY_VERSION
    assert year_of("ECB").accepted_at == WEDNESDAY


def test_a_day_that_an_open_window_lasts_to_is_settled() -> None:
    row = follow("ECB")
    stored = drifted()
    clockwork.keep(Region.EUROPE, at=datetime(2026, 4, 30, 19, tzinfo=UTC))

    assert almanac.settled_until(row, at=WEDNESDAY) == date(2026, 5, 4)
    assert [each.date for each in almanac.differences(stored, at=WEDNESDAY)] == [
        date(2026, 6, 1), date(2026, 12, 25),
    ]  # fmt: skip


def test_accepted_days_change_the_windows_that_come_and_no_other() -> None:
    follow("ECB")
    stored = drifted()
    clockwork.keep(Region.EUROPE, at=datetime(2026, 5, 29, 19, tzinfo=UTC))
    before = list(ClearingWindow.objects.values_list("opens_at", "cutoff_at"))

    almanac.accept(stored, at=datetime(2026, 5, 29, 19, tzinfo=UTC))
    clockwork.keep(Region.EUROPE, at=datetime(2026, 6, 2, 6, tzinfo=UTC))

    assert before == [(datetime(2026, 5, 29, 18, tzinfo=UTC), datetime(2026, 6, 2, 6, tzinfo=UTC))]
    assert (
        list(ClearingWindow.objects.order_by("opens_at").values_list("opens_at", "cutoff_at"))[:1] == before
    )


# --- PostgreSQL itself ----------------------------------------------------------------------------------


def test_a_stored_day_that_a_window_was_opened_for_can_neither_be_changed_nor_deleted() -> None:
    follow("ECB")
    clockwork.keep(Region.EUROPE, at=WEDNESDAY + timedelta(days=30))

    for statement in ("UPDATE clearing_calendarday SET name = 'x'", "DELETE FROM clearing_calendarday"):
        with refused("settled_day_is_fixed"):
            sql(f"{statement} WHERE date = '2026-04-03'")
    with refused("stored_day_is_fixed"):
        sql("UPDATE clearing_calendarday SET name = 'x' WHERE date = '2026-12-25'")
    sql("DELETE FROM clearing_calendarday WHERE date = '2026-12-25'")


def test_a_special_day_behind_an_open_windows_cutoff_is_refused() -> None:
    row = follow()
    saturday, monday = date(2026, 4, 4), date(2026, 4, 6)
    special = SpecialDay.objects.create(schedule=row, date=saturday, kind="open", note="year end")
    clockwork.keep(Region.EUROPE, at=datetime(2026, 4, 4, 19, tzinfo=UTC))

    with refused("settled_day_is_fixed"):
        SpecialDay.objects.create(schedule=row, date=date(2026, 4, 5), kind="open", note="too late")
    with refused("settled_day_is_fixed"):
        SpecialDay.objects.filter(pk=special.pk).update(kind="closed")
    with refused("settled_day_is_fixed"):
        special.delete()
    SpecialDay.objects.create(schedule=row, date=monday, kind="closed", note="declared over the weekend")

    clockwork.keep(Region.EUROPE, at=datetime(2026, 4, 6, 6, tzinfo=UTC))
    latest = ClearingWindow.objects.order_by("-opens_at")[0]
    assert (latest.opens_at, latest.cutoff_at) == (
        datetime(2026, 4, 6, 6, tzinfo=UTC),
        datetime(2026, 4, 7, 6, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("special_day_kind", {"kind": "long"}),
        ("special_day_has_note", {"note": ""}),
        ("closed_day_has_no_times", {"opening_times": [time(8)]}),
        ("closed_day_has_no_times", {"closes_at": time(8)}),
    ],
)
def test_a_special_day_that_says_nothing_is_refused(constraint: str, fields: dict[str, Any]) -> None:
    whole = {"schedule": follow(), "date": CHRISTMAS_EVE, "kind": "closed", "note": "strike", **fields}

    with refused(constraint):
        SpecialDay.objects.create(**whole)


# --- what an operator enters ----------------------------------------------------------------------------


def test_an_operators_day_outranks_weekdays_and_calendars_until_it_is_withdrawn() -> None:
    row = follow("ECB", half_day_closes_at=time(12))
    good_friday, saturday = date(2026, 4, 3), date(2026, 4, 4)
    SpecialDay.objects.create(schedule=row, date=good_friday, kind="half", note="see you at noon")
    extra = SpecialDay.objects.create(
        schedule=row, date=saturday, kind="open", opening_times=[time(9)], note="year end"
    )

    assert spans(row, good_friday, 3) == ["03 06:00-03 10:00", "03 10:00-04 07:00", "04 07:00-07 06:00"]

    SpecialDay.objects.filter(pk=extra.pk).update(is_withdrawn=True)
    assert spans(row, good_friday, 2) == ["03 06:00-03 10:00", "03 10:00-07 06:00"]
