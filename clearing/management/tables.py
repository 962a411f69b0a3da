"""What a cleared window came to, laid out for the terminal."""

from django.db.models import Sum
from rich.table import Table

from clearing.management.watch import Sight
from clearing.models import FrozenSet, MultilateralPosition, NettingResult
from netting.money import format_minor
from settlement.models import (
    Execution,
    LedgerEntry,
    RiskVerdict,
    SettlementAccount,
    SettlementInstruction,
)
from settlement.states import ExecutionStatus, ParticipantKind, PostingKind, Rail, VerdictStatus


def grouped(minor: int, currency: str) -> str:
    """Write an amount for a reader: thousands set apart."""
    whole, point, decimals = format_minor(minor, currency).partition(".")
    return f"{int(whole):,}{point}{decimals}"


def result_table(sight: Sight) -> Table:
    """Lay out gross, net and efficiency per currency, and the proof that positions sum to zero."""
    window = sight.window
    table = Table(
        title=f"{window.region} window {window.pk}: [bold]{window.status}[/bold]", title_justify="left"
    )
    table.add_column("currency")
    for name in ("obligations", "gross", "net to settle", "efficiency", "instructions", "sum of positions"):
        table.add_column(name, justify="right")
    for row in NettingResult.objects.filter(operation=sight.operation).select_related("currency"):
        code = row.currency.code
        positions = MultilateralPosition.objects.filter(operation=sight.operation, currency=row.currency)
        batch = SettlementInstruction.objects.filter(batch_id=sight.operation.pk, currency=row.currency)
        table.add_row(
            code,
            f"{row.obligations_count:,}",
            grouped(row.gross_minor, code),
            grouped(row.net_minor, code),
            f"{row.efficiency_bps / 100:.2f} %",
            f"{batch.count():,}",
            format_minor(positions.aggregate(total=Sum("net_minor"))["total"] or 0, code),
        )
    return table


def confirmation_table(sight: Sight) -> Table | None:
    """Lay out per currency what the settlement engine was sent, asked and has confirmed; None without one."""
    batch = Execution.objects.filter(batch_id=sight.operation.pk, rail=Rail.ENGINE)
    if not batch.exists():
        return None
    table = Table(title="settlement engine", title_justify="left")
    table.add_column("currency")
    for name in ("instructions", "approved", "confirmed", "messages", "questions", "sent again", "last code"):
        table.add_column(name, justify="right")
    for code in (
        batch.order_by("instruction__currency__code")
        .values_list("instruction__currency__code", flat=True)
        .distinct()
    ):
        rows = batch.filter(instruction__currency__code=code)
        confirmed = rows.filter(status=ExecutionStatus.COMPLETED)
        sums = rows.aggregate(sends=Sum("sends"), asks=Sum("asks"))
        last = confirmed.exclude(confirmation_code="").order_by("-completed_at").first()
        approved = RiskVerdict.objects.filter(
            batch_id=sight.operation.pk,
            status=VerdictStatus.APPROVED,
            instruction__currency__code=code,
        )
        table.add_row(
            code,
            f"{rows.count():,}",
            f"{approved.count():,}",
            f"{confirmed.count():,}",
            f"{sums['sends']:,}",
            f"{sums['asks']:,}",
            f"{rows.filter(sends__gt=1).count():,}",
            last.confirmation_code if last else "",
        )
    return table


def left_behind(sight: Sight) -> dict[str, int]:
    """Count what a rolled-back run left: every figure must be zero."""
    operation = sight.operation
    return {
        "frozen sets": FrozenSet.objects.filter(operation=operation).count(),
        "results": NettingResult.objects.filter(operation=operation).count(),
        "positions": MultilateralPosition.objects.filter(operation=operation).count(),
        "instructions": SettlementInstruction.objects.filter(batch_id=operation.pk).count(),
        "ledger entries": LedgerEntry.objects.filter(posting__reference=str(operation.pk)).count(),
    }


def ledger_table() -> Table:
    """Lay out, per currency, what was prefunded and what participants and agent hold: they must agree."""
    table = Table(title="ledger", title_justify="left")
    table.add_column("currency")
    for name in ("prefunded", "held by participants", "held by the agent", "difference"):
        table.add_column(name, justify="right")
    for currency_id, code in (
        SettlementAccount.objects.order_by("currency__code")
        .values_list("currency_id", "currency__code")
        .distinct()
    ):
        funded = _total(
            LedgerEntry.objects.filter(
                account__currency_id=currency_id,
                account__participant__kind=ParticipantKind.MEMBER,
                posting__kind=PostingKind.FUNDING,
            ),
            "amount_minor",
        )
        accounts = SettlementAccount.objects.filter(currency_id=currency_id)
        held = _total(accounts.filter(participant__kind=ParticipantKind.MEMBER), "balance_minor")
        agent = _total(accounts.filter(participant__kind=ParticipantKind.AGENT), "balance_minor")
        table.add_row(
            code,
            grouped(funded, code),
            grouped(held, code),
            grouped(agent, code),
            grouped(funded - held - agent, code),
        )
    return table


def _total(rows, column: str) -> int:  # type: ignore[no-untyped-def]
    return rows.aggregate(total=Sum(column))["total"] or 0
