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

from clearing.models import AtomicOperation

OF_OPERATION = (
    "clearing_frozenset",
    "clearing_grosspair",
    "clearing_nettingresult",
    "clearing_residualpair",
    "clearing_multilateralposition",
    "clearing_bilateralposition",
)
OF_BATCH = ("settlement_settlementinstruction", "settlement_reservation")


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


def _table(table: str, column: str) -> str:
    return f"""
        SELECT '{table}', count(*), coalesce(bit_xor(hashtextextended((to_jsonb(row_) - 'id')::text, 0)), 0)
        FROM {table} row_ WHERE {column} = %(operation)s
    """


# A window that is closed and one that is rolled back are the same to a run: neither is cleared.
STATE = " UNION ALL ".join(
    [
        """
        SELECT 'window ' || id || CASE WHEN status IN ('Closed', 'RolledBack') THEN ' uncleared'
                                       ELSE ' ' || status END, 1, 0::bigint
        FROM clearing_clearingwindow WHERE id = %(window)s
        """,
        *(_table(table, "operation_id") for table in OF_OPERATION),
        *(_table(table, "batch_id") for table in OF_BATCH),
        """
        SELECT 'ledger entries', count(*), coalesce(sum(entry.amount_minor * entry.account_id), 0)::bigint
        FROM settlement_ledgerentry entry
        JOIN settlement_posting posting ON posting.id = entry.posting_id
        WHERE posting.reference = %(operation)s::text
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
