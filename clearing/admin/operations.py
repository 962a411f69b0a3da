"""Operations, their checkpoints and dispatches: read-only."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from clearing.models import AtomicOperation, Checkpoint, Dispatch
from settlement.admin.base import (
    LargeAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    link_column,
    moment_column,
    status_column,
)


class CheckpointInline(ReadOnlyInline):
    """The checkpoints of an operation, in their order."""

    model = Checkpoint
    fields = readonly_fields = ("name", "state", "started", "applied", "undone")
    state, started = status_column(), moment_column("started_at")
    applied, undone = moment_column("applied_at"), moment_column("undone_at")


class ChildInline(ReadOnlyInline):
    """The operations that a clearing run groups."""

    model = AtomicOperation
    fk_name = "parent"
    verbose_name_plural = "grouped operations"
    fields = readonly_fields = ("child_link", "state", "started", "completed")
    state, started, completed = status_column(), moment_column("started_at"), moment_column("completed_at")
    child_link = link_column("", "operation")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AtomicOperation]:
        """In the order in which they began."""
        return super().get_queryset(request).order_by("started_at")


@admin.register(AtomicOperation)
class AtomicOperationAdmin(ReadOnlyAdmin):
    """Atomic operations, the latest first."""

    list_display = ("operation_type", "state", "window_link", "started", "completed", "error_code", "id")
    list_filter = ("status", "operation_type")
    list_select_related = ("window",)
    search_fields = ("=id", "=window__id", "=error_code")
    fields = (
        "id",
        "operation_type",
        "state",
        "window_link",
        "parent_link",
        "reason",
        "requested_by",
        "error_code",
        "error_message",
        "created",
        "started",
        "held",
        "hold_reason",
        "rolling_back",
        "final",
        "completed",
        "digest_before",
        "digest_after",
    )
    inlines = (CheckpointInline, ChildInline)
    state, window_link = status_column(), link_column("window")
    parent_link = link_column("parent")
    created, started = moment_column("created_at"), moment_column("started_at")
    rolling_back, final = moment_column("rolling_back_at"), moment_column("final_at")
    completed, held = moment_column("completed_at"), moment_column("held_at")


@admin.register(Checkpoint)
class CheckpointAdmin(LargeAdmin):
    """Checkpoints, the latest first."""

    list_display = ("id", "name", "state", "operation_link", "window_link", "started", "applied", "undone")
    list_filter = ("status", "name")
    list_select_related = ("operation__window",)
    fields = ("operation_link", "position", "name", "state", "started", "applied", "undone", "digest_before")
    ordering = ("-id",)
    state, operation_link = status_column(), link_column("operation")
    window_link, started = link_column("operation.window", "window"), moment_column("started_at")
    applied, undone = moment_column("applied_at"), moment_column("undone_at")


@admin.register(Dispatch)
class DispatchAdmin(LargeAdmin):
    """When each run's canvas was last sent."""

    list_display = ("operation_id", "operation_link", "state", "count", "next_send")
    list_select_related = ("operation__window",)
    fields = ("operation_link", "state", "count", "next_send")
    ordering = ("-next_at",)
    operation_link, state = link_column("operation"), status_column("operation.status")
    next_send = moment_column("next_at")
