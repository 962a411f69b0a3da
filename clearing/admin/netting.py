"""What clearing runs computed: read-only, one window at a time."""

from django.contrib import admin

from clearing.admin.filters import RunOfWindow
from clearing.models import (
    BilateralPosition,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
    ResidualPair,
)
from settlement.admin.base import LargeAdmin, amount_column, link_column, moment_column, percent_column


class OfRun(LargeAdmin):
    """Rows of one clearing run in one currency."""

    list_filter = (RunOfWindow, "currency")
    list_before_template = "clearing/of_window.html"
    operation_link = link_column("operation")


@admin.register(FrozenSet)
class FrozenSetAdmin(OfRun):
    """Frozen sets: count, sum and hash of a window's obligations in one currency."""

    list_display = ("id", "currency", "obligations_count", "gross", "content_hash", "operation_link")
    list_select_related = ("currency", "operation")
    fields = ("operation_link", "currency", "obligations_count", "gross", "content_hash")
    ordering = ("operation_id", "currency_id")
    gross = amount_column("gross_minor")


@admin.register(GrossPair)
class GrossPairAdmin(OfRun):
    """Gross pairs: the frozen obligations of one payer to one payee, added up."""

    list_display = ("id", "payer", "payee", "weight", "obligations_count", "gross")
    list_select_related = ("currency", "payer", "payee")
    fields = ("operation_link", "currency", "payer", "payee", "weight", "obligations_count", "gross")
    ordering = ("operation_id", "currency_id", "payer_id", "payee_id", "weight")
    gross = amount_column("gross_minor")


@admin.register(NettingResult)
class NettingResultAdmin(OfRun):
    """Netting results: one currency netted."""

    list_display = (
        "id",
        "currency",
        "obligations_count",
        "gross",
        "net",
        "saved",
        "efficiency",
        "operation_link",
    )
    list_select_related = ("currency", "operation")
    fields = (
        "operation_link",
        "currency",
        "netting_mode",
        "obligations_count",
        "participants_count",
        "gross",
        "net",
        "bound",
        "saved",
        "efficiency",
        "computed",
        ("primal", "dual"),
        ("solver", "solver_version"),
        "input_digest",
        "result_digest",
    )
    ordering = ("operation_id", "currency_id")
    gross, net = amount_column("gross_minor"), amount_column("net_minor")
    bound, saved = amount_column("bound_minor", "provable minimum"), amount_column("saved_minor")
    efficiency, computed = percent_column("efficiency_bps"), moment_column("computed_at")
    primal, dual = amount_column("primal_minor", "certificate: primal"), amount_column("dual_minor")


@admin.register(ResidualPair)
class ResidualPairAdmin(OfRun):
    """Residual pairs: what is left of a pair's obligations after conservative netting."""

    list_display = ("id", "payer", "payee", "left")
    list_select_related = ("currency", "payer", "payee")
    fields = ("operation_link", "currency", "payer", "payee", "left")
    ordering = ("operation_id", "currency_id", "payer_id", "payee_id")
    left = amount_column("left_minor")


@admin.register(MultilateralPosition)
class MultilateralPositionAdmin(OfRun):
    """Net positions: what each participant receives (+) or pays (−); per currency they sum to zero."""

    list_display = ("id", "participant", "name", "credit", "debit", "net", "obligations_count")
    list_select_related = ("currency", "participant")
    fields = ("operation_link", "currency", "participant", "credit", "debit", "net", "obligations_count")
    ordering = ("operation_id", "currency_id", "participant_id")
    credit, debit = amount_column("credit_minor"), amount_column("debit_minor")
    net = amount_column("net_minor")

    @admin.display(description="name")
    def name(self, position: MultilateralPosition) -> str:
        """Whose it is."""
        return position.participant.name


@admin.register(BilateralPosition)
class BilateralPositionAdmin(OfRun):
    """Bilateral positions: what a pair owes each other, gross both ways and net."""

    list_display = ("id", "participant_a", "participant_b", "a_owes", "b_owes", "net", "direction", "ratio")
    list_select_related = ("currency", "participant_a", "participant_b")
    fields = (
        "operation_link",
        "currency",
        "participant_a",
        "participant_b",
        "a_owes",
        "b_owes",
        "net",
        "direction",
        "obligations_count",
        "ratio",
    )
    ordering = ("operation_id", "currency_id", "participant_a_id", "participant_b_id")
    a_owes = amount_column("gross_debit_minor", "a owes b")
    b_owes = amount_column("gross_credit_minor", "b owes a")
    net, ratio = amount_column("net_minor"), percent_column("netting_ratio_bps")
