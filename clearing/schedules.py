"""Region schedules as the calendar reads them."""

from datetime import datetime

from django.db import transaction

from clearing import calendar
from clearing.calendar import Schedule
from clearing.models import RegionSchedule
from clearing.states import Region, WhenClosed


def of(region: Region) -> Schedule | None:
    """Return the region's schedule, or None if it opens by hand only."""
    row = RegionSchedule.objects.filter(region=region, is_enabled=True).first()
    return read(row) if row else None


def next_opening(region: Region, *, after: datetime) -> datetime | None:
    """Return when the region's first scheduled window opens strictly after a moment; None: by hand only."""
    schedule = of(region)
    return calendar.next_opening(schedule, after=after) if schedule else None


def lock(region: Region) -> RegionSchedule:
    """Hold the region's row until this transaction ends: one at a time decides which window opens next."""
    assert transaction.get_connection().in_atomic_block, "a lock outside a transaction holds nothing"
    return RegionSchedule.objects.select_for_update(no_key=True).get(pk=region)


def read(row: RegionSchedule) -> Schedule:
    """Make the calendar's schedule of a row, enabled or not."""
    return Schedule(
        row.time_zone,
        tuple(row.opening_times),
        closes_at=row.closes_at,
        weekdays=frozenset(row.weekdays),
        waits=row.when_closed == WhenClosed.WAIT,
    )
