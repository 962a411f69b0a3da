"""
How an obligation is discharged: how much is set off, through what, and what is paid by which instruction.

Allocations are kept per pair or per payer, not per obligation, and expanded when read: within its group
an obligation takes what is set off first in, first discharged, by due date and then intake; where obligations
are weighed the heavier come first, as in the circulation. In multilateral mode the group is the payer (its
net debit is paid, the rest of what it owes is set off); in the others it is the pair. What is not set off is
paid by the group's instructions, in order of payee. The parts add up to the obligation's amount.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection

from clearing import partitions, weights
from clearing.models import AtomicOperation, Obligation
from clearing.queries.results import run_of
from clearing.states import NettingMode


class Through(StrEnum):
    """What sets an obligation off."""

    NET_POSITION = "net_position"
    BILATERAL = "bilateral"
    CIRCULATION = "circulation"


THROUGH = {
    NettingMode.MULTILATERAL: Through.NET_POSITION,
    NettingMode.BILATERAL: Through.BILATERAL,
    NettingMode.CONSERVATIVE: Through.CIRCULATION,
}


@dataclass(frozen=True, slots=True)
class Payment:
    """The part of an obligation that an instruction pays, and what sent that money back, if anything did."""

    instruction_id: UUID
    amount_minor: int
    corrected_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class Discharge:
    """
    One obligation's trail; ``set_off_minor`` and the payments add up to its amount.

    Attributes:
        through: None in gross mode, where nothing is set off.
        payments: empty until the instructions are issued, although ``paid_minor`` says what they will pay.
    """

    obligation_id: int
    operation_id: UUID
    set_off_minor: int
    paid_minor: int
    through: Through | None
    payments: list[Payment]


def of_obligation(obligation: Obligation) -> Discharge | None:
    """Return the obligation's trail, or None while its window is not netted; reads its group alone."""
    run = run_of(obligation.window)
    if run is None:
        return None
    found = _trails(run, obligation)
    return found[0] if found else None


def of_window(operation: AtomicOperation) -> list[Discharge]:
    """Return the trail of every obligation of a netted run, in order of id: one pass in PostgreSQL."""
    return _trails(operation, None)


def _trails(operation: AtomicOperation, obligation: Obligation | None) -> list[Discharge]:
    mode = NettingMode(operation.window.netting_mode)
    by_payer = mode == NettingMode.MULTILATERAL
    group = "currency_id, payer_id" if by_payer else "currency_id, payer_id, payee_id"
    values: dict[str, Any] = {"operation": operation.pk}
    weight = weights.expression(operation.window)
    where = one = "true"
    if obligation is not None:
        where = "currency_id = %(currency)s AND payer_id = %(payer)s"
        where += "" if by_payer else " AND payee_id = %(payee)s"
        one = "id = %(obligation)s"
        values |= {
            "currency": obligation.currency_id,
            "payer": obligation.payer_id,
            "payee": obligation.payee_id,
            "obligation": obligation.pk,
        }
    sql = TRAIL.format(
        partition=partitions.name(operation.window_id),
        allocation=ALLOCATION_BY_PAYER if by_payer else ALLOCATION_BY_PAIR.format(where=where),
        group=group,
        columns=", ".join(f"instruction.{column}" for column in group.split(", ")),
        first=f"({weight}) DESC, " if weight else "",
        same=" AND ".join(f"leg.{column} = part.{column}" for column in group.split(", ")),
        where=where,
        one=one,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [
            Discharge(
                obligation_id=row[0],
                operation_id=operation.pk,
                set_off_minor=row[1],
                paid_minor=row[2],
                through=THROUGH.get(mode),
                payments=[
                    Payment(*part) for part in zip(row[3] or [], row[4] or [], row[5] or [], strict=True)
                ],
            )
            for row in cursor.fetchall()
        ]


ALLOCATION_BY_PAYER = """
    SELECT currency_id, participant_id AS payer_id, least(debit_minor, credit_minor) AS set_off
    FROM clearing_multilateralposition WHERE operation_id = %(operation)s
"""

ALLOCATION_BY_PAIR = """
    SELECT currency_id, payer_id, payee_id,
           (sum(gross.gross_minor) - coalesce(max(residual.left_minor), 0))::bigint AS set_off
    FROM clearing_grosspair gross
    JOIN clearing_nettingresult USING (operation_id, currency_id)
    LEFT JOIN clearing_residualpair residual USING (operation_id, currency_id, payer_id, payee_id)
    WHERE operation_id = %(operation)s AND {where}
    GROUP BY currency_id, payer_id, payee_id
"""

# Both the obligations' paid parts and the group's instructions lie end to end on the same line; an
# instruction pays an obligation as far as the two overlap.
TRAIL = """
    WITH allocation AS ({allocation}),
    queue AS (
        SELECT id, {group}, amount_minor,
               sum(amount_minor) OVER (PARTITION BY {group}
                   ORDER BY {first}coalesce(due_date, 'infinity'), id) - amount_minor AS before
        FROM {partition} WHERE {where}
    ), part AS (
        SELECT id, {group},
               greatest(0, least(amount_minor, set_off - before))::bigint AS set_off,
               greatest(0, before - set_off) AS paid_from,
               amount_minor - greatest(0, least(amount_minor, set_off - before)) AS paid
        FROM queue JOIN allocation USING ({group})
        WHERE {one}
    ), leg AS (
        SELECT instruction.id AS instruction_id, correction.id AS corrected_by,
               {columns}, instruction.amount_minor AS leg_minor,
               sum(instruction.amount_minor) OVER (PARTITION BY {columns}
                   ORDER BY payee.code COLLATE "C") - instruction.amount_minor AS leg_from
        FROM settlement_settlementinstruction instruction
        JOIN settlement_participant payee ON payee.id = instruction.payee_id
        LEFT JOIN settlement_settlementinstruction correction
          ON correction.corrects_id = instruction.id AND correction.corrects_id IS NOT NULL
        WHERE instruction.batch_id = %(operation)s
    )
    SELECT part.id, part.set_off, part.paid::bigint,
           array_agg(leg.instruction_id ORDER BY leg.leg_from) FILTER (WHERE leg.instruction_id IS NOT NULL),
           array_agg((least(part.paid_from + part.paid, leg.leg_from + leg.leg_minor)
                      - greatest(part.paid_from, leg.leg_from))::bigint ORDER BY leg.leg_from)
               FILTER (WHERE leg.instruction_id IS NOT NULL),
           array_agg(leg.corrected_by ORDER BY leg.leg_from) FILTER (WHERE leg.instruction_id IS NOT NULL)
    FROM part
    LEFT JOIN leg ON {same}
        AND leg.leg_from < part.paid_from + part.paid AND part.paid_from < leg.leg_from + leg.leg_minor
        AND part.paid > 0
    GROUP BY part.id, part.set_off, part.paid
    ORDER BY part.id
"""
