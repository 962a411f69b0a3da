"""What a window takes in from an outside obligation engine."""

from django.db import models
from django.db.models import Q

from clearing.models.windows import ClearingWindow
from clearing.states import PullStatus
from clearing_project.constraints import choices_check


class ObligationPull(models.Model):
    """How far the obligations that belong in a window have come from the engine."""

    window = models.OneToOneField(
        ClearingWindow, on_delete=models.PROTECT, primary_key=True, related_name="pull"
    )
    status = models.CharField(max_length=16, choices=PullStatus.choices, default=PullStatus.PENDING)
    cursor = models.BigIntegerField(default=0, help_text="sequence of the last obligation that was taken")
    taken = models.BigIntegerField(default=0, help_text="obligations received, repetitions included")
    attempts = models.PositiveIntegerField(default=0, help_text="failed in a row")
    next_at = models.DateTimeField(help_text="end of the lease, or of the pause after a failure")
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    waived_reason = models.TextField(blank=True, default="", help_text="why the window went on without it")
    completed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-window_id"]
        verbose_name = "pull from the obligation engine"
        verbose_name_plural = "pulls from the obligation engine"
        constraints = [
            choices_check("status", PullStatus, name="pull_status"),
            models.CheckConstraint(
                name="pull_ends_once",
                condition=Q(status="Pending", completed_at=None)
                | (~Q(status="Pending") & Q(completed_at__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["next_at"], condition=Q(status="Pending"), name="pull_due")]

    def __str__(self) -> str:
        return f"pull for window {self.pk}"
