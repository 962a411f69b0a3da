"""What a clearing run computes of a window; every row belongs to one operation and goes when it is undone."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from clearing.models.operations import AtomicOperation
from clearing.states import Direction, NettingMode
from clearing_project.constraints import choices_check
from settlement.models import Currency, Participant


class OfCurrency(models.Model):
    """A row of one operation in one currency."""

    operation = models.ForeignKey(
        AtomicOperation, on_delete=models.PROTECT, related_name="%(class)ss", db_index=False
    )
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, db_index=False)

    class Meta:
        abstract = True


class OfPair(OfCurrency):
    """
    A row of a pair of participants in one currency: many, and written in one go.

    Without foreign keys, whose triggers take a third of a run. In their place a trigger sees once a statement
    that the rows belong to a frozen set, which has its keys, and that their parties are participants.
    """

    operation = models.ForeignKey(
        AtomicOperation,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="%(class)ss",
    )
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, db_constraint=False, db_index=False)

    class Meta:
        abstract = True


class FrozenSet(OfCurrency):
    """Count, sum and order-free hash of the obligations frozen in one currency."""

    obligations_count = models.BigIntegerField()
    gross_minor = models.BigIntegerField()
    content_hash = models.BigIntegerField(help_text="xor over obligations of a hash of key, amount, parties")

    class Meta:
        ordering = ["operation_id", "currency"]
        constraints = [models.UniqueConstraint(fields=["operation", "currency"], name="one_frozen_set")]


class GrossPair(OfPair):
    """The frozen obligations of one payer to one payee, added up; where they are weighed, by weight."""

    payer = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    payee = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    obligations_count = models.BigIntegerField()
    gross_minor = models.BigIntegerField()
    weight = models.IntegerField(default=1, db_default=1, help_text="what a unit set off is worth")

    class Meta:
        ordering = ["operation_id", "currency_id", "payer_id", "payee_id", "-weight"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "currency", "payer", "payee", "weight"], name="one_gross_pair"
            ),
            models.CheckConstraint(
                name="gross_pair_weight", condition=Q(weight__gte=1, weight__lte=1_000_000)
            ),
            models.CheckConstraint(name="gross_pair_positive", condition=Q(gross_minor__gt=0)),
        ]


class NettingResult(OfCurrency):
    """
    One currency netted, with the certificate that proves it. The row's existence says that it is done.

    Participants are numbered in order of their codes, in the digests and in the potentials.
    """

    netting_mode = models.CharField(max_length=16, choices=NettingMode.choices)
    obligations_count = models.BigIntegerField()
    participants_count = models.IntegerField()
    gross_minor = models.BigIntegerField()
    net_minor = models.BigIntegerField(help_text="what still moves")
    bound_minor = models.BigIntegerField(help_text="no settlement of these positions moves less")
    efficiency_bps = models.IntegerField(help_text="1 - net/gross, rounded down")
    solver = models.CharField(max_length=64)
    solver_version = models.CharField(max_length=32)
    input_digest = models.CharField(max_length=64, help_text="SHA-256 of participants and pairs")
    result_digest = models.CharField(max_length=64, help_text="SHA-256 of positions and residual")
    primal_minor = models.BigIntegerField(help_text="what moves, in the units the mode minimises")
    dual_minor = models.BigIntegerField(help_text="the bound the potentials prove; equal to primal: optimal")
    potentials = ArrayField(models.BigIntegerField(), help_text="dual prices of the participants")
    computed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["operation_id", "currency__code"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "currency"], name="one_netting_result"),
            models.CheckConstraint(name="netting_is_optimal", condition=Q(primal_minor=F("dual_minor"))),
            models.CheckConstraint(
                name="netting_shrinks",
                condition=Q(
                    bound_minor__gte=0, net_minor__gte=F("bound_minor"), gross_minor__gte=F("net_minor")
                ),
            ),
        ]

    @property
    def saved_minor(self) -> int:
        """What need not move thanks to netting."""
        return self.gross_minor - self.net_minor


class ResidualPair(OfPair):
    """What is left of a pair's obligations and moves from payer to payee; none in multilateral mode."""

    payer = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    payee = models.ForeignKey(
        Participant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    left_minor = models.BigIntegerField()

    class Meta:
        ordering = ["operation_id", "currency_id", "payer_id", "payee_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "currency", "payer", "payee"], name="one_residual_pair"
            ),
            models.CheckConstraint(name="residual_positive", condition=Q(left_minor__gt=0)),
        ]


class MultilateralPosition(OfCurrency):
    """What a participant receives (+) or pays (-) in one currency; per currency they sum to zero."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    debit_minor = models.BigIntegerField(help_text="owed to others")
    credit_minor = models.BigIntegerField(help_text="owed by others")
    net_minor = models.BigIntegerField(help_text="credit - debit")
    obligations_count = models.BigIntegerField()

    class Meta:
        ordering = ["operation_id", "currency__code", "participant__code"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "currency", "participant"], name="one_net_position"),
            models.CheckConstraint(
                name="net_is_credit_less_debit",
                condition=Q(
                    net_minor=F("credit_minor") - F("debit_minor"), credit_minor__gte=0, debit_minor__gte=0
                ),
            ),
        ]


class BilateralPosition(OfPair):
    """What a pair of participants owes each other, gross both ways and net."""

    participant_a = models.ForeignKey(
        Participant, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    participant_b = models.ForeignKey(
        Participant, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    gross_debit_minor = models.BigIntegerField(help_text="a owes b")
    gross_credit_minor = models.BigIntegerField(help_text="b owes a")
    net_minor = models.BigIntegerField(help_text="the difference, without sign")
    direction = models.CharField(max_length=8, choices=Direction.choices)
    obligations_count = models.BigIntegerField()
    netting_ratio_bps = models.IntegerField(help_text="1 - net/gross, rounded down")

    class Meta:
        ordering = ["operation_id", "currency__code", "participant_a__code", "participant_b__code"]
        constraints = [
            choices_check("direction", Direction, name="position_direction"),
            models.UniqueConstraint(
                fields=["operation", "currency", "participant_a", "participant_b"],
                name="one_bilateral_position",
            ),
            models.CheckConstraint(
                name="bilateral_net_and_direction",
                condition=Q(
                    direction="Debit",
                    gross_debit_minor__gt=F("gross_credit_minor"),
                    net_minor=F("gross_debit_minor") - F("gross_credit_minor"),
                )
                | Q(
                    direction="Credit",
                    gross_credit_minor__gt=F("gross_debit_minor"),
                    net_minor=F("gross_credit_minor") - F("gross_debit_minor"),
                )
                | Q(direction="Neutral", gross_credit_minor=F("gross_debit_minor"), net_minor=0),
            ),
        ]
