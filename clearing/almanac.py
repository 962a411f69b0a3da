"""
The stored days of the holiday calendars.

The library ``holidays`` computes a calendar's year once for a region; from then on the stored days count.
What another version of the library computes differently is shown, and replaces them only when an operator
accepts it, and only on days that no window has been opened for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

import holidays
from django.db import transaction
from holidays import HALF_DAY, PUBLIC

from clearing import schedules
from clearing.models import CalendarDay, CalendarYear, ClearingWindow, RegionSchedule
from clearing.states import DayKind, Region
from clearing_project.errors import Invalid

LIBRARY_VERSION = f"holidays {version('holidays')}"
YEARS_AHEAD = 2
NAME_MAX = 200
LANGUAGE = "en_US"


class UnknownCalendar(Invalid):
    """The library has no such calendar."""

    code = "unknown_calendar"
    fields = ("calendar",)
    message = "There is no calendar {calendar}."


@dataclass(frozen=True, slots=True)
class Computed:
    """A day as the library computes it now."""

    kind: DayKind
    name: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which stored and computed differ; None: there it is an ordinary day."""

    date: date
    stored: Computed | None
    computed: Computed | None

    def __str__(self) -> str:
        return f"{self.date}: {_named(self.stored)} → {_named(self.computed)}"


def compute(calendar: str, year: int) -> dict[date, Computed]:
    """
    Compute a calendar's closed days and half-days.

    Args:
        calendar: a financial market of the library (ECB, XNYS), a country (DE) or a part of one (DE-BY).

    Raises:
        UnknownCalendar
    """
    half = _of(calendar, year, HALF_DAY)
    closed = _of(calendar, year, PUBLIC)
    days = {day: Computed(DayKind.HALF, name[:NAME_MAX]) for day, name in half.items()}
    days |= {day: Computed(DayKind.CLOSED, name[:NAME_MAX]) for day, name in closed.items()}
    return {day: days[day] for day in sorted(days) if day.year == year}


def check(calendars: Iterable[str]) -> None:
    """
    Refuse a calendar that the library has not.

    Raises:
        UnknownCalendar
    """
    for calendar in calendars:
        _of(calendar, 2026, PUBLIC)


@transaction.atomic
def extend(region: Region, *, at: datetime) -> list[CalendarYear]:
    """
    Store the days of the region's calendars from this year on, two years ahead. Repeated, it stores nothing.

    Returns:
        What was stored now.

    Raises:
        UnknownCalendar
    """
    row = schedules.lock(region)
    this_year = at.astimezone(ZoneInfo(row.time_zone)).year
    stored = []
    for calendar in row.calendars:
        for year in range(this_year, this_year + YEARS_AHEAD + 1):
            made, is_new = CalendarYear.objects.get_or_create(
                schedule=row,
                calendar=calendar,
                year=year,
                defaults={"library_version": LIBRARY_VERSION, "stored_at": at},
            )
            if is_new:
                CalendarDay.objects.bulk_create(
                    CalendarDay(calendar_year=made, date=day, kind=found.kind, name=found.name)
                    for day, found in compute(calendar, year).items()
                )
                stored.append(made)
    return stored


def settled_until(row: RegionSchedule, *, at: datetime) -> date:
    """Return the local day up to which nothing changes any more: today, or the last window's cutoff."""
    last = ClearingWindow.objects.filter(region=row.region).order_by("-opens_at").first()
    latest = max(at, last.cutoff_at) if last else at
    return latest.astimezone(ZoneInfo(row.time_zone)).date()


def differences(year: CalendarYear, *, at: datetime) -> list[Difference]:
    """List the days, from the first that may still change, on which the library now says something else."""
    until = settled_until(year.schedule, at=at)
    stored = {day.date: Computed(DayKind(day.kind), day.name) for day in year.days.all()}
    computed = compute(year.calendar, year.year)
    return [
        Difference(day, stored.get(day), computed.get(day))
        for day in sorted(stored.keys() | computed.keys())
        if day > until and stored.get(day) != computed.get(day)
    ]


@transaction.atomic
def accept(year: CalendarYear, *, at: datetime) -> list[Difference]:
    """
    Replace the stored days that differ and may still change by what the library computes now.

    Returns:
        What was replaced.
    """
    schedules.lock(Region(year.schedule_id))
    found = differences(year, at=at)
    for difference in found:
        year.days.filter(date=difference.date).delete()
        if difference.computed is not None:
            kind, name = difference.computed.kind, difference.computed.name
            CalendarDay.objects.create(calendar_year=year, date=difference.date, kind=kind, name=name)
    CalendarYear.objects.filter(pk=year.pk).update(library_version=LIBRARY_VERSION, accepted_at=at)
    return found


def _of(calendar: str, year: int, category: str) -> Mapping[date, str]:
    """Build the library's calendar of one category; empty where it has none of the category."""
    place, _, part = calendar.partition("-")
    is_market = place in holidays.list_supported_financial(include_aliases=True) and not part
    if not is_market and len(place) != len("DE"):
        raise UnknownCalendar(calendar)
    build = holidays.financial_holidays if is_market else holidays.country_holidays
    try:
        empty = build(place, subdiv=part or None)
        if category not in empty.supported_categories:
            return {}
        language = LANGUAGE if LANGUAGE in empty.supported_languages else None
        return dict(build(place, subdiv=part or None, years=year, categories=(category,), language=language))
    except NotImplementedError as unknown:
        raise UnknownCalendar(calendar) from unknown


def _named(day: Computed | None) -> str:
    return f"{day.kind} ({day.name})" if day else "ordinary"
