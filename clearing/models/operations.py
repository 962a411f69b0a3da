"""Atomic operations and their checkpoints."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from clearing.models.windows import ClearingWindow
from clearing.states import CheckpointStatus, OperationStatus, OperationType
from clearing_project.constraints import choices_check


class AtomicOperation(models.Model):
    """One attempt at something that happens wholly or not at all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    window = models.ForeignKey(ClearingWindow, on_delete=models.PROTECT, related_name="operations")
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="children", db_index=True
    )
    operation_type = models.CharField(max_length=24, choices=OperationType.choices)
    status = models.CharField(max_length=16, choices=OperationStatus.choices, default=OperationStatus.PENDING)
    reason = models.TextField(blank=True, default="", db_default="", help_text="why it was asked for")
    requested_by = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="who asked for it, if it is known"
    )
    error_code = models.CharField(max_length=64, blank=True, default="", db_default="")
    error_message = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    rolling_back_at = models.DateTimeField(null=True, help_text="from here on no step may write")
    is_released = models.BooleanField(
        default=False, db_default=False, help_text="its settlement was released beforehand: it is not held"
    )
    held_at = models.DateTimeField(null=True, help_text="committed, and settled only when released")
    hold_reason = models.CharField(max_length=140, blank=True, default="", db_default="")
    final_at = models.DateTimeField(null=True, help_text="the point of no return")
    completed_at = models.DateTimeField(null=True)
    digest_before = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="of the state before the first checkpoint",
    )
    digest_after = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="of the state after the last undo: must equal",
    )

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            choices_check("status", OperationStatus, name="operation_status"),
            choices_check("operation_type", OperationType, name="operation_type"),
            models.UniqueConstraint(
                fields=["window"],
                condition=Q(
                    operation_type="WindowClearing",
                    status__in=["Pending", "InProgress", "Committed", "RollbackFailed"],
                ),
                name="one_live_clearing",
            ),
            models.UniqueConstraint(fields=["parent", "operation_type"], name="one_child_per_type"),
            models.CheckConstraint(name="final_is_final", condition=Q(final_at=None) | Q(status="Committed")),
            models.CheckConstraint(
                name="committed_is_not_rolling_back",
                condition=Q(rolling_back_at=None) | Q(final_at=None),
            ),
        ]
        indexes = [
            models.Index(fields=["status", "operation_type"], name="operation_by_status"),
            models.Index(fields=["completed_at"], name="operation_by_completion"),
        ]

    def __str__(self) -> str:
        return f"{self.operation_type} {self.pk}"


class Checkpoint(models.Model):
    """One undoable step of an operation; Started is committed before its work, Applied with it."""

    operation = models.ForeignKey(AtomicOperation, on_delete=models.CASCADE, related_name="checkpoints")
    position = models.SmallIntegerField()
    name = models.CharField(max_length=40)
    status = models.CharField(
        max_length=16, choices=CheckpointStatus.choices, default=CheckpointStatus.PLANNED
    )
    started_at = models.DateTimeField(null=True)
    applied_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True)
    digest_before = models.CharField(
        max_length=64, blank=True, default="", help_text="of the state this step is about to touch"
    )

    class Meta:
        ordering = ["operation_id", "position"]
        constraints = [
            choices_check("status", CheckpointStatus, name="checkpoint_status"),
            models.UniqueConstraint(fields=["operation", "name"], name="one_checkpoint_per_name"),
            models.UniqueConstraint(fields=["operation", "position"], name="one_checkpoint_per_position"),
        ]

    def __str__(self) -> str:
        return self.name


class Dispatch(models.Model):
    """
    Who may work on an operation, and until when; a row of its own, so that it never waits for a step.

    Each dispatch of the canvas counts up; the count is the fencing token that its tasks carry.
    """

    operation = models.OneToOneField(
        AtomicOperation, on_delete=models.CASCADE, primary_key=True, related_name="dispatch"
    )
    count = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(
        default=1, db_default=1, help_text="dispatches since the run last got further"
    )
    standing = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="how far it was at the last one"
    )
    next_at = models.DateTimeField(help_text="end of the lease: dispatched again from here on, if still live")

    class Meta:
        verbose_name_plural = "dispatches"
        indexes = [models.Index(fields=["next_at"], name="dispatch_by_next")]
