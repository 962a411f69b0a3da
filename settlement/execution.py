"""Move the money of a batch on our own ledger."""

from datetime import datetime
from uuid import UUID

from django.db import connection, transaction


@transaction.atomic
def settle(batch_id: UUID, *, at: datetime) -> int:
    """
    Post every pending instruction of the batch, each as one balanced posting, and mark it Completed.

    All of it in one transaction: the batch settles as a whole or not at all. The reservations are
    consumed first, so the funds are there; the entries are written by one statement, so the agent,
    who receives and pays within it, ends where it began. May be repeated: a settled instruction is
    not pending, and its posting's key is its own.

    Returns:
        How many instructions were settled by this call.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK_ACCOUNTS, {"batch": batch_id})
        cursor.execute(LOCK_PENDING, {"batch": batch_id})
        pending = [row[0] for row in cursor.fetchall()]
        if not pending:
            return 0
        cursor.execute("DELETE FROM settlement_reservation WHERE batch_id = %s", [batch_id])
        cursor.execute(POST, {"pending": pending, "at": at})
        cursor.execute(ENTER, {"pending": pending})
        cursor.execute(COMPLETE, {"pending": pending, "at": at})
    return len(pending)


def lock_accounts(batch_id: UUID) -> None:
    """Lock every account of the batch's parties in key order, for who takes several steps with them."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_ACCOUNTS, {"batch": batch_id})


LOCK_ACCOUNTS = """
    SELECT FROM settlement_settlementaccount account
    WHERE EXISTS (
        SELECT FROM settlement_settlementinstruction instruction
        WHERE instruction.batch_id = %(batch)s
          AND instruction.currency_id = account.currency_id
          AND account.participant_id IN (instruction.payer_id, instruction.payee_id)
    )
    ORDER BY account.id
    FOR UPDATE
"""

LOCK_PENDING = """
    SELECT id FROM settlement_settlementinstruction
    WHERE batch_id = %(batch)s AND status = 'Pending'
    ORDER BY id
    FOR UPDATE
"""

POST = """
    INSERT INTO settlement_posting (id, kind, reference, posted_at)
    SELECT id, 'Settlement', batch_id::text, %(at)s
    FROM settlement_settlementinstruction
    WHERE id = ANY (%(pending)s)
"""

ENTER = """
    INSERT INTO settlement_ledgerentry (posting_id, account_id, amount_minor)
    SELECT instruction.id, account.id, side.amount_minor
    FROM settlement_settlementinstruction instruction
    CROSS JOIN LATERAL (VALUES
        (instruction.payer_id, -instruction.amount_minor),
        (instruction.payee_id, instruction.amount_minor)
    ) AS side (participant_id, amount_minor)
    JOIN settlement_settlementaccount account
      ON account.participant_id = side.participant_id
     AND account.currency_id = instruction.currency_id
    WHERE instruction.id = ANY (%(pending)s)
"""

COMPLETE = """
    UPDATE settlement_settlementinstruction
    SET status = 'Completed', settled_at = %(at)s
    WHERE id = ANY (%(pending)s)
"""
