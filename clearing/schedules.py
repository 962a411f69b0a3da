"""Region schedules as the calendar reads them."""

from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.conf import settings
from django.db import transaction

from clearing import calendar
from clearing.calendar import Day, Hours, Schedule
from clearing.models import CalendarDay, RegionSchedule, SpecialDay
from clearing.states import DayKind, Region, WhenClosed


def of(region: Region) -> Schedule | None:
    """Return the region's schedule, or None if it opens by hand only."""
    row = RegionSchedule.objects.filter(region=region, is_enabled=True).first()
    return read(row) if row else None


def next_opening(region: Region, *, after: datetime) -> datetime | None:
    """Return when the region's first scheduled window opens strictly after a moment; None: by hand only."""
    schedule = of(region)
    return calendar.next_opening(schedule, after=after) if schedule else None


def awaited_opening(region: Region, *, at: datetime) -> datetime | None:
    """
    Return when a region without an open window should get one; None: nobody knows, it opens by hand only.

    It is never before *at*: what is due already opens with the next tick.
    """
    row = RegionSchedule.objects.get(pk=region)
    if not row.is_enabled:
        return None
    return max(at, row.waits_until or calendar.following(read(row), at=at).opens_at)


def wait_until(row: RegionSchedule, opening: datetime | None) -> None:
    """Note the opening that intake waits for; None: it waits for none."""
    if row.waits_until != opening:
        RegionSchedule.objects.filter(pk=row.pk).update(waits_until=opening)


def cutoff(row: RegionSchedule, *, opens_at: datetime) -> datetime:
    """Return the cutoff of a window by its opening: the schedule's, else after the general duration."""
    if not row.is_enabled:
        return opens_at + timedelta(hours=settings.CLEARING["WINDOW_DURATION_HOURS"])
    slot = calendar.following(read(row), at=opens_at)
    return slot.cutoff_at if slot.opens_at <= opens_at else slot.opens_at


def lock(region: Region) -> RegionSchedule:
    """Hold the region's row until this transaction ends: one at a time decides which window opens next."""
    assert transaction.get_connection().in_atomic_block, "a lock outside a transaction holds nothing"
    return RegionSchedule.objects.select_for_update(no_key=True).get(pk=region)


def read(row: RegionSchedule) -> Schedule:
    """Make the calendar's schedule of a row, enabled or not, with all days that are stored for it."""
    return Schedule(
        row.time_zone,
        tuple(row.opening_times),
        closes_at=row.closes_at,
        weekdays=frozenset(row.weekdays),
        waits=row.when_closed == WhenClosed.WAIT,
        days=_days(row),
    )


def _days(row: RegionSchedule) -> dict[date, Day]:
    """Read the days that differ: what an operator entered outranks the calendars, closed outranks half."""
    ordinary = Hours(tuple(row.opening_times), row.closes_at)
    half = Hours(
        tuple(row.half_day_opening_times or row.opening_times), row.half_day_closes_at or row.closes_at
    )
    days = _calendar_days(row, half)
    for special in SpecialDay.objects.filter(schedule=row, is_withdrawn=False):
        kind = DayKind(special.kind)
        usual = half if kind == DayKind.HALF else ordinary
        hours = Hours(
            tuple(special.opening_times) or usual.opening_times, special.closes_at or usual.closes_at
        )
        days[special.date] = Day(kind, special.note, None if kind == DayKind.CLOSED else hours)
    return days


def _calendar_days(row: RegionSchedule, half: Hours) -> dict[date, Day]:
    stored = CalendarDay.objects.filter(
        calendar_year__schedule=row, calendar_year__calendar__in=row.calendars
    ).order_by("date", "kind", "calendar_year__calendar")
    days: dict[date, Day] = {}
    for day, found in groupby(stored, key=attrgetter("date")):
        each = list(found)
        kind = DayKind.CLOSED if any(one.kind == DayKind.CLOSED for one in each) else DayKind.HALF
        if kind == DayKind.HALF and day.isoweekday() not in row.weekdays:
            continue
        names = dict.fromkeys(one.name for one in each if one.kind == kind)
        days[day] = Day(kind, "; ".join(names), half if kind == DayKind.HALF else None)
    return days
