"""
Obligations: gross, append-only, and without a status that a window step would have to update.

The table is partitioned by window (created in SQL by the migration, see docs/adr/0002); what became
of an obligation follows from its window. Parties and currency are small integers without foreign
keys: checked in memory at the door, where a key's trigger would cost four times the insert.
"""

from django.db import models

from clearing.models.windows import ClearingWindow
from settlement.models import Currency, Participant


class Obligation(models.Model):
    """What a payer owes a payee. Unique by id over all partitions: ids come from one sequence."""

    id = models.BigIntegerField(primary_key=True)
    window = models.ForeignKey(
        ClearingWindow,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="obligations",
    )
    amount_minor = models.BigIntegerField()
    key = models.UUIDField(help_text="derived from submitter and reference: public id, idempotency key")
    submitted_at = models.DateTimeField()
    payer = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    payee = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    currency = models.ForeignKey(Currency, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    priority = models.SmallIntegerField(default=0)
    origin_window_id = models.BigIntegerField(null=True, help_text="first window, if it was rolled on")
    due_date = models.DateField(null=True)
    reference = models.CharField(max_length=64)
    submitter = models.CharField(max_length=32)
    link = models.CharField(max_length=140, null=True)  # noqa: DJ001 - NULL takes no room in the row

    class Meta:
        ordering = ["id"]


class ObligationKey(models.Model):
    """Where the obligation of a key is. Global over windows: a retry across the cutoff is still a retry."""

    key = models.UUIDField(primary_key=True)
    window_id = models.BigIntegerField()
    obligation_id = models.BigIntegerField()


class RollOn(models.Model):
    """Obligations moved on as a whole from a window that was given up."""

    source = models.OneToOneField(ClearingWindow, on_delete=models.PROTECT, related_name="rolled_on")
    target = models.ForeignKey(ClearingWindow, on_delete=models.PROTECT, related_name="rolled_in")
    reason = models.TextField()
    obligations_count = models.BigIntegerField()
    rolled_at = models.DateTimeField()

    class Meta:
        ordering = ["-rolled_at"]
