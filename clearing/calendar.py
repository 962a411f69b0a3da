"""When windows open, computed from a region's schedule. Pure: the schedule comes in, moments come out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Schedule:
    """Local opening times of a region, each closing the window before it."""

    time_zone: str
    opening_times: tuple[time, ...]


def openings(schedule: Schedule, *, since: date) -> Iterator[datetime]:
    """
    Yield opening moments in UTC from the local day *since* on, ascending, each once.

    A local time that daylight saving skips opens at the moment the clock jumps over it; one that
    occurs twice opens at its first occurrence (PEP 495, fold 0).
    """
    zone, day, last = ZoneInfo(schedule.time_zone), since, None
    while True:
        moments = {datetime.combine(day, local, zone).astimezone(UTC) for local in schedule.opening_times}
        for moment in sorted(moments):
            if last is None or moment > last:
                yield moment
                last = moment
        day += timedelta(days=1)


def next_opening(schedule: Schedule, *, after: datetime) -> datetime:
    """Return the first opening strictly after a moment: the cutoff of a window that opens then."""
    day = after.astimezone(ZoneInfo(schedule.time_zone)).date()
    return next(moment for moment in openings(schedule, since=day) if moment > after)


def slot(schedule: Schedule, *, at: datetime) -> tuple[datetime, datetime]:
    """Return the scheduled window around a moment: opening at or before it, cutoff after it."""
    day = at.astimezone(ZoneInfo(schedule.time_zone)).date() - timedelta(days=2)
    opened = None
    for moment in openings(schedule, since=day):
        if moment > at:
            assert opened is not None, "two days always hold an opening"
            return opened, moment
        opened = moment
    raise AssertionError("openings never end")
