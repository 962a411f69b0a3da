"""Find one row by its public id."""

from uuid import UUID

from clearing.models import Obligation, ObligationKey
from clearing_project.errors import NotFound
from settlement.models import SettlementInstruction


class UnknownObligation(NotFound):
    """No obligation bears this id, or none that concerns the caller."""

    code = "unknown_obligation"
    fields = ("obligation_id",)
    message = "No obligation has the id {obligation_id}."


class UnknownInstruction(NotFound):
    """No instruction bears this id, or none that concerns the caller."""

    code = "unknown_instruction"
    fields = ("instruction_id",)
    message = "No instruction has the id {instruction_id}."


def obligation(key: UUID, *, of: int | None = None) -> Obligation:
    """
    Return the obligation with its window, parties and currency: two reads by primary key.

    Args:
        of: a participant's key; an obligation that it neither owes nor is owed is not there for it.

    Raises:
        UnknownObligation
    """
    place = ObligationKey.objects.filter(key=key).first()
    if place is None:
        raise UnknownObligation(str(key))
    found = Obligation.objects.select_related("window", "payer", "payee", "currency")
    row = found.filter(window_id=place.window_id, pk=place.obligation_id).first()
    if row is None or (of is not None and of not in (row.payer_id, row.payee_id)):
        raise UnknownObligation(str(key))
    return row


def instruction(key: UUID, *, of: int | None = None) -> SettlementInstruction:
    """
    Return the instruction with its parties and currency; *of* as for an obligation.

    Raises:
        UnknownInstruction
    """
    row = SettlementInstruction.objects.select_related("payer", "payee", "currency").filter(pk=key).first()
    if row is None or (of is not None and of not in (row.payer_id, row.payee_id)):
        raise UnknownInstruction(str(key))
    return row
