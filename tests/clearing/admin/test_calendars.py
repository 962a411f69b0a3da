"""Calendars in the admin: chosen, previewed, compared with the library, outranked by special days."""

from datetime import date, time, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clearing import almanac, clockwork
from clearing.models import CalendarYear, ClearingWindow, RegionSchedule, SpecialDay
from clearing.states import Region
from tests.clearing.admin.conftest import client, staff
from tests.clearing.admin.test_set_up import SCHEDULE, errors, post

pytestmark = pytest.mark.django_db


def target(superuser: Client, **fields: str) -> Any:
    """Let Europe follow TARGET: one edit."""
    whole = {**SCHEDULE, "time_zone": "Europe/Brussels", "is_enabled": "on", "calendars": "ecb", **fields}
    return post(superuser, "clearing_regionschedule_change", "Europe", **whole)


def page(superuser: Client, name: str, *args: Any) -> str:
    return superuser.get(reverse(f"admin:{name}", args=args)).content.decode()


def test_one_edit_lets_europe_follow_target(superuser: Client) -> None:
    target(superuser)

    row = RegionSchedule.objects.get(region="Europe")
    assert (row.calendars, row.weekdays) == (["ECB"], [1, 2, 3, 4, 5])
    assert row.years.count() == 3
    assert "Christmas Day" in page(superuser, "clearing_calendaryear_change", row.years.all()[0].pk)


def test_a_calendar_that_there_is_not_is_refused(superuser: Client) -> None:
    answer = target(superuser, calendars="ECB,ATLANTIS")

    assert "There is no calendar ATLANTIS." in errors(answer)
    assert RegionSchedule.objects.get(region="Europe").calendars == []


def test_the_schedules_page_shows_its_next_windows_with_the_open_one_first(superuser: Client) -> None:
    target(superuser)
    clockwork.keep(Region.EUROPE, at=timezone.now())
    opened = ClearingWindow.objects.get()

    shown = page(superuser, "clearing_regionschedule_change", "Europe")

    assert "The next 30 windows, as saved" in shown
    assert shown.count("<tr><td>") == 30
    assert shown.index(f"{opened.opens_at:%d %b %H:%M}") < shown.index("open now")
    assert "09:00, 17:00" in shown


def test_a_disabled_schedule_says_that_its_windows_do_not_take_place(superuser: Client) -> None:
    assert "these windows do not take place" in page(superuser, "clearing_regionschedule_change", "Americas")


def test_differences_from_the_library_are_shown_and_accepted_by_those_who_may(superuser: Client) -> None:
    target(superuser)
    year = CalendarYear.objects.filter(schedule="Europe").order_by("-year")[0]
    year.days.filter(date=date(year.year, 12, 25)).delete()
    accept = {"action": "accept", "_selected_action": [year.pk]}
    name = "admin:clearing_calendaryear_changelist"

    shown = page(superuser, "clearing_calendaryear_changelist")
    client(staff("victor", "view_calendaryear")).post(reverse(name), accept)
    by_a_viewer = year.days.filter(date=date(year.year, 12, 25)).count()
    superuser.post(reverse(name), accept)

    assert f"{year.year}-12-25: ordinary → closed (Christmas Day)" in shown
    assert by_a_viewer == 0
    assert year.days.filter(date=date(year.year, 12, 25)).count() == 1
    assert "Christmas Day" in LogEntry.objects.order_by("-pk")[0].change_message
    assert almanac.differences(year, at=timezone.now()) == []


def test_an_operator_opens_a_day_and_withdraws_it(superuser: Client) -> None:
    ahead = timezone.now().date() + timedelta(days=40)
    whole = {
        "schedule": "Europe",
        "date": ahead,
        "kind": "open",
        "opening_times": "10:00",
        "note": "year end",
    }

    post(superuser, "clearing_specialday_add", **whole)
    day = SpecialDay.objects.get()
    entered = (day.opening_times, day.is_withdrawn)
    post(superuser, "clearing_specialday_change", day.pk, **{**whole, "is_withdrawn": "on"})

    day.refresh_from_db()
    assert entered == ([time(10)], False)
    assert day.is_withdrawn


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("note", {"note": ""}),
        ("kind", {"kind": "closed", "opening_times": "10:00"}),
        ("opening_times", {"opening_times": "10:00,10:00"}),
        ("closes_at", {"kind": "half", "closes_at": "07:00"}),
        ("closes_at", {"opening_times": "10:00,12:00", "closes_at": "11:00"}),
    ],
)
def test_a_special_day_that_no_window_can_follow_is_refused(
    superuser: Client, field: str, fields: dict[str, str]
) -> None:
    ahead = timezone.now().date() + timedelta(days=40)
    whole = {"schedule": "Europe", "date": ahead, "kind": "open", "note": "why", **fields}

    assert field in errors(post(superuser, "clearing_specialday_add", **whole))
    assert not SpecialDay.objects.exists()


def test_a_special_day_within_an_open_window_is_refused(superuser: Client) -> None:
    clockwork.keep(Region.EUROPE, at=timezone.now())
    row = RegionSchedule.objects.get(region="Europe")
    until = almanac.settled_until(row, at=timezone.now())
    whole = {"schedule": "Europe", "kind": "closed", "note": "too late"}

    late = post(superuser, "clearing_specialday_add", date=until - timedelta(days=1), **whole)
    post(superuser, "clearing_specialday_add", date=until, **whole)

    assert "are settled" in errors(late)
    assert [day.date for day in SpecialDay.objects.all()] == [until]
