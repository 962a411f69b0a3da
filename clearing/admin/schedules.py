"""When windows open and when Beat knocks: what an operator may set."""

from calendar import day_abbr
from typing import Any

from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.db.models import Model
from django.http import HttpRequest
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from clearing.models import RegionSchedule
from settlement.admin.base import Admin

admin.site.unregister([ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])


@admin.register(RegionSchedule)
class RegionScheduleAdmin(Admin):
    """Opening times of the regions; a change counts from the next window on."""

    list_display = (
        "region",
        "time_zone",
        "times",
        "closes_at",
        "days",
        "when_closed",
        "netting_mode",
        "weights",
        "is_enabled",
    )
    fields = (
        "region",
        "time_zone",
        "opening_times",
        "closes_at",
        "when_closed",
        "weekdays",
        "grace_seconds",
        "netting_mode",
        "weights",
        "transfers",
        "is_enabled",
    )
    readonly_fields = ("region",)
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}

    @admin.display(description="opening times")
    def times(self, schedule: RegionSchedule) -> str:
        """Local times of day."""
        return ", ".join(f"{opening:%H:%M}" for opening in schedule.opening_times)

    @admin.display(description="weekdays")
    def days(self, schedule: RegionSchedule) -> str:
        """Short names of the days that have openings."""
        return (
            ", ".join(day_abbr[day - 1] for day in schedule.weekdays) if len(schedule.weekdays) < 7 else "all"
        )

    def save_model(self, request: HttpRequest, obj: RegionSchedule, form: Any, change: bool) -> None:
        """Write what was changed and no more: the engine writes to the row, too."""
        obj.save(update_fields=form.changed_data)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: every region has its schedule from the start."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: a schedule is disabled instead."""
        return False


class TaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):  # type: ignore[misc]
    """The registered tasks, in Unfold's dress."""


class TaskForm(beat.PeriodicTaskForm):  # type: ignore[misc]
    """Beat's form, in Unfold's dress."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            self.fields["task"].widget = UnfoldAdminTextInputWidget()
            self.fields["regtask"].widget = TaskSelect()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, Admin):  # type: ignore[misc]
    """Beat's entries. Its actions need the permission to change them, which Beat itself does not ask for."""

    form = TaskForm
    date_hierarchy = None

    def get_actions(self, request: HttpRequest) -> Any:
        """Offer Beat's actions to those who may change its entries."""
        actions = super().get_actions(request)
        if self.has_change_permission(request):
            return actions
        return {
            name: action for name, action in actions.items() if name not in beat.PeriodicTaskAdmin.actions
        }


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(beat.IntervalScheduleAdmin, Admin):  # type: ignore[misc]
    """Every so often."""


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(beat.CrontabScheduleAdmin, Admin):  # type: ignore[misc]
    """By the clock."""


@admin.register(SolarSchedule)
class SolarScheduleAdmin(Admin):
    """By the sun."""


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(beat.ClockedScheduleAdmin, Admin):  # type: ignore[misc]
    """Once, at a moment."""
