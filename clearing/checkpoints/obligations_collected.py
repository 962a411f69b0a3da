"""Freeze the window's obligations for this operation, and add them up by pair in the same pass."""

from datetime import datetime

from django.db import DataError, IntegrityError, connection

from clearing import partitions, weights
from clearing.models import AtomicOperation
from clearing.states import WindowStatus
from clearing_project.errors import Conflict

NAME = "obligations_collected"


class SumOverflow(Conflict):
    """The obligations of a currency add up to more than 2^63-1 minor units."""

    code = "sum_overflow"
    fields = ("window_id",)
    message = "Obligations of window {window_id} add up to more than a 64-bit amount holds."


class UnknownReference(Conflict):
    """An obligation names a party or a currency that is not in the directory."""

    code = "unknown_reference"
    fields = ("window_id", "payer_id", "payee_id", "currency_id")
    message = "Window {window_id} holds obligations of {payer_id} to {payee_id} in {currency_id}: unknown."


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """
    Record count, sum and hash per currency, and the sums per pair: one pass over the partition.

    The window is sealed since its close, so what is read here is what every later step is about.

    Raises:
        SumOverflow, UnknownReference, ObligationTooOld
    """
    window = operation.window
    assert window.status == WindowStatus.PROCESSING, "collected before its window was taken"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '256MB'")
        weight = weights.expression(window)
        freeze = FREEZE.format(
            partition=partitions.name(window.pk),
            weight=weight or 1,
            seed=weight or 0,
            group="currency_id, payer_id, payee_id" + (", weight" if weight else ""),
        )
        try:
            cursor.execute(freeze, {"operation": operation.pk})
        except DataError as overflow:
            raise SumOverflow(window.pk) from overflow
        except IntegrityError as broken:
            if "gross_pair_weight" not in str(broken):
                raise
            raise weights.ObligationTooOld(window.pk) from broken
        cursor.execute(UNKNOWN, [operation.pk])
        unknown = cursor.fetchone()
        if unknown:
            raise UnknownReference(window.pk, *unknown)


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Forget the freeze. The seal stays: the window does not reopen."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, {"operation": operation.pk})


# The hash of a row chains its key, parties and amount, and its weight where rows are weighed; xor makes the
# set's hash free of order.
FREEZE = """
    WITH pair AS MATERIALIZED (
        SELECT currency_id, payer_id, payee_id, {weight} AS weight,
               count(*) AS obligations_count,
               sum8(amount_minor) AS gross_minor,
               bit_xor(hashint8extended(amount_minor, hashint4extended(payer_id,
                       hashint4extended(payee_id, uuid_hash_extended(key, {seed}))))) AS content_hash
        FROM {partition}
        GROUP BY {group}
    ), stored AS (
        INSERT INTO clearing_grosspair
            (operation_id, currency_id, payer_id, payee_id, weight, obligations_count, gross_minor)
        SELECT %(operation)s, currency_id, payer_id, payee_id, weight, obligations_count, gross_minor
        FROM pair ORDER BY {group}
    )
    INSERT INTO clearing_frozenset
        (operation_id, currency_id, obligations_count, gross_minor, content_hash)
    SELECT %(operation)s, currency_id, sum8(obligations_count), sum8(gross_minor),
           bit_xor(content_hash)
    FROM pair GROUP BY currency_id ORDER BY currency_id
"""

FORGET = """
    WITH pairs AS (DELETE FROM clearing_grosspair WHERE operation_id = %(operation)s)
    DELETE FROM clearing_frozenset WHERE operation_id = %(operation)s
"""

# NOT IN, for a hash of the small tables: with joins a plan made before ANALYZE loops over them.
UNKNOWN = """
    SELECT payer_id, payee_id, currency_id
    FROM clearing_grosspair
    WHERE operation_id = %s
      AND (payer_id NOT IN (SELECT id FROM settlement_participant WHERE kind = 'Member')
           OR payee_id NOT IN (SELECT id FROM settlement_participant WHERE kind = 'Member')
           OR currency_id NOT IN (SELECT id FROM settlement_currency))
    ORDER BY 1, 2, 3
    LIMIT 1
"""
