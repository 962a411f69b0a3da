"""The windows that a schedule plans: the next ones for a reader, a year of them for a checker."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from clearing import calendar, schedules
from clearing.calendar import Day, Hours, Schedule, Slot
from clearing.models import ClearingWindow, RegionSchedule
from clearing.states import WindowStatus

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Planned:
    """
    A window as planned, or the one that is open.

    Attributes:
        opens_at, cutoff_at: in the region's time zone.
        waited: how long intake has waited before it.
        clock_moved: what daylight saving adds (+) to or takes from the wall clock within it.
        days: the days within it that differ from the ordinary.
    """

    opens_at: datetime
    cutoff_at: datetime
    waited: timedelta
    clock_moved: timedelta
    days: tuple[tuple[date, Day], ...]
    is_open: bool = False

    @property
    def length(self) -> timedelta:
        """From opening to cutoff as time passes, whatever the wall clock says."""
        return self.cutoff_at.astimezone(UTC) - self.opens_at.astimezone(UTC)


@dataclass(slots=True)
class Year:
    """A year of a region's windows, checked: sound if there are no faults."""

    region: str
    year: int
    windows: int = 0
    closed_days: int = 0
    half_days: int = 0
    clock_changes: int = 0
    shortest: timedelta = timedelta.max
    longest: timedelta = timedelta()
    waits: timedelta = timedelta()
    faults: list[str] = field(default_factory=list)


def upcoming(row: RegionSchedule, *, at: datetime, count: int) -> list[Planned]:
    """
    List the region's next windows, the open one first, as its schedule plans them now.

    Raises:
        ScheduleNeverOpens
    """
    schedule = schedules.read(row)
    opened = ClearingWindow.objects.filter(region=row.region, status=WindowStatus.OPEN).first()
    if opened is None:
        ended_at, rows, planned = None, [], islice(_from(schedule, at), count)
    else:
        ended_at = opened.cutoff_at
        rows = [_planned(schedule, Slot(opened.opens_at, ended_at), after=None, is_open=True)]
        planned = islice(_from(schedule, ended_at), count - 1)
    for each in planned:
        slot = Slot(max(each.opens_at, ended_at or each.opens_at), each.cutoff_at)
        rows.append(_planned(schedule, slot, after=ended_at))
        ended_at = slot.cutoff_at
    return rows


def check_year(row: RegionSchedule, year: int) -> Year:
    """
    Generate the region's windows of a local year, and check them against the wall clock, not the arithmetic.

    Each opening time of each open day opens exactly one window, nothing else does, none overlap, and there is
    no gap unless intake waits.
    """
    schedule, found = schedules.read(row), Year(row.region, year)
    zone = ZoneInfo(schedule.time_zone)
    first, end = (datetime(each, 1, 1, tzinfo=zone) for each in (year, year + 1))
    windows = list(takewhile(lambda each: each.opens_at < end, _from(schedule, first)))
    windows = [each for each in windows if each.opens_at >= first]
    stored = set(row.years.filter(year=year).values_list("calendar", flat=True))
    found.faults += [f"{each} {year} is not stored" for each in row.calendars if each not in stored]
    found.faults += _faults_between(schedule, windows)
    found.faults += _faults_by_wall_clock(schedule, windows, year)
    _measure(found, schedule, windows)
    return found


def _from(schedule: Schedule, since: datetime) -> Iterator[Slot]:
    first = calendar.following(schedule, at=since)
    day = first.opens_at.astimezone(ZoneInfo(schedule.time_zone)).date()
    found = calendar.slots(schedule, since=day - DAY)
    return (each for each in found if each.cutoff_at > since)


def _planned(schedule: Schedule, each: Slot, *, after: datetime | None, is_open: bool = False) -> Planned:
    zone = ZoneInfo(schedule.time_zone)
    opens_at, cutoff_at = each.opens_at.astimezone(zone), each.cutoff_at.astimezone(zone)
    length = (cutoff_at.date() - opens_at.date()).days
    dates = [opens_at.date() + DAY * number for number in range(length + 1)]
    return Planned(
        opens_at,
        cutoff_at,
        waited=each.opens_at - (after or each.opens_at),
        clock_moved=_offset(cutoff_at) - _offset(opens_at),
        days=tuple((day, schedule.days[day]) for day in dates if day in schedule.days),
        is_open=is_open,
    )


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


def _faults_between(schedule: Schedule, windows: list[Slot]) -> list[str]:
    faults = [
        f"{each.opens_at}: it ends before it begins" for each in windows if each.cutoff_at <= each.opens_at
    ]
    for earlier, later in pairwise(windows):
        if later.opens_at < earlier.cutoff_at:
            faults.append(f"{later.opens_at}: it overlaps the one before")
        if later.opens_at > earlier.cutoff_at and not schedule.waits:
            faults.append(f"{earlier.cutoff_at}: a gap until {later.opens_at}")
    return faults


def _faults_by_wall_clock(schedule: Schedule, windows: list[Slot], year: int) -> list[str]:
    """Read each opening off the region's own clock and compare with the hours of that day."""
    zone = ZoneInfo(schedule.time_zone)
    readings = Counter(each.opens_at.astimezone(zone).replace(tzinfo=None) for each in windows)
    due: set[datetime] = set()
    day = date(year, 1, 1)
    while day.year == year:
        hours = schedule.hours(day) or Hours(())
        for local in hours.opening_times:
            if _is_before_the_last_cutoff(local, hours) and _is_shown(zone, day, local):
                due.add(datetime.combine(day, local))
        day += DAY
    faults = [f"{each}: no window opens" for each in sorted(due - readings.keys())]
    faults += [f"{each}: opens {count} times" for each, count in readings.items() if count > 1]
    for each in sorted(readings.keys() - due):
        if not _is_explained(schedule, zone, each):
            faults.append(f"{each}: a window opens that no day names")
    return faults


def _is_before_the_last_cutoff(local: time, hours: Hours) -> bool:
    if hours.closes_at is None or hours.closes_at <= min(hours.opening_times):
        return True
    return local < hours.closes_at


def _is_shown(zone: ZoneInfo, day: date, local: time) -> bool:
    """Tell whether the wall clock ever shows this time: false where it jumps over it."""
    naive = datetime.combine(day, local)
    return naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive


def _is_explained(schedule: Schedule, zone: ZoneInfo, naive: datetime) -> bool:
    """A window may also open at a last cutoff that one spans from, or at a jump of the clock."""
    moment = naive.replace(tzinfo=zone)
    a_second_before = (moment.astimezone(UTC) - timedelta(seconds=1)).astimezone(zone)
    if _offset(a_second_before) != _offset(moment):
        return True
    days = (naive.date(), naive.date() - DAY)
    closings = {hours.closes_at for day in days if (hours := schedule.hours(day)) is not None}
    return not schedule.waits and naive.time() in closings


def _measure(found: Year, schedule: Schedule, windows: list[Slot]) -> None:
    planned = [
        _planned(schedule, later, after=earlier.cutoff_at)
        for earlier, later in zip([windows[0], *windows], windows, strict=False)
    ]
    found.windows = len(planned)
    found.shortest = min(each.length for each in planned)
    found.longest = max(each.length for each in planned)
    found.waits = sum((max(each.waited, timedelta()) for each in planned), timedelta())
    found.clock_changes = sum(bool(each.clock_moved) for each in planned)
    days = [date(found.year, 1, 1) + DAY * number for number in range(366)]
    days = [day for day in days if day.year == found.year]
    found.closed_days = sum(schedule.hours(day) is None for day in days)
    found.half_days = sum(day in schedule.days and schedule.days[day].kind == "half" for day in days)


def remarks(each: Planned) -> list[str]:
    """Say what is out of the ordinary about a planned window."""
    said = ["open now"] if each.is_open else []
    if each.waited > timedelta():
        said.append(f"intake waits {hours_and_minutes(each.waited)} before it")
    if each.clock_moved:
        sign = "+" if each.clock_moved > timedelta() else "−"
        said.append(f"the clock moves {sign}{hours_and_minutes(abs(each.clock_moved))}")
    said += [f"{day:%d %b} {found.kind}: {found.name}" for day, found in each.days]
    return said


def hours_and_minutes(length: timedelta) -> str:
    """Show a length as `6:00`, hours and minutes."""
    minutes = round(length / timedelta(minutes=1))
    return f"{minutes // 60}:{minutes % 60:02d}"
