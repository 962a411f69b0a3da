"""
The digest of everything a clearing run touches, so that a rollback can prove itself.

Covered: the window as far as a run changes it, the run's frozen sets, pairs, results, residual and
positions, its batch of instructions with its reservations and ledger entries, and whether every account
concerned agrees with its entries and reservations. Not covered: what a run only adds to and never takes
back (events, the operation and its checkpoints), and balances as such, which other windows move at the
same time; a run's own part of them is its entries.
"""

import hashlib

from django.db import connection
from django.db.models import BigAutoField, Model

from clearing.models import (
    AtomicOperation,
    BilateralPosition,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
    ResidualPair,
)
from settlement.models import Reservation, SettlementInstruction

OF_OPERATION: tuple[type[Model], ...] = (
    FrozenSet,
    GrossPair,
    NettingResult,
    ResidualPair,
    MultilateralPosition,
    BilateralPosition,
)
OF_BATCH: tuple[type[Model], ...] = (SettlementInstruction, Reservation)


def of(operation: AtomicOperation) -> str:
    """
    Return the SHA-256 of the run's state, read in one statement: one snapshot.

    Per table it covers the number of rows and an order-free hash of them without their own keys.
    """
    with connection.cursor() as cursor:
        cursor.execute(STATE, {"operation": operation.pk, "window": operation.window_id})
        rows = cursor.fetchall()
    lines = [f"{name} {count} {content}" for name, count, content in rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _table(model: type[Model], owner: str) -> str:
    """Hash each row but a key that a sequence gave it; a tenth of what hashing its text takes."""
    columns = [
        str(field.column) for field in model._meta.concrete_fields if not isinstance(field, BigAutoField)
    ]
    table = model._meta.db_table
    return f"""
        SELECT '{table}', count(*), coalesce(bit_xor(hash_record_extended(ROW({", ".join(columns)}), 0)), 0)
        FROM {table} WHERE {owner} = %(operation)s
    """


# A window that is closed and one that is rolled back are the same to a run: neither is cleared.
STATE = " UNION ALL ".join(
    [
        """
        SELECT 'window ' || id || CASE WHEN status IN ('Closed', 'RolledBack') THEN ' uncleared'
                                       ELSE ' ' || status END, 1, 0::bigint
        FROM clearing_clearingwindow WHERE id = %(window)s
        """,
        *(_table(model, "operation_id") for model in OF_OPERATION),
        *(_table(model, "batch_id") for model in OF_BATCH),
        """
        SELECT 'ledger entries', count(*), coalesce(sum(entry.amount_minor * entry.account_id), 0)::bigint
        FROM settlement_ledgerentry entry
        JOIN settlement_posting posting ON posting.id = entry.posting_id
        WHERE posting.kind = 'Settlement' AND posting.reference = %(operation)s::text
        """,
        """
        SELECT 'accounts that disagree with their reservations', count(*), 0::bigint
        FROM settlement_settlementaccount account
        LEFT JOIN (
            SELECT account_id, sum(amount_minor) AS amount_minor FROM settlement_reservation GROUP BY 1
        ) held ON held.account_id = account.id
        WHERE account.reserved_minor <> coalesce(held.amount_minor, 0)
        """,
    ]
)
