"""Schedules, and the windows they plan; they are changed in the admin."""

from datetime import UTC, time, timedelta
from typing import ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import queries, windows
from clearing.access import EVERYONE
from clearing.api import parameters, schedule_wire, wire
from clearing.api.pagination import page
from clearing.api.schema import described, query
from clearing.api.views.base import Door
from clearing.calendar import ScheduleNeverOpens
from clearing.models import RegionSchedule
from clearing.queries import Planned
from clearing.states import Region, WhenClosed

TAG = "schedules"
PREVIEWED, PREVIEWED_MAX = 30, 400


class Schedules(Door):
    """``schedules``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "schedules_list",
        "List the regions' schedules",
        wire.Page[schedule_wire.Schedule],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "cursor", "limit")
        return Response(page(request, RegionSchedule.objects.all(), _schedule, key=["region"]))


class OneSchedule(Door):
    """``schedules/{region}``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "schedules_show",
        "Show a region's schedule",
        schedule_wire.Schedule,
        errors=[windows.UnknownRegion],
        tag=TAG,
    )
    def get(self, request: Request, region: str) -> Response:
        parameters.only(request)
        return Response(_schedule(RegionSchedule.objects.get(pk=windows.region(region))))


class Timetable(Door):
    """``schedules/{region}/preview``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "schedules_preview",
        "Show a region's next windows, the open one first, as its schedule plans them now",
        schedule_wire.Timetable,
        parameters=[query("count", f"how many windows; {PREVIEWED} if left out", kind=OpenApiTypes.INT32)],
        errors=[windows.UnknownRegion, parameters.ParameterInvalid, ScheduleNeverOpens],
        tag=TAG,
    )
    def get(self, request: Request, region: str) -> Response:
        parameters.only(request, "count")
        count = parameters.number(request, "count", least=1, most=PREVIEWED_MAX) or PREVIEWED
        row = RegionSchedule.objects.get(pk=windows.region(region))
        planned = queries.upcoming(row, at=timezone.now(), count=count)
        shown = [_planned(each) for each in planned]
        return Response(schedule_wire.Timetable(Region(row.region), row.is_enabled, row.time_zone, shown))


def _schedule(row: RegionSchedule) -> schedule_wire.Schedule:
    return schedule_wire.Schedule(
        region=Region(row.region),
        is_enabled=row.is_enabled,
        time_zone=row.time_zone,
        opening_times=_times(row.opening_times),
        closes_at=_time(row.closes_at),
        when_closed=WhenClosed(row.when_closed),
        weekdays=row.weekdays,
        calendars=row.calendars,
        half_day_opening_times=_times(row.half_day_opening_times),
        half_day_closes_at=_time(row.half_day_closes_at),
        waits_until=row.waits_until,
    )


def _planned(each: Planned) -> schedule_wire.PlannedWindow:
    return schedule_wire.PlannedWindow(
        opens_at=each.opens_at.astimezone(UTC),
        cutoff_at=each.cutoff_at.astimezone(UTC),
        opens_local=each.opens_at.isoformat(),
        cutoff_local=each.cutoff_at.isoformat(),
        is_open=each.is_open,
        waited_minutes=_minutes(each.waited),
        clock_moved_minutes=_minutes(each.clock_moved),
        days=[schedule_wire.UnusualDay(day, found.kind, found.name) for day, found in each.days],
    )


def _time(local: time | None) -> str | None:
    return local.isoformat() if local else None


def _times(local: list[time]) -> list[str]:
    return [each.isoformat() for each in local]


def _minutes(length: timedelta) -> int:
    return round(length / timedelta(minutes=1))
