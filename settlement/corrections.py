"""Issue the opposite of instructions that have settled: money is sent back, never un-sent."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet, Sum

from clearing_project.errors import Conflict, Invalid
from netting import money
from settlement import participants
from settlement.models import SettlementInstruction
from settlement.states import InstructionStatus


class InstructionNotInBatch(Invalid):
    """The instruction chosen is not one of the batch that is corrected."""

    code = "instruction_not_in_batch"
    fields = ("instruction_id", "batch_id")
    message = "Instruction {instruction_id} is none of batch {batch_id}."


class InstructionNotSettled(Conflict):
    """No money has moved by the instruction, so there is none to send back."""

    code = "instruction_not_settled"
    fields = ("instruction_id", "status")
    message = "Instruction {instruction_id} is {status}; only a completed one is corrected."


class AlreadyCorrected(Conflict):
    """The instruction's money was sent back before; it is sent back once."""

    code = "already_corrected"
    fields = ("instruction_id", "corrected_by")
    message = "Instruction {instruction_id} was corrected by {corrected_by}."


class NothingToCorrect(Conflict):
    """Nothing of the batch is settled and not corrected yet."""

    code = "nothing_to_correct"
    fields = ("batch_id",)
    message = "Batch {batch_id} has no settled instruction that is not corrected already."


class CorrectionUnbalanced(Invalid):
    """The agent would keep money or lack it: what it received and what it paid are corrected together."""

    code = "correction_unbalanced"
    fields = ("currency", "to_agent", "from_agent")
    message = (
        "Sending these instructions back would take {from_agent} {currency} from the agent and bring it"
        " {to_agent}; choose legs that leave it with nothing."
    )


@transaction.atomic
def oppose(batch_id: UUID, *, of: UUID, only: Sequence[UUID] | None = None) -> int:
    """
    Issue, as batch *batch_id*, the opposite of each settled instruction of batch *of*, linked to it.

    The originals stay as they are. They are locked until the transaction ends, so of two that correct the
    same one the second finds it corrected; a constraint holds that as well.

    Args:
        only: instructions chosen from the batch; None for all that are settled and not corrected yet.

    Returns:
        How many instructions were issued.

    Raises:
        InstructionNotInBatch, InstructionNotSettled, AlreadyCorrected: of those chosen; names the first.
        NothingToCorrect, CorrectionUnbalanced: nothing is issued.
    """
    batch = SettlementInstruction.objects.filter(batch_id=of)
    list(batch.order_by("id").select_for_update().values_list("pk"))
    settled = batch.filter(status=InstructionStatus.COMPLETED, corrections=None)
    if only is not None:
        settled = settled.filter(pk__in=_correctable(batch, of, set(only)))
    keys = sorted(settled.values_list("pk", flat=True))
    if not keys:
        raise NothingToCorrect(str(of))
    _refuse_unbalanced(settled)
    with connection.cursor() as cursor:
        cursor.execute(OPPOSE, {"batch": batch_id, "originals": keys})
        return int(cursor.rowcount)


def _correctable(batch: QuerySet[SettlementInstruction], of: UUID, chosen: set[UUID]) -> set[UUID]:
    """Refuse a choice of which not each can be corrected; the first in order of id is named."""
    found = batch.filter(pk__in=chosen).values_list("pk", "status", "corrections__pk")
    known = {key: (status, corrected_by) for key, status, corrected_by in found}
    for key in sorted(chosen):
        if key not in known:
            raise InstructionNotInBatch(str(key), str(of))
        status, corrected_by = known[key]
        if status != InstructionStatus.COMPLETED:
            raise InstructionNotSettled(str(key), status)
        if corrected_by is not None:
            raise AlreadyCorrected(str(key), str(corrected_by))
    return chosen


def _refuse_unbalanced(settled: QuerySet[SettlementInstruction]) -> None:
    agent = participants.agent()
    through = settled.filter(Q(payer=agent) | Q(payee=agent)).order_by()
    sums = through.values("currency__code").annotate(
        paid=Sum("amount_minor", filter=Q(payer=agent), default=0),
        received=Sum("amount_minor", filter=Q(payee=agent), default=0),
    )
    for row in sums.order_by("currency__code"):
        if row["paid"] != row["received"]:
            code = row["currency__code"]
            raise CorrectionUnbalanced(
                code, money.format_minor(row["paid"], code), money.format_minor(row["received"], code)
            )


OPPOSE = """
    INSERT INTO settlement_settlementinstruction
        (id, batch_id, instruction_type, priority, status, currency_id, payer_id, payee_id, amount_minor,
         corrects_id)
    SELECT gen_random_uuid(), %(batch)s, instruction_type, priority, 'Pending', currency_id,
           payee_id, payer_id, amount_minor, id
    FROM settlement_settlementinstruction
    WHERE id = ANY (%(originals)s)
    ORDER BY currency_id, payee_id, payer_id
"""
