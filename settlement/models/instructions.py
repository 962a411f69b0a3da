"""Orders to move money, and the funds set aside for them."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from clearing_project.constraints import choices_check
from settlement.models.ledger import SettlementAccount
from settlement.models.participants import Currency, Participant
from settlement.states import InstructionStatus, InstructionType


class SettlementInstruction(models.Model):
    """An order to move money. A batch is one operation's set and is issued or withdrawn as one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch_id = models.UUIDField()
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, db_index=False)
    payer = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    payee = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    instruction_type = models.CharField(max_length=24, choices=InstructionType.choices)
    priority = models.SmallIntegerField(default=0, db_default=0)
    deadline_at = models.DateTimeField(null=True)
    status = models.CharField(
        max_length=16, choices=InstructionStatus.choices, default=InstructionStatus.PENDING
    )
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)
    # A trigger holds what a foreign key would, and more; the key would cost each withdrawal a look-up a row.
    corrects = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="corrections",
        help_text="the settled instruction whose money this one sends back",
    )

    class Meta:
        ordering = ["batch_id", "currency_id", "payer_id", "payee_id"]
        constraints = [
            choices_check("status", InstructionStatus, name="instruction_status"),
            choices_check("instruction_type", InstructionType, name="instruction_type"),
            models.UniqueConstraint(
                fields=["batch_id", "currency", "payer", "payee"], name="one_instruction_per_pair"
            ),
            models.UniqueConstraint(
                fields=["corrects"], condition=Q(corrects__isnull=False), name="corrected_once"
            ),
            models.CheckConstraint(name="instruction_amount_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(name="instruction_two_parties", condition=~Q(payer=F("payee"))),
            models.CheckConstraint(
                name="settled_has_moment", condition=Q(settled_at__isnull=False) | ~Q(status="Completed")
            ),
        ]


class Reservation(models.Model):
    """Funds set aside for a batch, so that settling it cannot fail for lack of them."""

    batch_id = models.UUIDField()
    account = models.ForeignKey(SettlementAccount, on_delete=models.PROTECT, related_name="reservations")
    amount_minor = models.BigIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["batch_id", "account"], name="one_reservation_per_account"),
            models.CheckConstraint(name="reservation_positive", condition=Q(amount_minor__gt=0)),
        ]
