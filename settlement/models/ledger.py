"""
The double-entry ledger: entries are the truth, an account's balance is kept by PostgreSQL from them.

No row here is ever changed or deleted but an account's floor; a mistake is corrected by an opposite
posting. The database refuses: an unbalanced posting, a second posting of the same instruction, a
balance below the floor, any UPDATE of a balance that does not come from an entry.
"""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from settlement.models.participants import Currency, Participant
from settlement.states import PostingKind


class SettlementAccount(models.Model):
    """A participant's money in one currency; all amounts in minor units."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="accounts")
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT)
    balance_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    reserved_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    floor_minor = models.BigIntegerField(
        null=True, blank=True, default=0, db_default=0, help_text="lowest balance allowed; empty: none"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["participant__code", "currency__code"]
        constraints = [
            models.UniqueConstraint(fields=["participant", "currency"], name="one_account_per_currency"),
            models.CheckConstraint(
                name="funds_cover_reservations",
                condition=Q(floor_minor=None) | Q(balance_minor__gte=F("floor_minor") + F("reserved_minor")),
            ),
            models.CheckConstraint(name="reserved_not_negative", condition=Q(reserved_minor__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.participant} {self.currency}"


class Posting(models.Model):
    """One balanced move of money. A settlement posting bears its instruction's id: posted once at most."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=PostingKind.choices)
    reference = models.CharField(max_length=140)
    posted_at = models.DateTimeField()

    class Meta:
        ordering = ["-posted_at", "id"]
        indexes = [
            models.Index(
                fields=["reference"], condition=Q(kind="Settlement"), name="settlement_posting_by_batch"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class LedgerEntry(models.Model):
    """One side of a posting: positive credits the account, negative debits it."""

    posting = models.ForeignKey(Posting, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(SettlementAccount, on_delete=models.PROTECT, related_name="entries")
    amount_minor = models.BigIntegerField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["posting", "account"], name="one_entry_per_account"),
            models.CheckConstraint(name="entry_not_zero", condition=~Q(amount_minor=0)),
        ]
