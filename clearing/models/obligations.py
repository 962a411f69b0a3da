"""
Obligations: gross, append-only, and without a status that a window step would have to update.

The table is partitioned by window (created in SQL by the migration, see docs/adr/0002); what became
of an obligation follows from its window. One that is in no window is set aside in a table of its own.
Parties and currency are small integers without foreign keys: checked in memory at the door, where a
key's trigger would cost four times the insert.
"""

from django.db import models
from django.db.models import Q

from clearing.models.windows import ClearingWindow
from clearing.states import Act, Arrival, AsideStatus, Region
from clearing_project.constraints import choices_check
from settlement.models import Currency, Participant


class Owed(models.Model):
    """What a payer owes a payee, wherever it is. Unique by id: ids come from one sequence."""

    id = models.BigIntegerField(primary_key=True)
    amount_minor = models.BigIntegerField()
    key = models.UUIDField(help_text="derived from submitter and reference: public id, idempotency key")
    submitted_at = models.DateTimeField()
    payer = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    payee = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    currency = models.ForeignKey(
        Currency, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    priority = models.SmallIntegerField(default=0)
    origin_window_id = models.BigIntegerField(
        null=True, help_text="first window it was sent to, if it is there no more"
    )
    due_date = models.DateField(null=True)
    not_before = models.DateTimeField(null=True, help_text="it enters a window whose cutoff is later")
    reference = models.CharField(max_length=64)
    submitter = models.CharField(max_length=32)
    link = models.CharField(max_length=140, null=True)  # noqa: DJ001 - NULL takes no room in the row
    arrival = models.CharField(  # noqa: DJ001 - NULL takes no room in the row
        max_length=16, choices=Arrival.choices, null=True, help_text="how it came here, if not by intake"
    )

    class Meta:
        abstract = True
        ordering = ["id"]


class Obligation(Owed):
    """An obligation in a window. Windows are the partitions of its table."""

    window = models.ForeignKey(
        ClearingWindow,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="obligations",
    )

    class Meta(Owed.Meta):
        pass


class SetAside(Owed):
    """An obligation in no window: parked for a later one, held in dispute, or cancelled for good."""

    region = models.CharField(max_length=16, choices=Region.choices)
    status = models.CharField(max_length=16, choices=AsideStatus.choices)
    reason = models.TextField()
    by = models.CharField(max_length=150, help_text="who set it aside; empty: the engine, by rule")
    party = models.ForeignKey(
        Participant,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="whose act it was, if one's",
    )
    aside_at = models.DateTimeField()
    expected_at = models.DateTimeField(null=True, help_text="when its window should open, if that is known")
    due_by = models.DateTimeField(null=True, help_text="end of its due date in the region's time zone")

    class Meta(Owed.Meta):
        verbose_name = "obligation set aside"
        verbose_name_plural = "obligations set aside"
        constraints = [
            choices_check("region", Region, name="aside_region"),
            choices_check("status", AsideStatus, name="aside_status"),
            models.CheckConstraint(name="aside_amount_positive", condition=Q(amount_minor__gt=0)),
            models.UniqueConstraint(fields=["key"], name="one_aside_per_key"),
        ]
        indexes = [
            models.Index(fields=["region", "id"], condition=Q(status="Parked"), name="aside_parked"),
            models.Index(fields=["region", "id"], condition=Q(status="Held"), name="aside_held"),
            models.Index(fields=["origin_window_id", "id"], name="aside_by_window"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.reference}"


class ObligationAct(models.Model):
    """Who cancelled, held or released an obligation, when and why; written with the act, never changed."""

    obligation_id = models.BigIntegerField()
    key = models.UUIDField(db_index=True)
    act = models.CharField(max_length=16, choices=Act.choices)
    reason = models.TextField()
    by = models.CharField(max_length=150)
    party = models.ForeignKey(Participant, on_delete=models.PROTECT, null=True, related_name="+")
    window_id = models.BigIntegerField(null=True, help_text="which it left or entered; empty: none")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        verbose_name = "act on an obligation"
        verbose_name_plural = "acts on obligations"
        constraints = [choices_check("act", Act, name="obligation_act")]

    def __str__(self) -> str:
        return f"{self.act} by {self.by}"


class HeldTotal(models.Model):
    """What was held back in a window's region when the window closed, by currency: no part of its netting."""

    window = models.ForeignKey(ClearingWindow, on_delete=models.PROTECT, related_name="held_totals")
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, related_name="+")
    obligations_count = models.BigIntegerField()
    gross_minor = models.DecimalField(max_digits=38, decimal_places=0, help_text="may exceed 64 bits")

    class Meta:
        ordering = ["currency"]
        constraints = [
            models.UniqueConstraint(fields=["window", "currency"], name="one_held_total_per_currency"),
            models.CheckConstraint(name="held_total_not_empty", condition=Q(obligations_count__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.obligations_count} held at the close of {self.window}"


class ObligationKey(models.Model):
    """Where the obligation of a key is. Global over windows: a retry across the cutoff is still a retry."""

    key = models.UUIDField(primary_key=True)
    window_id = models.BigIntegerField(null=True, help_text="empty: it is set aside")
    obligation_id = models.BigIntegerField()


class RollOn(models.Model):
    """Obligations that moved on from a window: all of one that was given up, or what it could not hold."""

    source = models.ForeignKey(ClearingWindow, on_delete=models.PROTECT, related_name="rolled_on")
    target = models.ForeignKey(
        ClearingWindow,
        on_delete=models.PROTECT,
        null=True,
        related_name="rolled_in",
        help_text="empty: none was open; they wait for the next",
    )
    kind = models.CharField(max_length=16, choices=Arrival.choices, default=Arrival.GIVEN_UP)
    reason = models.TextField()
    obligations_count = models.BigIntegerField()
    rolled_at = models.DateTimeField()

    class Meta:
        ordering = ["-rolled_at"]
        constraints = [
            models.UniqueConstraint(fields=["source", "kind"], name="rolled_on_once"),
            models.CheckConstraint(name="roll_on_kind", condition=Q(kind__in=["overflow", "given_up"])),
        ]
