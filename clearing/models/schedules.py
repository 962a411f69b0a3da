"""When a region's windows open and close, as an operator sets it."""

from typing import Any
from zoneinfo import available_timezones

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from clearing.states import DayKind, NettingMode, Region, Transfers, Weights, WhenClosed
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
    calendars = ArrayField(
        models.CharField(max_length=16),
        default=list,
        blank=True,
        help_text="holiday calendars, comma separated: ECB (TARGET), XFED, XNYS, XLON, a country such as DE,"
        " a part of one such as DE-BY. A day closed in any of them is closed",
    )
    half_day_opening_times = ArrayField(
        models.TimeField(),
        default=list,
        blank=True,
        help_text="of a half-day; empty: the ordinary ones before its last cutoff",
    )
    half_day_closes_at = models.TimeField(
        null=True, blank=True, help_text="last cutoff of a half-day; empty: as on any other day"
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
        for name in ("opening_times", "half_day_opening_times", "weekdays", "calendars"):
            found = getattr(self, name) or []
            setattr(self, name, sorted(found))
            if len(set(found)) < len(found):
                wrong[name] = "One is named twice."
        if (
            self.closes_at
            and self.opening_times
            and min(self.opening_times) < self.closes_at <= max(self.opening_times)
        ):
            wrong["closes_at"] = "The last cutoff is not after the last opening."
        half_day = self.half_day_opening_times or self.opening_times
        if self.half_day_closes_at and half_day and self.half_day_closes_at <= min(half_day):
            wrong["half_day_closes_at"] = "The last cutoff is not after the first opening."
        if self.when_closed == WhenClosed.WAIT and self.closes_at is None:
            wrong["closes_at"] = "Intake that waits needs a last cutoff to wait from."
        if wrong:
            raise ValidationError(wrong)


class CalendarYear(models.Model):
    """One year of a holiday calendar as it was computed for a region, and by which version of the library."""

    schedule = models.ForeignKey(RegionSchedule, on_delete=models.PROTECT, related_name="years")
    calendar = models.CharField(max_length=16)
    year = models.PositiveSmallIntegerField()
    library_version = models.CharField(max_length=32)
    stored_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, help_text="when its days were last replaced")

    class Meta:
        verbose_name = "year of a holiday calendar"
        verbose_name_plural = "years of holiday calendars"
        ordering = ["schedule", "calendar", "year"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "calendar", "year"], name="one_calendar_year"),
        ]

    def __str__(self) -> str:
        return f"{self.calendar} {self.year} for {self.schedule_id}"


class CalendarDay(models.Model):
    """A day of a holiday calendar. An update of the library changes none."""

    calendar_year = models.ForeignKey(CalendarYear, on_delete=models.PROTECT, related_name="days")
    date = models.DateField()
    kind = models.CharField(max_length=8, choices=DayKind.choices)
    name = models.CharField(max_length=200)

    class Meta:
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(fields=["calendar_year", "date"], name="one_calendar_day"),
            models.CheckConstraint(
                name="calendar_day_kind", condition=Q(kind__in=[DayKind.CLOSED, DayKind.HALF])
            ),
            models.CheckConstraint(name="calendar_day_named", condition=~Q(name="")),
        ]

    def __str__(self) -> str:
        return f"{self.date:%d %b %Y}"


class SpecialDay(models.Model):
    """A day that an operator closed, shortened or opened; it outranks weekdays and holiday calendars."""

    schedule = models.ForeignKey(RegionSchedule, on_delete=models.PROTECT, related_name="special_days")
    date = models.DateField()
    kind = models.CharField(max_length=8, choices=DayKind.choices)
    opening_times = ArrayField(
        models.TimeField(), default=list, blank=True, help_text="empty: the schedule's"
    )
    closes_at = models.TimeField(null=True, blank=True, help_text="last cutoff; empty: the schedule's")
    note = models.CharField(max_length=200, help_text="why")
    is_withdrawn = models.BooleanField(
        default=False, verbose_name="withdrawn", help_text="as if it had never been entered"
    )

    class Meta:
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "date"], name="one_special_day"),
            choices_check("kind", DayKind, name="special_day_kind"),
            models.CheckConstraint(name="special_day_has_note", condition=~Q(note="")),
            models.CheckConstraint(
                name="closed_day_has_no_times",
                condition=~Q(kind=DayKind.CLOSED) | Q(opening_times__len=0, closes_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.date}"

    def clean(self) -> None:
        """Put the times in order; refuse those that no day can follow."""
        self.opening_times = sorted(self.opening_times or [])
        wrong: dict[str, Any] = {}
        if len(set(self.opening_times)) < len(self.opening_times):
            wrong["opening_times"] = "One is named twice."
        if self.kind == DayKind.CLOSED and (self.opening_times or self.closes_at):
            wrong["kind"] = "A closed day has no times."
        if self.closes_at and self.schedule_id and self.kind != DayKind.CLOSED:
            usual = self.schedule.half_day_opening_times if self.kind == DayKind.HALF else []
            openings = self.opening_times or usual or self.schedule.opening_times
            is_early = self.kind == DayKind.HALF and self.closes_at <= min(openings)
            if is_early or min(openings) < self.closes_at <= max(self.opening_times or openings[:1]):
                wrong["closes_at"] = "The last cutoff is not after the openings."
        if wrong:
            raise ValidationError(wrong)
