"""
When windows open and close, computed from a region's schedule. Pure: the schedule comes in, moments come out.

A day is a list of local times. They become moments in UTC by two rules, which keep their order: a time that
the clock jumps over is the moment of the jump; a time that comes twice is its first occurrence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from clearing.states import DayKind
from clearing_project.errors import Conflict

EVERY_DAY = frozenset(range(1, 8))  # ISO: Monday is 1
CLOSED_DAYS_MAX = 400
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


class ScheduleNeverOpens(Conflict):
    """The schedule has no opening for longer than anyone closes."""

    code = "schedule_never_opens"
    fields = ("since", "days_max")
    message = "The schedule has no opening within {days_max} days from {since}."


@dataclass(frozen=True, slots=True)
class Hours:
    """
    Opening times of one day; each closes the window before it.

    ``closes_at`` is the day's last cutoff: after midnight, if it is not later than the first opening. None:
    the last window lasts until the next opening, on whatever day that is.
    """

    opening_times: tuple[time, ...]
    closes_at: time | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """A day that differs from the ordinary: closed, shorter, or open although its weekday is not."""

    kind: DayKind
    name: str
    hours: Hours | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    A region's opening times, the weekdays they hold for, and the days that differ.

    ``waits``: after a day's last cutoff intake waits for the next opening. Otherwise one more window follows
    and lasts until then, so that there is always one that accepts.
    """

    time_zone: str
    opening_times: tuple[time, ...]
    closes_at: time | None = None
    weekdays: frozenset[int] = EVERY_DAY
    waits: bool = False
    days: Mapping[date, Day] = field(default_factory=dict)

    def hours(self, day: date) -> Hours | None:
        """Return the day's opening times, or None if it is closed."""
        special = self.days.get(day)
        if special is not None:
            return special.hours
        return Hours(self.opening_times, self.closes_at) if day.isoweekday() in self.weekdays else None


@dataclass(frozen=True, slots=True)
class Slot:
    """A scheduled window. Its cutoff is where the next begins, unless intake waits then."""

    opens_at: datetime
    cutoff_at: datetime


def slots(schedule: Schedule, *, since: date) -> Iterator[Slot]:
    """
    Yield the scheduled windows from the local day *since* on, ascending, none overlapping.

    Raises:
        ScheduleNeverOpens
    """
    for (moment, opens), (following, _) in pairwise(_boundaries(schedule, since=since)):
        if opens or not schedule.waits:
            yield Slot(moment, following)


def slot(schedule: Schedule, *, at: datetime) -> Slot | None:
    """
    Return the scheduled window around a moment, opening at or before it, cutoff after it; None: intake waits.

    Raises:
        ScheduleNeverOpens
    """
    found = following(schedule, at=at)
    return found if found.opens_at <= at else None


def following(schedule: Schedule, *, at: datetime) -> Slot:
    """
    Return the scheduled window around a moment, or while intake waits the one it waits for.

    Raises:
        ScheduleNeverOpens
    """
    return next(each for each in slots(schedule, since=_anchor(schedule, at)) if each.cutoff_at > at)


def next_opening(schedule: Schedule, *, after: datetime) -> datetime:
    """
    Return when the first scheduled window opens strictly after a moment.

    Raises:
        ScheduleNeverOpens
    """
    found = slots(schedule, since=_anchor(schedule, after))
    return next(each.opens_at for each in found if each.opens_at > after)


def moment(zone: ZoneInfo, day: date, local: time) -> datetime:
    """Return a local time in UTC: at the jump if the clock jumps over it, at its first if it comes twice."""
    first = datetime.combine(day, local, zone)
    at = first.astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == first.replace(tzinfo=None):
        return at
    return _jump(zone, before=first.replace(fold=1).astimezone(UTC), after=at)


def _boundaries(schedule: Schedule, *, since: date) -> Iterator[tuple[datetime, bool]]:
    """Yield each opening (true) and each last cutoff of a day (false) that comes before the next opening."""
    zone, day, last_open = ZoneInfo(schedule.time_zone), since, since
    closing, last = None, datetime.min.replace(tzinfo=UTC)
    while (day - last_open).days <= CLOSED_DAYS_MAX:
        openings, shuts_at = _day(schedule, zone, day)
        if closing is not None and (not openings or closing < openings[0]):
            yield closing, False
        closing = shuts_at
        for opening in openings:
            if opening > last:
                yield opening, True
                last = opening
        last_open = day if openings else last_open
        day += DAY
    raise ScheduleNeverOpens(last_open.isoformat(), CLOSED_DAYS_MAX)


def _day(schedule: Schedule, zone: ZoneInfo, day: date) -> tuple[list[datetime], datetime | None]:
    """Return the day's openings, ascending, each once, and its last cutoff."""
    hours = schedule.hours(day)
    if hours is None or not hours.opening_times or _is_skipped(zone, day):
        return [], None
    openings = sorted({moment(zone, day, local) for local in hours.opening_times})
    if hours.closes_at is None:
        return openings, None
    overnight = hours.closes_at <= min(hours.opening_times)
    closes_at = moment(zone, day + DAY if overnight else day, hours.closes_at)
    openings = [opening for opening in openings if opening < closes_at]
    return openings, closes_at if openings else None


def _anchor(schedule: Schedule, at: datetime) -> date:
    """Return the last local day that had opened by then: all that matters at *at* begins there."""
    zone = ZoneInfo(schedule.time_zone)
    day = at.astimezone(zone).date() + DAY  # a clock set back over midnight has been in the day after
    for back in range(CLOSED_DAYS_MAX):
        openings, _ = _day(schedule, zone, day - back * DAY)
        if openings and openings[0] <= at:
            return day - back * DAY
    return day - 2 * DAY  # never open yet


def _is_skipped(zone: ZoneInfo, day: date) -> bool:
    """Tell whether the region never saw this day: its clock jumped over the date line."""
    return moment(zone, day, time()) == moment(zone, day + DAY, time())


def _jump(zone: ZoneInfo, *, before: datetime, after: datetime) -> datetime:
    """Find the moment between two, a whole second, from which on the clock has the offset of *after*."""
    offset = after.astimezone(zone).utcoffset()
    before = before.replace(microsecond=0)
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * SECOND).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return before + high * SECOND
