"""Instructions, reservations and the ledger: the engine's alone, shown."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from settlement.admin.base import (
    LargeAdmin,
    ReadOnlyInline,
    amount_column,
    link,
    link_column,
    moment_column,
    status_column,
)
from settlement.models import LedgerEntry, Posting, Reservation, SettlementInstruction


class EntryInline(ReadOnlyInline):
    """The sides of a posting."""

    model = LedgerEntry
    fields = readonly_fields = ("account_link", "amount")
    account_link = link_column("account")
    amount = amount_column("amount_minor", currency="account.currency.code")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        """Bring the accounts along."""
        return super().get_queryset(request).select_related("account__participant", "account__currency")


@admin.register(Posting)
class PostingAdmin(LargeAdmin):
    """Postings: balanced moves of money."""

    list_display = ("id", "kind", "reference", "posted")
    list_filter = ("kind",)
    fields = ("id", "kind", "reference", "posted")
    inlines = (EntryInline,)
    posted = moment_column("posted_at")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(LargeAdmin):
    """Ledger entries, the latest first."""

    list_display = ("id", "account_link", "amount", "posting_link", "posted")
    list_select_related = ("account__participant", "account__currency", "posting")
    fields = ("id", "account", "amount", "posting", "posted")
    ordering = ("-id",)
    account_link, posting_link = link_column("account"), link_column("posting")
    amount = amount_column("amount_minor", currency="account.currency.code")
    posted = moment_column("posting.posted_at")


@admin.register(Reservation)
class ReservationAdmin(LargeAdmin):
    """Funds set aside for batches underway."""

    list_display = ("id", "account_link", "amount", "batch_id")
    list_select_related = ("account__participant", "account__currency")
    fields = ("account", "amount", "batch_id")
    ordering = ("-id",)
    account_link = link_column("account")
    amount = amount_column("amount_minor", currency="account.currency.code")


@admin.register(SettlementInstruction)
class SettlementInstructionAdmin(LargeAdmin):
    """Settlement instructions, batch by batch; a batch bears the id of the operation that issued it."""

    list_display = ("id", "payer", "payee", "amount", "instruction_type", "state", "settled", "batch_id")
    list_filter = ("status", "instruction_type", "currency")
    list_select_related = ("payer", "payee", "currency")
    fields = (
        "id",
        "batch_id",
        "payer",
        "payee",
        "amount",
        "instruction_type",
        "priority",
        "state",
        "created",
        "deadline",
        "settled",
        "corrects_link",
        "corrected_by",
    )
    ordering = ("batch_id", "currency_id", "payer_id", "payee_id")
    amount, state = amount_column("amount_minor"), status_column()
    corrects_link = link_column("corrects")
    created, deadline, settled = (
        moment_column("created_at"),
        moment_column("deadline_at"),
        moment_column("settled_at"),
    )

    @admin.display(description="corrected by")
    def corrected_by(self, instruction: SettlementInstruction) -> str:
        """Link the instruction that sent its money back."""
        correction = instruction.corrections.first()
        return link(correction, correction and correction.pk)
