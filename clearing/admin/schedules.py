"""When windows open: schedules with what they plan, holiday calendars, special days."""

import re
from calendar import day_abbr
from typing import Any

from django.contrib import admin, messages
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db.models import Count, Model, QuerySet, TimeField
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.widgets import UnfoldAdminTextInputWidget

from clearing import almanac, queries
from clearing.calendar import ScheduleNeverOpens
from clearing.models import CalendarDay, CalendarYear, RegionSchedule, SpecialDay
from clearing.states import DayKind, Region
from clearing_project.errors import Invalid
from settlement.admin.base import Admin, ReadOnlyAdmin, ReadOnlyInline, RowForm, moment_column

PREVIEWED = 30
SECONDS = re.compile(r"\b(\d\d:\d\d):00\b")


class TimesInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """Values with commas between; times of day without seconds that say nothing."""

    def format_value(self, value: Any) -> str | None:
        """Show `08:00, 14:00`."""
        shown = super().format_value(value)
        return shown and SECONDS.sub(r"\1", shown).replace(",", ", ")


IN_TEXT: dict[Any, Any] = {ArrayField: {"widget": TimesInput}, TimeField: {"widget": TimesInput}}


class ScheduleForm(RowForm):
    """A schedule whose calendars the library knows."""

    def clean_calendars(self) -> list[str]:
        """Refuse a calendar that there is not."""
        calendars = [name.strip().upper() for name in self.cleaned_data["calendars"] or []]
        try:
            almanac.check(calendars)
        except Invalid as unknown:
            raise ValidationError(str(unknown)) from unknown
        return calendars


@admin.register(RegionSchedule)
class RegionScheduleAdmin(Admin):
    """Opening times of the regions; a change counts from the next window on."""

    form = ScheduleForm
    list_display = (
        "region",
        "time_zone",
        "times",
        "closes",
        "open_days",
        "named_calendars",
        "waits",
        "is_enabled",
    )
    fieldsets = (
        (
            None,
            {"fields": ("region", "is_enabled", "time_zone", "opening_times", "closes_at", "when_closed")},
        ),
        ("Days", {"fields": ("weekdays", "calendars", "half_day_opening_times", "half_day_closes_at")}),
        ("Clearing", {"fields": ("grace_seconds", "netting_mode", "weights", "transfers")}),
    )
    readonly_fields = ("region",)
    change_form_template = "clearing/schedule.html"
    formfield_overrides = IN_TEXT

    @admin.display(description="opening times")
    def times(self, schedule: RegionSchedule) -> str:
        """Local times of day."""
        return ", ".join(f"{opening:%H:%M}" for opening in schedule.opening_times)

    @admin.display(description="closes at", ordering="closes_at")
    def closes(self, schedule: RegionSchedule) -> str:
        """The day's last cutoff."""
        return f"{schedule.closes_at:%H:%M}" if schedule.closes_at else "–"

    @admin.display(description="weekdays")
    def open_days(self, schedule: RegionSchedule) -> str:
        """Short names of the days that have openings."""
        names = [day_abbr[day - 1] for day in schedule.weekdays]
        return "all" if len(names) == len(day_abbr) else ", ".join(names)

    @admin.display(description="calendars")
    def named_calendars(self, schedule: RegionSchedule) -> str:
        """Holiday calendars."""
        return ", ".join(schedule.calendars) or "–"

    @admin.display(description="when closed", ordering="when_closed")
    def waits(self, schedule: RegionSchedule) -> str:
        """What happens between the last cutoff and the next opening."""
        until = schedule.waits_until
        return f"waits until {until:%d %b %H:%M} UTC" if until else schedule.when_closed

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the next windows of the schedule as it is saved, below it."""
        schedule = RegionSchedule.objects.filter(pk=object_id).first()
        context = {**(extra_context or {}), **_preview(schedule)} if schedule else extra_context
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: RegionSchedule, form: Any, change: bool) -> None:
        """Write no more than was changed: the engine writes to the row, too. Store new calendars' days."""
        obj.save(update_fields=form.changed_data)
        almanac.extend(Region(obj.region), at=timezone.now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: every region has its schedule from the start."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: a schedule is disabled instead."""
        return False


def _preview(schedule: RegionSchedule) -> dict[str, Any]:
    try:
        planned = queries.upcoming(schedule, at=timezone.now(), count=PREVIEWED)
    except ScheduleNeverOpens as never:
        return {"schedule": schedule, "never": str(never)}
    rows = [
        {"window": each, "length": queries.hours_and_minutes(each.length), "remarks": queries.remarks(each)}
        for each in planned
    ]
    return {"schedule": schedule, "planned": rows}


class DayInline(ReadOnlyInline):
    """The stored days of a year."""

    model = CalendarDay
    hide_title = True
    fields = ("date", "weekday", "kind", "name")
    readonly_fields = ("weekday",)

    @admin.display
    def weekday(self, day: CalendarDay) -> str:
        """Short name."""
        return f"{day.date:%a}"


@admin.register(CalendarYear)
class CalendarYearAdmin(ReadOnlyAdmin):
    """Stored years of holiday calendars, and what the library now says of days to come."""

    list_display = ("calendar", "year", "schedule", "days_count", "drift", "library_version", "stored")
    sortable_by = ("calendar", "year", "schedule")
    list_filter = ("schedule", "calendar", "year")
    fields = ("calendar", "year", "schedule", "library_version", "stored", "accepted", "drift")
    inlines = (DayInline,)
    actions = ("accept",)
    stored, accepted = moment_column("stored_at"), moment_column("accepted_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CalendarYear]:
        """Count the days with them."""
        rows: QuerySet[CalendarYear] = super().get_queryset(request)
        return rows.select_related("schedule").annotate(Count("days"))

    @admin.display(description="days", ordering="days__count")
    def days_count(self, year: CalendarYear) -> int:
        """How many days differ from the ordinary."""
        return int(year.days__count)  # type: ignore[attr-defined]

    @admin.display(description="the library now says")
    def drift(self, year: CalendarYear) -> str:
        """Days to come of which the installed library says something else than is stored."""
        found = almanac.differences(year, at=timezone.now())
        if not found:
            return "–"
        return format_html_join("", "<div>{}</div>", ((each,) for each in found))

    def has_accept_permission(self, request: HttpRequest) -> bool:
        """Whoever may *change* schedules may accept their days."""
        return request.user.has_perm("clearing.change_regionschedule")

    @admin.action(description="Accept what the library says of days to come", permissions=["accept"])
    def accept(self, request: HttpRequest, queryset: QuerySet[CalendarYear]) -> None:
        """Replace the stored days that differ, from the first that no window has been opened for."""
        for year in queryset:
            replaced = almanac.accept(year, at=timezone.now())
            said = "; ".join(str(each) for each in replaced) or "nothing differed"
            self.log_change(request, year, f"Accepted {almanac.LIBRARY_VERSION}: {said}.")
            self.message_user(request, f"{year}: {said}.", messages.SUCCESS)


class SpecialDayForm(RowForm):
    """A day that no window has been opened beyond."""

    def clean(self) -> dict[str, Any]:
        """Refuse a day of the past, or within a window that is open."""
        cleaned = super().clean() or self.cleaned_data
        row, day = self.instance, cleaned.get("date")
        schedule = cleaned.get("schedule") or (row.schedule if row.pk else None)
        if schedule is None or (day := day or row.date) is None:
            return cleaned
        until = almanac.settled_until(schedule, at=timezone.now())
        if day < until:
            self.add_error(
                None, f"Days before {until} are settled: the region's last window lasts until then."
            )
        return cleaned


@admin.register(SpecialDay)
class SpecialDayAdmin(Admin):
    """Days that operators close, shorten or open; they outrank weekdays and holiday calendars."""

    form = SpecialDayForm
    list_display = ("date", "weekday", "schedule", "kind", "times", "closes_at", "note", "is_withdrawn")
    list_filter = ("schedule", "kind", "is_withdrawn")
    date_hierarchy = None
    formfield_overrides = IN_TEXT

    @admin.display
    def weekday(self, day: SpecialDay) -> str:
        """Short name."""
        return f"{day.date:%a}"

    @admin.display(description="opening times")
    def times(self, day: SpecialDay) -> str:
        """Its own, or whose it has."""
        if day.kind == DayKind.CLOSED:
            return "–"
        own = ", ".join(f"{opening:%H:%M}" for opening in day.opening_times)
        return own or format_html("<i>{}</i>", "the schedule's")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Only what was entered can be withdrawn."""
        entered = ("schedule", "date", "kind", "opening_times", "closes_at", "note")
        return (*entered, "is_withdrawn") if obj else entered

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Another region or date is another day."""
        return ("schedule", "date") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: a special day is withdrawn, and stays as a record."""
        return False


@admin.register(CalendarDay)
class CalendarDayAdmin(ReadOnlyAdmin):
    """Stored days of all calendars and regions."""

    list_display = ("date", "kind", "name", "calendar_year")
    list_filter = ("calendar_year__schedule", "calendar_year__calendar", "calendar_year__year", "kind")
    list_select_related = ("calendar_year",)
    fields = ("date", "kind", "name", "calendar_year")
