"""Where obligations go as they come in: into the accepting window, or aside until theirs opens."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from clearing import calendar, schedules, windows
from clearing.calendar import Schedule, Slot
from clearing.models import ClearingWindow, RegionSchedule
from clearing.obligations.items import Item
from clearing.states import Region, WindowStatus
from clearing.windows import NoAcceptingWindow

DAY = timedelta(days=1)
LOOK_BACK_DAYS = (3, 30, 400)  # how far before a due date its last window is looked for


class Wait(NamedTuple):
    """Why an obligation waits, and until when; *due_by* is the end of its due date."""

    reason: str
    due_by: datetime | None
    expected_at: datetime | None


@dataclass(slots=True)
class Place:
    """
    Where the items of one call go.

    Attributes:
        window: the accepting one, its gate passed; None: intake waits for the next, by the region's calendar.
        missed: the window the call came too late for, if it did.
        is_given: it is known what belongs in the window, so nothing waits for another.
    """

    region: Region
    window: ClearingWindow | None
    missed: ClearingWindow | None
    at: datetime
    is_given: bool = False
    _schedule: Schedule | None = None
    _next_cutoff_at: datetime | None = None
    _zone: ZoneInfo | None = None
    _waits: dict[tuple[datetime | None, date | None], Wait | None] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        """The region's time zone, in which its days begin and end."""
        if self._zone is None:
            row = RegionSchedule.objects.get(pk=self.region)
            self._zone = ZoneInfo(row.time_zone)
            self._schedule = schedules.read(row) if row.is_enabled else None
            if self.window is not None and self._schedule is not None:
                self._next_cutoff_at = windows.span(self.window).next_cutoff_at
        return self._zone

    def wait(self, item: Item) -> Wait | None:
        """Say what the item waits for, None if it goes into the window."""
        if self.is_given or (self.window is not None and item.not_before is None and item.due_date is None):
            return None
        dates = item.not_before, item.due_date
        if dates not in self._waits:
            self._waits[dates] = self._find(*dates)
        return self._waits[dates]

    def _find(self, not_before: datetime | None, due_date: date | None) -> Wait | None:
        due_by = None
        if due_date is not None:
            due_by = datetime.combine(due_date + DAY, time(), self.zone).astimezone(UTC)
        if self.window is None:
            return Wait("no_window", due_by, self._opening(not_before, due_by))
        if not_before is not None and not_before >= self.window.cutoff_at:
            return Wait("not_before", due_by, self._opening(not_before, due_by))
        if due_by is not None and self.zone and self._next_cutoff_at and self._next_cutoff_at < due_by:
            return Wait("due_date", due_by, self._opening(not_before, due_by))
        return None

    def _opening(self, not_before: datetime | None, due_by: datetime | None) -> datetime | None:
        """Return when its window should open, by the schedule as it is today."""
        if not self.zone or self._schedule is None:
            return None
        since = self.window.cutoff_at if self.window else self.at
        found = calendar.following(self._schedule, at=max(since, not_before or since))
        last = _last_slot(self._schedule, due_by) if due_by is not None else None
        return max(found.opens_at, last.opens_at) if last is not None else found.opens_at


def place(region: Region, *, named: ClearingWindow | None, at: datetime) -> Place:
    """
    Find where a call's items go; a call that names a window that accepts no more has missed it.

    Raises:
        NoAcceptingWindow: the region opens by hand, and none is open.
    """
    try:
        window = windows.enter(region, at=at)
    except NoAcceptingWindow:
        if schedules.of(region) is None:
            raise
        return Place(region, None, named, at)
    if named is not None:
        return Place(region, window, None if named.pk == window.pk else named, at)
    return Place(region, window, _in_grace(window, at=at), at)


def inside(window: ClearingWindow, *, at: datetime) -> Place:
    """Return the window as the place of what is known to belong in it."""
    return Place(Region(window.region), window, None, at, is_given=True)


def _in_grace(window: ClearingWindow, *, at: datetime) -> ClearingWindow | None:
    """Return the window before this one while its grace lasts: what comes now has just missed it."""
    if not window.opens_at <= at < window.opens_at + timedelta(seconds=window.grace_seconds):
        return None
    closing = ClearingWindow.objects.filter(
        region=window.region, status=WindowStatus.CLOSING, closing_at__lte=at
    )
    return closing.order_by("-id").first()


def _last_slot(schedule: Schedule, due_by: datetime) -> Slot | None:
    """Return the last scheduled window whose cutoff is before the end of the due date."""
    for days in LOOK_BACK_DAYS:
        found = calendar.slots(schedule, since=(due_by - days * DAY).date())
        slots = list(takewhile(lambda slot: slot.cutoff_at < due_by, found))
        if slots:
            return slots[-1]
    return None
