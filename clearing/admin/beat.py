"""When Beat knocks: what an operator may set."""

from typing import Any

from django.contrib import admin
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

from settlement.admin.base import Admin

admin.site.unregister([ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])


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
