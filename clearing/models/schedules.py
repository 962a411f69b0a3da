"""When a region's windows open and close, as an operator sets it."""

from typing import Any
from zoneinfo import available_timezones

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from clearing.states import NettingMode, Region, Transfers, Weights, WhenClosed
from clearing_project.constraints import choices_check


def every_weekday() -> list[int]:
    """Monday to Sunday."""
    return list(range(1, 8))


class RegionSchedule(models.Model):
    """When a region's windows open, in its own time zone; each closes where the next one opens."""

    region = models.CharField(max_length=16, choices=Region.choices, primary_key=True)
    time_zone = models.CharField(max_length=64, help_text="IANA name, such as Asia/Dubai")
    opening_times = ArrayField(models.TimeField(), help_text="local times of day, comma separated")
    closes_at = models.TimeField(
        null=True,
        blank=True,
        help_text="last cutoff of a day, after midnight if not later than the first opening;"
        " empty: the last window lasts until the next opening",
    )
    weekdays = ArrayField(
        models.SmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(7)]),
        default=every_weekday,
        help_text="days with openings, comma separated: 1 is Monday, 7 is Sunday",
    )
    when_closed = models.CharField(
        max_length=8,
        choices=[
            (WhenClosed.SPAN, "a window lasts until the next opening: there is always one that accepts"),
            (WhenClosed.WAIT, "intake waits for the next opening"),
        ],
        default=WhenClosed.SPAN,
        db_default="span",
        help_text="after the last cutoff of a day",
    )
    waits_until = models.DateTimeField(
        null=True, editable=False, help_text="intake waits for this opening; empty: a window accepts"
    )
    grace_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="between cutoff and close; empty: the general setting"
    )
    netting_mode = models.CharField(
        max_length=16,
        choices=NettingMode.choices,
        blank=True,
        default="",
        help_text="empty: the general setting",
    )
    transfers = models.CharField(
        max_length=8, choices=Transfers.choices, default=Transfers.AGENT, db_default="agent"
    )
    weights = models.CharField(
        max_length=8,
        choices=Weights.choices,
        blank=True,
        default=Weights.NONE,
        db_default="none",
        help_text="what to set off first; for a region that nets in conservative mode",
    )
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["region"]
        constraints = [
            choices_check("region", Region),
            choices_check("transfers", Transfers, name="schedule_transfers"),
            choices_check("when_closed", WhenClosed, name="schedule_when_closed"),
            models.CheckConstraint(
                name="schedule_netting_mode", condition=Q(netting_mode__in=["", *NettingMode.values])
            ),
            choices_check("weights", Weights, name="schedule_weights"),
            models.CheckConstraint(
                name="schedule_weights_conservative",
                condition=Q(weights="none") | Q(netting_mode="conservative"),
            ),
            models.CheckConstraint(name="schedule_has_openings", condition=Q(opening_times__len__gt=0)),
            models.CheckConstraint(
                name="schedule_weekdays",
                condition=Q(weekdays__len__gt=0, weekdays__contained_by=every_weekday()),
            ),
            models.CheckConstraint(
                name="schedule_waits_from_a_cutoff",
                condition=Q(when_closed=WhenClosed.SPAN) | Q(closes_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.region

    def clean(self) -> None:
        """Put times and weekdays in order; refuse what no day can follow, and weights that weigh nothing."""
        wrong: dict[str, Any] = {}
        if self.time_zone not in available_timezones():
            wrong["time_zone"] = "Not an IANA time zone."
        self.weights = self.weights or Weights.NONE
        if self.weights != Weights.NONE and self.netting_mode != NettingMode.CONSERVATIVE:
            wrong["weights"] = "Weights need the netting mode conservative."
        for name in ("opening_times", "weekdays"):
            found = getattr(self, name) or []
            setattr(self, name, sorted(found))
            if len(set(found)) < len(found):
                wrong[name] = "One is named twice."
        if self.closes_at and min(self.opening_times) < self.closes_at <= max(self.opening_times):
            wrong["closes_at"] = "The last cutoff is not after the last opening."
        if self.when_closed == WhenClosed.WAIT and self.closes_at is None:
            wrong["closes_at"] = "Intake that waits needs a last cutoff to wait from."
        if wrong:
            raise ValidationError(wrong)
