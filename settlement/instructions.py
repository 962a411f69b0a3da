"""Issue a batch of settlement instructions, or withdraw it before anything was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from clearing_project.errors import Conflict
from settlement.accounts import AccountMissing
from settlement.states import InstructionType


class BatchUnderway(Conflict):
    """Money of the batch has moved or is moving; it is corrected by an opposite instruction."""

    code = "batch_underway"
    fields = ("batch_id",)
    message = "Batch {batch_id} is being settled or is settled; it can no longer be withdrawn."


@dataclass(frozen=True, slots=True)
class Leg:
    """One order: *payer* pays *payee* so many minor units; parties and currency by key."""

    currency_id: int
    payer_id: int
    payee_id: int
    amount_minor: int


@transaction.atomic
def issue(
    batch_id: UUID,
    legs: Sequence[Leg],
    *,
    instruction_type: InstructionType,
    priority: int = 0,
    deadline_at: datetime | None = None,
) -> int:
    """
    Write the batch in one statement, in the order of *legs*; issuing it again adds nothing.

    Returns:
        How many instructions were written.

    Raises:
        AccountMissing: a party has no account in the currency; nothing is written.
    """
    columns = [
        [leg.currency_id for leg in legs],
        [leg.payer_id for leg in legs],
        [leg.payee_id for leg in legs],
        [leg.amount_minor for leg in legs],
    ]
    with connection.cursor() as cursor:
        cursor.execute(OPEN_AGENT_ACCOUNTS, [columns[0]])
        cursor.execute(MISSING_ACCOUNT, columns[:3])
        missing = cursor.fetchone()
        if missing:
            raise AccountMissing(*missing)
        cursor.execute(ISSUE, [batch_id, instruction_type.value, priority, deadline_at, *columns])
        return int(cursor.rowcount)


def withdraw(batch_id: UUID) -> None:
    """
    Delete the batch's instructions, with what was planned and said outside of them; none may have been sent.

    Nothing there, nothing done.

    Raises:
        BatchUnderway
    """
    with connection.cursor() as cursor:
        cursor.execute(WITHDRAW, {"batch": batch_id})
        (underway,) = cursor.fetchone()
    if underway:
        raise BatchUnderway(str(batch_id))


# One statement: what is not Pending when its lock is had keeps the whole batch.
WITHDRAW = """
    WITH batch AS MATERIALIZED (
        SELECT id, status FROM settlement_settlementinstruction
        WHERE batch_id = %(batch)s ORDER BY id FOR UPDATE
    ), underway AS MATERIALIZED (
        SELECT count(*) AS instructions FROM batch WHERE status <> 'Pending'
    ), planned AS (
        DELETE FROM settlement_execution
        WHERE batch_id = %(batch)s AND (SELECT instructions FROM underway) = 0
    ), evaluated AS (
        DELETE FROM settlement_riskverdict
        WHERE batch_id = %(batch)s AND (SELECT instructions FROM underway) = 0
    ), gone AS (
        DELETE FROM settlement_settlementinstruction
        WHERE batch_id = %(batch)s AND (SELECT instructions FROM underway) = 0
    )
    SELECT instructions FROM underway
"""

OPEN_AGENT_ACCOUNTS = """
    INSERT INTO settlement_settlementaccount (participant_id, currency_id)
    SELECT DISTINCT participant.id, leg.currency_id
    FROM unnest(%s::smallint[]) AS leg (currency_id)
    CROSS JOIN settlement_participant participant
    WHERE participant.kind = 'Agent'
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
"""

# The missing are found first and named afterwards: joined in one go, the plan loops over every party.
MISSING_ACCOUNT = """
    WITH party AS (
        SELECT DISTINCT currency_id, unnest(ARRAY[payer_id, payee_id]) AS participant_id
        FROM unnest(%s::smallint[], %s::int[], %s::int[]) AS leg (currency_id, payer_id, payee_id)
    ), missing AS MATERIALIZED (
        SELECT currency_id, participant_id FROM party
        EXCEPT
        SELECT currency_id, participant_id FROM settlement_settlementaccount
    )
    SELECT participant.code, currency.code
    FROM missing
    JOIN settlement_participant participant ON participant.id = missing.participant_id
    JOIN settlement_currency currency ON currency.id = missing.currency_id
    ORDER BY participant.code, currency.code
    LIMIT 1
"""

ISSUE = """
    INSERT INTO settlement_settlementinstruction
        (id, batch_id, instruction_type, priority, deadline_at, status,
         currency_id, payer_id, payee_id, amount_minor)
    SELECT gen_random_uuid(), %s, %s, %s, %s, 'Pending', leg.*
    FROM unnest(%s::smallint[], %s::int[], %s::int[], %s::bigint[])
         AS leg (currency_id, payer_id, payee_id, amount_minor)
    ON CONFLICT (batch_id, currency_id, payer_id, payee_id) DO NOTHING
"""
