"""Clearing windows, and what was measured of each."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from clearing.states import NettingMode, Region, Transfers, Weights, WindowStatus
from clearing_project.constraints import choices_check


class ClearingWindow(models.Model):
    """A span of time whose obligations clear together. Moved by the engine alone."""

    region = models.CharField(max_length=16, choices=Region.choices)
    status = models.CharField(max_length=16, choices=WindowStatus.choices, default=WindowStatus.SCHEDULED)
    opens_at = models.DateTimeField()
    cutoff_at = models.DateTimeField(help_text="its last moment for obligations")
    grace_seconds = models.PositiveIntegerField()
    netting_mode = models.CharField(max_length=16, choices=NettingMode.choices)
    transfers = models.CharField(max_length=8, choices=Transfers.choices)
    weights = models.CharField(max_length=8, choices=Weights.choices, default=Weights.NONE, db_default="none")
    max_obligations = models.PositiveIntegerField()
    min_netting_efficiency_bps = models.PositiveIntegerField()
    auto_settle = models.BooleanField()
    emergency_mode = models.BooleanField(default=False)
    event_count = models.PositiveIntegerField(default=0, db_default=0, help_text="sequence of its events")
    created_at = models.DateTimeField(db_default=Now())
    closing_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    processing_at = models.DateTimeField(null=True)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            choices_check("region", Region, name="window_region"),
            choices_check("status", WindowStatus, name="window_status"),
            choices_check("netting_mode", NettingMode, name="window_netting_mode"),
            choices_check("transfers", Transfers, name="window_transfers"),
            choices_check("weights", Weights, name="window_weights"),
            models.CheckConstraint(
                name="window_weights_conservative",
                condition=Q(weights="none") | Q(netting_mode="conservative"),
            ),
            models.UniqueConstraint(
                fields=["region"], condition=Q(status="Open"), name="one_accepting_window"
            ),
            models.UniqueConstraint(fields=["region", "opens_at"], name="one_window_per_opening"),
            models.CheckConstraint(
                name="window_opens_before_cutoff", condition=Q(cutoff_at__gt=F("opens_at"))
            ),
            models.CheckConstraint(
                name="efficiency_floor_range", condition=Q(min_netting_efficiency_bps__lte=10_000)
            ),
            models.CheckConstraint(
                name="sealed_has_moment",
                condition=Q(closed_at__isnull=False) | Q(status__in=["Scheduled", "Open", "Closing"]),
            ),
        ]
        indexes = [models.Index(fields=["region", "status"], name="window_by_region_status")]

    def __str__(self) -> str:
        return f"{self.region} window {self.pk}"


class WindowMetrics(models.Model):
    """What clearing the window took and gave; written with its completion."""

    window = models.OneToOneField(
        ClearingWindow, on_delete=models.PROTECT, primary_key=True, related_name="metrics"
    )
    obligations_count = models.BigIntegerField()
    currencies_count = models.IntegerField()
    positions_count = models.IntegerField()
    instructions_count = models.IntegerField()
    efficiency_bps = models.IntegerField(
        help_text="1 - moved/gross; of several currencies the mean, weighted by obligations"
    )
    close_ms = models.BigIntegerField(help_text="from the cutoff knocking to the seal")
    processing_ms = models.BigIntegerField(help_text="from the first checkpoint to the money moved")

    class Meta:
        verbose_name_plural = "window metrics"
        constraints = [
            models.CheckConstraint(
                name="metrics_efficiency_range",
                condition=Q(efficiency_bps__gte=0, efficiency_bps__lte=10_000),
            ),
        ]
