"""Pulls from the obligation engine."""

from django.contrib import admin

from clearing.models import ObligationPull
from settlement.admin.base import ReadOnlyAdmin, link_column, moment_column, status_column


@admin.register(ObligationPull)
class ObligationPullAdmin(ReadOnlyAdmin):
    """How far each window's obligations have come."""

    list_display = (
        "window_id",
        "window_link",
        "state",
        "taken",
        "attempts",
        "error_code",
        "next",
        "completed",
    )
    list_filter = ("status",)
    list_select_related = ("window",)
    fields = (
        "window_link",
        "state",
        ("taken", "cursor"),
        ("attempts", "next"),
        "error_code",
        "error_message",
        "waived_reason",
        "completed",
    )
    window_link, state = link_column("window"), status_column()
    next, completed = moment_column("next_at"), moment_column("completed_at")
