"""What is asked of outside engines about an instruction: may it be sent, and was it executed."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from clearing_project.constraints import choices_check
from settlement.models.instructions import SettlementInstruction
from settlement.states import ExecutionStatus, Rail, VerdictStatus

ENGINE_TEXT_MAX = 140  # of what an engine names; longer words are cut


class Execution(models.Model):
    """
    One attempt to have an instruction executed outside, written ahead of each message about it.

    The engine knows it by *id*: of the first attempt this is the instruction's own; a later one, possible
    only after the engine said that the one before failed, has an id of its own, because an engine answers
    the same to the same id.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Planned and dropped together with the instruction; a key would cost each withdrawal a look-up a row.
    instruction = models.ForeignKey(
        SettlementInstruction,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="executions",
    )
    batch_id = models.UUIDField()
    attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    rail = models.CharField(max_length=8, choices=Rail.choices, default=Rail.ENGINE)
    status = models.CharField(max_length=16, choices=ExecutionStatus.choices, default=ExecutionStatus.PLANNED)
    settlement_id = models.CharField(
        max_length=ENGINE_TEXT_MAX, blank=True, default="", db_default="", help_text="the engine's own id"
    )
    reference = models.CharField(max_length=ENGINE_TEXT_MAX, blank=True, default="", db_default="")
    confirmation_code = models.CharField(max_length=ENGINE_TEXT_MAX, blank=True, default="", db_default="")
    message = models.TextField(blank=True, default="", db_default="", help_text="the engine's last word")
    refusal = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="why the engine did not take it"
    )
    sends = models.PositiveIntegerField(default=0, db_default=0)
    asks = models.PositiveIntegerField(default=0, db_default=0)
    next_at = models.DateTimeField(help_text="nobody works on it until then")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    contradicted_at = models.DateTimeField(
        null=True, help_text="since then the engine says something else than before"
    )
    actor = models.CharField(max_length=150, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="", db_default="", help_text="why somebody intervened")
    declared_at = models.DateTimeField(
        null=True, help_text="since then its outcome is what somebody declared, not what the engine said"
    )
    declared_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    declared_reason = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ["batch_id", "instruction_id", "attempt"]
        permissions = [("declare_execution", "Can declare an outcome that the engine never told")]
        constraints = [
            choices_check("status", ExecutionStatus, name="execution_status"),
            choices_check("rail", Rail, name="execution_rail"),
            models.UniqueConstraint(fields=["instruction", "attempt"], name="one_execution_per_attempt"),
            models.UniqueConstraint(
                fields=["instruction"], condition=~Q(status="Failed"), name="one_live_execution"
            ),
            models.CheckConstraint(
                name="first_attempt_bears_the_instruction",
                condition=Q(attempt__gt=1) | Q(id=F("instruction")),
            ),
            models.CheckConstraint(
                name="executed_was_sent", condition=Q(status="Planned") | Q(sends__gt=0) | Q(rail="Hand")
            ),
            models.CheckConstraint(
                name="executed_has_moment", condition=Q(completed_at__isnull=False) | ~Q(status="Completed")
            ),
            models.CheckConstraint(
                name="by_hand_has_reason",
                condition=~Q(rail="Hand") | (~Q(reason="") & ~Q(actor="")),
            ),
            models.CheckConstraint(
                name="declared_has_reason",
                condition=Q(declared_at=None, declared_by="", declared_reason="")
                | (
                    Q(declared_at__isnull=False, status__in=("Completed", "Failed"))
                    & ~Q(declared_by="")
                    & ~Q(declared_reason="")
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["batch_id", "next_at"], name="execution_by_batch"),
            models.Index(
                fields=["settlement_id"], condition=~Q(settlement_id=""), name="execution_by_settlement"
            ),
            models.Index(fields=["status"], condition=~Q(status="Completed"), name="execution_open"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.instruction_id}"


class RiskVerdict(models.Model):
    """What the risk engine said of an instruction; asked once, kept as it was given."""

    instruction = models.OneToOneField(
        SettlementInstruction, on_delete=models.DO_NOTHING, db_constraint=False, related_name="verdict"
    )
    batch_id = models.UUIDField()
    status = models.CharField(max_length=16, choices=VerdictStatus.choices, default=VerdictStatus.PENDING)
    reason = models.TextField(blank=True, default="", db_default="")
    given_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["batch_id", "instruction_id"]
        constraints = [
            choices_check("status", VerdictStatus, name="verdict_status"),
            models.CheckConstraint(
                name="verdict_has_moment", condition=Q(given_at__isnull=False) | Q(status="Pending")
            ),
        ]
        indexes = [models.Index(fields=["batch_id", "status"], name="verdict_by_batch")]

    def __str__(self) -> str:
        return f"{self.status} {self.instruction_id}"
