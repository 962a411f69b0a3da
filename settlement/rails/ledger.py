"""Our own ledger: settle a batch on it, or let it follow what an outside engine has executed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from settlement.models import Reservation


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


def post(instruction_ids: Sequence[UUID], *, at: datetime) -> None:
    """
    Post instructions that were executed outside, and mark them Completed; part of a batch or all of it.

    What was reserved for them is consumed, what was reserved for the rest of the batch stays. Nobody here
    could refuse any more, so the reservation for such a batch is gross: each payer's part of it covers
    every order of confirmations.
    """
    assert connection.in_atomic_block, "posted with the confirmation, or not at all"
    chosen: dict[str, Any] = {"pending": list(instruction_ids), "at": at}
    with connection.cursor() as cursor:
        cursor.execute(LOCK_PARTIES, chosen)
        cursor.execute(CONSUME, chosen)
        left = [
            Reservation(batch_id=row[0], account_id=row[1], amount_minor=row[2]) for row in cursor.fetchall()
        ]
        assert all(row.amount_minor >= 0 for row in left), "more was executed than was reserved"
        Reservation.objects.bulk_create([row for row in left if row.amount_minor])
        cursor.execute(POST, chosen)
        cursor.execute(ENTER, chosen)
        cursor.execute(COMPLETE, chosen)
        assert cursor.rowcount == len(instruction_ids), "an instruction was completed before"


LOCK_PARTIES = """
    SELECT FROM settlement_settlementaccount account
    WHERE EXISTS (
        SELECT FROM settlement_settlementinstruction instruction
        WHERE instruction.id = ANY (%(pending)s)
          AND instruction.currency_id = account.currency_id
          AND account.participant_id IN (instruction.payer_id, instruction.payee_id)
    )
    ORDER BY account.id
    FOR UPDATE
"""

# The agent has no reservation: it pays out what has been paid in.
CONSUME = """
    DELETE FROM settlement_reservation reservation
    USING (
        SELECT instruction.batch_id, account.id AS account_id, sum(instruction.amount_minor) AS amount_minor
        FROM settlement_settlementinstruction instruction
        JOIN settlement_settlementaccount account
          ON account.participant_id = instruction.payer_id AND account.currency_id = instruction.currency_id
        WHERE instruction.id = ANY (%(pending)s)
        GROUP BY 1, 2
    ) paid
    WHERE reservation.batch_id = paid.batch_id AND reservation.account_id = paid.account_id
    RETURNING reservation.batch_id, reservation.account_id,
              (reservation.amount_minor - paid.amount_minor)::bigint
"""

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
