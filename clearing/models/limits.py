"""How much a participant may owe in a window, how that was changed, and what it owes as counted along."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from clearing.models.windows import ClearingWindow
from settlement.models import Currency, Participant


class Limit(models.Model):
    """
    The most that a participant may owe net in one window and currency.

    To one counterparty it is a bilateral limit, to all together (without one) a net debit cap. Intake holds
    it; an operator sets it, at any time.
    """

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="limits")
    counterparty = models.ForeignKey(
        Participant,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="empty: all together, a net debit cap",
    )
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    is_active = models.BooleanField(default=True, db_default=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "counterparty", "currency"],
                name="one_limit",
                nulls_distinct=False,
                violation_error_message="There is such a limit already; change that one.",
            ),
            models.CheckConstraint(name="limit_not_negative", condition=Q(amount_minor__gte=0)),
            models.CheckConstraint(
                name="limit_two_parties",
                condition=Q(counterparty=None) | ~Q(counterparty=F("participant")),
                violation_error_message="A participant has no limit towards itself.",
            ),
        ]

    def __str__(self) -> str:
        towards = f" to {self.counterparty}" if self.counterparty else ""
        return f"limit of {self.participant}{towards} in {self.currency}"


class LimitChange(models.Model):
    """What a limit was set to; written by PostgreSQL with every change, never changed."""

    limit = models.ForeignKey(Limit, on_delete=models.PROTECT, related_name="changes")
    amount_minor = models.BigIntegerField()
    is_active = models.BooleanField()
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.limit} set"


class LimitCounter(models.Model):
    """
    That what counts towards a limit is counted along in one window: it is the sum of the counter's counts.

    Forgotten with its counts when the window closes.
    """

    window = models.ForeignKey(
        ClearingWindow, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    limit = models.ForeignKey(
        Limit, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["window", "limit"], name="one_limit_counter")]

    def __str__(self) -> str:
        return f"counter of the {self.limit}"


class LimitCount(models.Model):
    """
    What one statement changed for a limit's counter, or many of them folded into one row.

    Written by PostgreSQL with the obligations themselves. No foreign keys: their locks would be in the way
    of whoever closes the window.
    """

    window = models.ForeignKey(
        ClearingWindow, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    limit = models.ForeignKey(
        Limit, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    amount_minor = models.DecimalField(
        max_digits=38, decimal_places=0, help_text="what it owes (+) or is owed (-); may exceed 64 bits"
    )

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["window", "limit"], name="limit_count_by_counter")]

    def __str__(self) -> str:
        return f"count towards the {self.limit}"
