"""Find one row by its public id."""

from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from clearing.models import Obligation, ObligationKey, SetAside
from clearing_project.errors import NotFound
from settlement.models import SettlementInstruction

LOOKS_MAX = 5  # an obligation may move on between the look at its key and the look at its row


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


def with_corrections(
    rows: QuerySet[SettlementInstruction],
) -> QuerySet[SettlementInstruction]:
    """Bring along, as ``corrected_by_id``, what sent each instruction's money back, if anything did."""
    corrections = SettlementInstruction.objects.filter(corrects=OuterRef("pk")).order_by()
    return rows.annotate(corrected_by_id=Subquery(corrections.values("pk")[:1]))


def obligation(key: UUID, *, of: int | None = None) -> Obligation | SetAside:
    """
    Return the obligation, in its window or set aside, with parties and currency: two reads by primary key.

    Args:
        of: a participant's key; an obligation that it neither owes nor is owed is not there for it.

    Raises:
        UnknownObligation
    """
    for _ in range(LOOKS_MAX):
        place = ObligationKey.objects.filter(key=key).first()
        if place is None:
            raise UnknownObligation(str(key))
        row = _at(place)
        if row is not None:
            if of is not None and of not in (row.payer_id, row.payee_id):
                raise UnknownObligation(str(key))
            return row
    raise AssertionError("a key that is taken has its row")


def _at(place: ObligationKey) -> Obligation | SetAside | None:
    """Return the row, or None if it has moved on since its key was read."""
    if place.window_id is None:
        waiting = SetAside.objects.select_related("payer", "payee", "currency")
        return waiting.filter(pk=place.obligation_id).first()
    rows = Obligation.objects.select_related("window", "payer", "payee", "currency")
    return rows.filter(window_id=place.window_id, pk=place.obligation_id).first()


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
