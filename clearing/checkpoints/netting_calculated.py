"""Net the frozen obligations, one currency at a time: SQL added up, a pure function decides, SQL writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from clearing.models import (
    AtomicOperation,
    BilateralPosition,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
)
from clearing_project.errors import Conflict
from netting import bilateral, multilateral
from netting.measures import Measures
from netting.model import Mode, Pairs, Positions

NAME = "netting_calculated"


class CurrencyNotNetted(Conflict):
    """A frozen currency has no result yet."""

    code = "currency_not_netted"
    fields = ("operation_id", "currency_id")
    message = "Operation {operation_id}: currency {currency_id} is frozen but not netted."


class FreezeMismatch(Conflict):
    """What was netted is not what was frozen."""

    code = "freeze_mismatch"
    fields = ("operation_id", "currency_id")
    message = "Operation {operation_id}: positions in currency {currency_id} differ from the frozen set."


@dataclass(frozen=True, slots=True)
class Netted:
    """One currency's outcome, not yet written."""

    currency_id: int
    mode: Mode
    pairs: Pairs
    positions: Positions
    bilateral: bilateral.BilateralPositions
    measures: Measures


def compute(operation: AtomicOperation, currency_id: int) -> Netted:
    """Net one currency from its sums per pair; reads only, no lock is held."""
    rows = GrossPair.objects.filter(operation=operation, currency_id=currency_id).values_list(
        "payer_id", "payee_id", "gross_minor", "obligations_count"
    )
    pairs = Pairs.of(*_columns(list(rows)))
    positions = multilateral.net(pairs)
    return Netted(
        currency_id=currency_id,
        mode=Mode(operation.window.netting_mode),
        pairs=pairs,
        positions=positions,
        bilateral=bilateral.net(pairs),
        measures=Measures(gross=pairs.gross, net=positions.bound, bound=positions.bound),
    )


def store(operation: AtomicOperation, netted: Netted) -> None:
    """
    Write one currency's result and positions; a second delivery finds the result there and stops.

    Raises:
        FreezeMismatch: counts or sums differ from the frozen set.
    """
    frozen = FrozenSet.objects.get(operation=operation, currency_id=netted.currency_id)
    count = int(netted.pairs.counts.sum())
    if (count, netted.pairs.gross) != (frozen.obligations_count, frozen.gross_minor):
        raise FreezeMismatch(str(operation.pk), netted.currency_id)
    key: list[Any] = [operation.pk, netted.currency_id]
    with connection.cursor() as cursor:
        measures = netted.measures
        cursor.execute(
            RESULT,
            [
                *key,
                netted.mode.value,
                count,
                len(netted.positions.participants),
                measures.gross,
                measures.net,
                measures.bound,
                measures.efficiency_bps,
            ],
        )
        if cursor.rowcount == 0:
            return
        by_participant, two_sided = netted.positions, netted.bilateral
        cursor.execute(
            MULTILATERAL,
            [
                *key,
                by_participant.participants.tolist(),
                by_participant.debit.tolist(),
                by_participant.credit.tolist(),
                *key,
            ],
        )
        cursor.execute(
            BILATERAL,
            [
                *key,
                two_sided.a.tolist(),
                two_sided.b.tolist(),
                two_sided.a_owes.tolist(),
                two_sided.b_owes.tolist(),
                two_sided.directions,
                two_sided.counts.tolist(),
                two_sided.ratio_bps.tolist(),
            ],
        )


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """
    Seal the netting: every frozen currency has its result, and the results add up to the frozen sets.

    Raises:
        CurrencyNotNetted, FreezeMismatch
    """
    results = {row.currency_id: row for row in NettingResult.objects.filter(operation=operation)}
    for frozen in FrozenSet.objects.filter(operation=operation).order_by("currency_id"):
        result = results.pop(frozen.currency_id, None)
        if result is None:
            raise CurrencyNotNetted(str(operation.pk), frozen.currency_id)
        if (result.obligations_count, result.gross_minor) != (frozen.obligations_count, frozen.gross_minor):
            raise FreezeMismatch(str(operation.pk), frozen.currency_id)
    if results:
        raise FreezeMismatch(str(operation.pk), min(results))


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Delete results and positions, however many of the currencies were done."""
    BilateralPosition.objects.filter(operation=operation).delete()
    MultilateralPosition.objects.filter(operation=operation).delete()
    NettingResult.objects.filter(operation=operation).delete()


def _columns(rows: Sequence[tuple[int, int, int, int]]) -> tuple[list[int], ...]:
    return tuple([row[place] for row in rows] for place in range(4))


RESULT = """
    INSERT INTO clearing_nettingresult
        (operation_id, currency_id, netting_mode, obligations_count, participants_count,
         gross_minor, net_minor, bound_minor, efficiency_bps)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (operation_id, currency_id) DO NOTHING
"""

MULTILATERAL = """
    INSERT INTO clearing_multilateralposition
        (operation_id, currency_id, participant_id, debit_minor, credit_minor, net_minor, obligations_count)
    SELECT %s, %s, side.participant_id, side.debit, side.credit, side.credit - side.debit, pair.obligations
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS side (participant_id, debit, credit)
    JOIN (
        SELECT participant_id, sum(obligations_count)::bigint AS obligations
        FROM clearing_grosspair
        CROSS JOIN LATERAL (VALUES (payer_id), (payee_id)) AS party (participant_id)
        WHERE operation_id = %s AND currency_id = %s
        GROUP BY participant_id
    ) AS pair USING (participant_id)
    ORDER BY side.participant_id
"""

BILATERAL = """
    INSERT INTO clearing_bilateralposition
        (operation_id, currency_id, participant_a_id, participant_b_id, gross_debit_minor,
         gross_credit_minor, net_minor, direction, obligations_count, netting_ratio_bps)
    SELECT %s, %s, pair.a, pair.b, pair.a_owes, pair.b_owes, abs(pair.a_owes - pair.b_owes),
           pair.direction, pair.obligations, pair.ratio
    FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::int[])
         AS pair (a, b, a_owes, b_owes, direction, obligations, ratio)
"""
