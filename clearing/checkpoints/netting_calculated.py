"""Net the frozen obligations, one currency at a time: SQL added up, a pure function decides, SQL writes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models.functions import Collate

from clearing import weights
from clearing.models import (
    AtomicOperation,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
    ResidualPair,
)
from clearing.states import Weights
from clearing_project.errors import Conflict
from netting import bilateral, discharge, modes
from netting.certificate import Certificate, verify
from netting.model import Ints, Pairs
from netting.modes import Outcome
from settlement.models import Participant

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


class CertificateRefused(Conflict):
    """The independent checker does not accept a currency's netting."""

    code = "certificate_refused"
    fields = ("operation_id", "currency_id", "faults")
    message = "Operation {operation_id}: the netting of currency {currency_id} is not proven: {faults}."


@dataclass(frozen=True, slots=True)
class Netted:
    """One currency's outcome, not yet written. In it participants go by their rank in order of codes."""

    currency_id: int
    participant_ids: Ints
    outcome: Outcome


def compute(operation: AtomicOperation, currency_id: int) -> Netted:
    """
    Net one currency from its sums per pair; reads only, no lock is held.

    Raises:
        CertificateRefused: the result is not proven to be the best of its mode.
        WeightedSumOverflow
    """
    ids, pairs = _pairs(operation, currency_id)
    weights.bound(pairs, operation.window_id)
    outcome = modes.net(pairs, mode=operation.window.netting_mode)
    _refuse(operation, currency_id, outcome.faults())
    return Netted(currency_id, ids, outcome)


def store(operation: AtomicOperation, netted: Netted) -> None:
    """
    Write one currency's result and positions; a second delivery finds the result there and stops.

    Raises:
        FreezeMismatch: counts or sums differ from the frozen set.
    """
    frozen = FrozenSet.objects.get(operation=operation, currency_id=netted.currency_id)
    outcome, pairs = netted.outcome, netted.outcome.pairs
    count = int(pairs.counts.sum())
    if (count, pairs.gross) != (frozen.obligations_count, frozen.gross_minor):
        raise FreezeMismatch(str(operation.pk), netted.currency_id)
    positions, certificate = outcome.positions, outcome.certificate
    key: list[Any] = [operation.pk, netted.currency_id]
    with connection.cursor() as cursor:
        cursor.execute(
            RESULT,
            [
                *key,
                outcome.mode.value,
                count,
                len(positions.participants),
                outcome.measures.gross,
                outcome.measures.net,
                outcome.measures.bound,
                outcome.measures.efficiency_bps,
                certificate.solver,
                certificate.version,
                certificate.input_digest,
                certificate.result_digest,
                certificate.primal,
                certificate.dual,
                _array(certificate.potentials),
            ],
        )
        if cursor.rowcount == 0:
            return
        _write_positions(cursor, key, netted)


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """
    Seal the netting: every frozen currency has its result, equal to the frozen set and proven.

    The proof is made again, from the rows as they stand in the tables, by the independent checker.

    Raises:
        CurrencyNotNetted, FreezeMismatch, CertificateRefused
    """
    results = {row.currency_id: row for row in NettingResult.objects.filter(operation=operation)}
    for frozen in FrozenSet.objects.filter(operation=operation).order_by("currency_id"):
        result = results.pop(frozen.currency_id, None)
        if result is None:
            raise CurrencyNotNetted(str(operation.pk), frozen.currency_id)
        if (result.obligations_count, result.gross_minor) != (frozen.obligations_count, frozen.gross_minor):
            raise FreezeMismatch(str(operation.pk), frozen.currency_id)
        _refuse(operation, frozen.currency_id, verify_stored(result))
    if results:
        raise FreezeMismatch(str(operation.pk), min(results))


def verify_stored(result: NettingResult) -> list[str]:
    """Ask the independent checker about a result as it stands in the tables; nothing wrong: proven."""
    operation = result.operation
    ids, pairs = _pairs(operation, result.currency_id)
    key = {"operation": operation, "currency_id": result.currency_id}
    left_of = {
        (payer, payee): left
        for payer, payee, left in ResidualPair.objects.filter(**key).values_list(
            "payer_id", "payee_id", "left_minor"
        )
    }
    ends = list(zip(ids[pairs.payer].tolist(), ids[pairs.payee].tolist(), strict=True))
    named = set(left_of) - set(ends)
    left = np.array([left_of.get(pair, 0) for pair in ends], np.int64)
    nets = dict(MultilateralPosition.objects.filter(**key).values_list("participant_id", "net_minor"))
    net = np.array([nets.pop(participant, 0) for participant in ids.tolist()], np.int64)
    if named or nets:
        return ["residual or positions name pairs or participants that are not of the obligations"]
    if pairs.weights is not None:
        spread = discharge.by_weight(pairs, left)
        if spread is None:
            return ["more is left of a pair than was owed"]
        left = spread
    claim = Certificate(
        mode=result.netting_mode,
        solver=result.solver,
        version=result.solver_version,
        input_digest=result.input_digest,
        result_digest=result.result_digest,
        primal=result.primal_minor,
        dual=result.dual_minor,
        potentials=np.array(result.potentials, np.int64),
    )
    return verify(claim, modes.participant_names(pairs), modes.input_columns(pairs), left, net)


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Delete results and positions, however many of the currencies were done."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, {"operation": operation.pk})


def _pairs(operation: AtomicOperation, currency_id: int) -> tuple[Ints, Pairs]:
    """
    Read the sums per pair, participants numbered in order of their codes.

    So the digests are those of the same obligations netted from a CSV, and anyone can repeat the proof.

    Returns:
        Participant keys by number, and the pairs.
    """
    rows = list(
        GrossPair.objects.filter(operation=operation, currency_id=currency_id)
        .order_by("payer_id", "payee_id", "-weight")
        .values_list("payer_id", "payee_id", "gross_minor", "obligations_count", "weight")
    )
    weighed = operation.window.weights != Weights.NONE
    parties = {row[side] for row in rows for side in (0, 1)}
    codes = list(
        Participant.objects.filter(pk__in=parties).order_by(Collate("code", "C")).values_list("pk", "code")
    )
    rank = {key: place for place, (key, _) in enumerate(codes)}
    pairs = Pairs.of(
        [rank[row[0]] for row in rows],
        [rank[row[1]] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        weights=[row[4] for row in rows] if weighed else None,
        names=[code for _, code in codes],
    )
    return np.array([key for key, _ in codes], np.int64), pairs


def _write_positions(cursor: CursorWrapper, key: list[Any], netted: Netted) -> None:
    """Write multilateral and bilateral positions and the residual, a statement each."""
    ids, outcome = netted.participant_ids, netted.outcome
    positions, residual, two_sided = outcome.positions, outcome.residual, bilateral.net(outcome.pairs)
    by_participant = (ids[positions.participants], positions.debit, positions.credit)
    cursor.execute(MULTILATERAL, [*key, *map(_array, by_participant), *key])
    by_pair = (
        ids[two_sided.a],
        ids[two_sided.b],
        two_sided.a_owes,
        two_sided.b_owes,
        two_sided.counts,
        two_sided.ratio_bps,
    )
    cursor.execute(BILATERAL, [*key, *map(_array, by_pair)])
    left = (ids[residual.payers], ids[residual.payees], residual.amounts)
    cursor.execute(RESIDUAL, [*key, *map(_array, left)])


def _array(numbers: Ints) -> str:
    """Write numbers as PostgreSQL reads an array; psycopg would look at each by itself."""
    return f"{{{','.join(map(str, numbers.tolist()))}}}"


def _refuse(operation: AtomicOperation, currency_id: int, faults: list[str]) -> None:
    if faults:
        raise CertificateRefused(str(operation.pk), currency_id, "; ".join(faults))


FORGET = """
    WITH two_sided AS (DELETE FROM clearing_bilateralposition WHERE operation_id = %(operation)s),
         residual AS (DELETE FROM clearing_residualpair WHERE operation_id = %(operation)s),
         net AS (DELETE FROM clearing_multilateralposition WHERE operation_id = %(operation)s)
    DELETE FROM clearing_nettingresult WHERE operation_id = %(operation)s
"""

RESULT = """
    INSERT INTO clearing_nettingresult
        (operation_id, currency_id, netting_mode, obligations_count, participants_count,
         gross_minor, net_minor, bound_minor, efficiency_bps, solver, solver_version, input_digest,
         result_digest, primal_minor, dual_minor, potentials)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[])
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
           CASE sign(pair.a_owes - pair.b_owes) WHEN 1 THEN 'Debit' WHEN -1 THEN 'Credit' ELSE 'Neutral' END,
           pair.obligations, pair.ratio
    FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[])
         AS pair (a, b, a_owes, b_owes, obligations, ratio)
    ORDER BY pair.a, pair.b
"""

RESIDUAL = """
    INSERT INTO clearing_residualpair (operation_id, currency_id, payer_id, payee_id, left_minor)
    SELECT %s, %s, pair.*
    FROM unnest(%s::int[], %s::int[], %s::bigint[]) AS pair (payer_id, payee_id, left_minor)
    ORDER BY pair.payer_id, pair.payee_id
"""
