"""What the REST door answers of schedules and of the windows they plan."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

from clearing.states import DayKind, Region, WhenClosed

LocalTime = Annotated[str, Meta(pattern="^[0-9]{2}:[0-9]{2}", description="in the region's time zone")]
Weekday = Annotated[int, Meta(ge=1, le=7, description="1 is Monday")]


class Schedule(Struct):
    """
    When a region's windows open and close.

    *closes_at*: the last cutoff of a day; null: the next opening. *waits_until*: the opening that intake
    waits for; null while a window accepts.
    """

    region: Region
    is_enabled: bool
    time_zone: str
    opening_times: list[LocalTime]
    closes_at: LocalTime | None
    when_closed: WhenClosed
    weekdays: list[Weekday]
    calendars: list[str]
    half_day_opening_times: list[LocalTime]
    half_day_closes_at: LocalTime | None
    waits_until: datetime | None


class UnusualDay(Struct):
    """A day of a planned window that differs from the ordinary."""

    date: date
    kind: DayKind
    name: str


class PlannedWindow(Struct):
    """
    A window as the schedule plans it now, or the open one.

    *waited_minutes*: how long intake waits before it. *clock_moved_minutes*: by how much the region's clock
    is moved within it.
    """

    opens_at: datetime
    cutoff_at: datetime
    opens_local: str
    cutoff_local: str
    is_open: bool
    waited_minutes: int
    clock_moved_minutes: int
    days: list[UnusualDay]


class Timetable(Struct):
    """The windows of a region to come; of a disabled schedule they do not take place."""

    region: Region
    is_enabled: bool
    time_zone: str
    windows: list[PlannedWindow]
