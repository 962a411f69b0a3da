"""Find one row by its public id."""

from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from clearing import aside
from clearing.aside import UnknownObligation
from clearing.models import Obligation, SetAside
from clearing_project.errors import NotFound
from settlement.models import SettlementInstruction


class UnknownInstruction(NotFound):
    """No instruction bears this id, or none that concerns the caller."""

    code = "unknown_instruction"
    fields = ("instruction_id",)
    message = "No instruction has the id {instruction_id}."


def with_corrections(
    rows: QuerySet[SettlementInstruction],
) -> QuerySet[SettlementInstruction]:
    """Bring along, as ``corrected_by_id``, what sent each instruction's money back, if anything did."""
    corrections = SettlementInstruction.objects.filter(corrects=OuterRef("pk")).order_by()
    return rows.annotate(corrected_by_id=Subquery(corrections.values("pk")[:1]))


def obligation(key: UUID, *, of: int | None = None) -> Obligation | SetAside:
    """
    Return the obligation, in its window or set aside, with its parties and currency.

    Args:
        of: a participant's key; an obligation that it neither owes nor is owed is not there for it.

    Raises:
        UnknownObligation
    """
    row = aside.find(key)
    if of is not None and of not in (row.payer_id, row.payee_id):
        raise UnknownObligation(str(key))
    return row


def instruction(key: UUID, *, of: int | None = None) -> SettlementInstruction:
    """
    Return the instruction with its parties, currency and correction; *of* as for an obligation.

    Raises:
        UnknownInstruction
    """
    found = with_corrections(SettlementInstruction.objects.select_related("payer", "payee", "currency"))
    row = found.filter(pk=key).first()
    if row is None or (of is not None and of not in (row.payer_id, row.payee_id)):
        raise UnknownInstruction(str(key))
    return row
