"""What was asked of outside engines, and what they answered: the engine's alone, shown."""

from django.contrib import admin

from settlement.admin.base import LargeAdmin, amount_column, link_column, moment_column, status_column
from settlement.models import Execution, RiskVerdict


@admin.register(Execution)
class ExecutionAdmin(LargeAdmin):
    """Attempts to have instructions executed outside, batch by batch."""

    list_display = (
        "id",
        "instruction_link",
        "amount",
        "attempt",
        "rail",
        "state",
        "settlement_id",
        "confirmation_code",
        "completed",
    )
    list_filter = ("status", "rail")
    list_select_related = ("instruction__currency",)
    fields = (
        "id",
        "instruction",
        "batch_id",
        "amount",
        ("attempt", "rail"),
        "state",
        ("settlement_id", "reference", "confirmation_code"),
        ("message", "refusal"),
        ("sends", "asks"),
        ("sent", "due", "completed"),
        "contradicted",
        ("actor", "reason"),
        ("declared", "declared_by", "declared_reason"),
    )
    ordering = ("batch_id", "next_at")
    instruction_link = link_column("instruction")
    amount = amount_column("instruction.amount_minor", currency="instruction.currency.code")
    state = status_column()
    sent, due = moment_column("sent_at"), moment_column("next_at")
    completed, contradicted = moment_column("completed_at"), moment_column("contradicted_at")
    declared = moment_column("declared_at")


@admin.register(RiskVerdict)
class RiskVerdictAdmin(LargeAdmin):
    """What the risk engine said of instructions, batch by batch."""

    list_display = ("id", "instruction_link", "state", "reason", "given", "batch_id")
    list_filter = ("status",)
    list_select_related = ("instruction",)
    fields = ("instruction", "batch_id", "state", "reason", "given")
    ordering = ("batch_id", "status")
    instruction_link = link_column("instruction")
    state, given = status_column(), moment_column("given_at")
