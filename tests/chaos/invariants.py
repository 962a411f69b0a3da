"""
What must be true of the tables: at every commit, and once nothing is under way any more.

Plain SQL over the whole database, past the engine's own code. Each statement selects offenders; none may be
found. Used by the chaos driver after each run, and by the state machine after each rule.
"""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from tests.chaos.rest import AT_REST, DEPLOYED

Accepted = Mapping[
    str, tuple[int, int]
]  # count and sum in minor units by currency, as the intake accepted them

OF_OPERATION = (
    "clearing_frozenset",
    "clearing_grosspair",
    "clearing_nettingresult",
    "clearing_residualpair",
    "clearing_multilateralposition",
    "clearing_bilateralposition",
)
OF_BATCH = (
    "settlement_settlementinstruction",
    "settlement_reservation",
    "settlement_execution",
    "settlement_riskverdict",
)

_RUN = "operation.operation_type = 'WindowClearing'"
_LEFT = " UNION ALL ".join(
    [
        *(
            f"SELECT '{table}', operation.id FROM clearing_atomicoperation operation"
            f" JOIN {table} kept ON kept.{column} = operation.id"
            f" WHERE {_RUN} AND operation.status IN ('RolledBack', 'Failed')"
            for column, tables in (("operation_id", OF_OPERATION), ("batch_id", OF_BATCH))
            for table in tables
        ),
        "SELECT 'posting', operation.id FROM clearing_atomicoperation operation"
        " JOIN settlement_posting posting ON posting.reference = operation.id::text"
        f" WHERE {_RUN} AND operation.final_at IS NULL",
    ]
)

COUNTERS = "a limit's counter differs from the sum of its window's rows"
ALWAYS = {
    "positions of a currency do not sum to zero": """
        SELECT operation_id, currency_id, sum(net_minor) FROM clearing_multilateralposition
        GROUP BY 1, 2 HAVING sum(net_minor) <> 0
    """,
    "a run without effect left rows": _LEFT,
    "a rolled-back run does not prove itself": f"""
        SELECT id, digest_before, digest_after FROM clearing_atomicoperation operation
        WHERE {_RUN} AND status = 'RolledBack' AND digest_before <> digest_after
    """,
    "a rolled-back run has a checkpoint that is not undone": """
        SELECT operation.id, checkpoint.name, checkpoint.status FROM clearing_atomicoperation operation
        JOIN clearing_checkpoint checkpoint ON checkpoint.operation_id = operation.id
        WHERE operation.status = 'RolledBack' AND checkpoint.status NOT IN ('Planned', 'Undone')
    """,
    "a rolled-back run has a child that is not": """
        SELECT parent.id, child.operation_type, child.status FROM clearing_atomicoperation child
        JOIN clearing_atomicoperation parent ON parent.id = child.parent_id
        WHERE parent.status = 'RolledBack' AND child.status <> 'RolledBack'
    """,
    "instructions or reservations of no run": f"""
        SELECT batch_id FROM (
            SELECT batch_id FROM settlement_settlementinstruction
            UNION SELECT batch_id FROM settlement_reservation
        ) batch WHERE NOT EXISTS (
            SELECT FROM clearing_atomicoperation operation
            WHERE ({_RUN} OR operation.operation_type = 'Correction' AND operation.status = 'Committed')
              AND operation.id = batch_id
        )
    """,
    "a correction is not the opposite of one settled instruction, or not the only one": """
        SELECT correction.id, correction.corrects_id FROM settlement_settlementinstruction correction
        LEFT JOIN settlement_settlementinstruction original ON original.id = correction.corrects_id
        WHERE correction.corrects_id IS NOT NULL AND (
            (original.status, correction.status, original.corrects_id IS NULL)
                IS DISTINCT FROM ('Completed', 'Completed', true)
            OR (original.payer_id, original.payee_id, original.currency_id, original.amount_minor)
                IS DISTINCT FROM
                (correction.payee_id, correction.payer_id, correction.currency_id, correction.amount_minor)
            OR EXISTS (SELECT FROM settlement_settlementinstruction twin
                       WHERE twin.corrects_id = correction.corrects_id AND twin.id <> correction.id))
    """,
    "a correction has other instructions than corrections, or of another window": """
        SELECT operation.id, instruction.id FROM clearing_atomicoperation operation
        LEFT JOIN settlement_settlementinstruction instruction ON instruction.batch_id = operation.id
        LEFT JOIN settlement_settlementinstruction original ON original.id = instruction.corrects_id
        LEFT JOIN clearing_atomicoperation run
          ON run.id = original.batch_id AND run.operation_type = 'WindowClearing'
        WHERE operation.operation_type = 'Correction'
          AND CASE operation.status WHEN 'Committed' THEN run.window_id IS DISTINCT FROM operation.window_id
              ELSE operation.status <> 'Failed' OR instruction.id IS NOT NULL END
    """,
    "a failed rollback has no alarm": f"""
        SELECT operation.id FROM clearing_atomicoperation operation
        WHERE {_RUN} AND operation.status = 'RollbackFailed' AND NOT EXISTS (
            SELECT FROM clearing_windowevent event
            WHERE event.window_id = operation.window_id AND event.event_type = 'RollbackFailed'
              AND event.data ->> 'operation_id' = operation.id::text)
    """,
    "a posting is not balanced": """
        SELECT posting.id, account.currency_id, sum(entry.amount_minor) FROM settlement_posting posting
        LEFT JOIN settlement_ledgerentry entry ON entry.posting_id = posting.id
        LEFT JOIN settlement_settlementaccount account ON account.id = entry.account_id
        GROUP BY 1, 2 HAVING sum(entry.amount_minor) IS DISTINCT FROM 0
    """,
    "an account disagrees with its entries": """
        SELECT account.id, account.balance_minor, sum(entry.amount_minor)
        FROM settlement_settlementaccount account
        LEFT JOIN settlement_ledgerentry entry ON entry.account_id = account.id
        GROUP BY account.id HAVING account.balance_minor <> coalesce(sum(entry.amount_minor), 0)
    """,
    "an account disagrees with its reservations": """
        SELECT account.id, account.reserved_minor, sum(held.amount_minor)
        FROM settlement_settlementaccount account
        LEFT JOIN settlement_reservation held ON held.account_id = account.id
        GROUP BY account.id HAVING account.reserved_minor <> coalesce(sum(held.amount_minor), 0)
    """,
    "members, and the agent for what is on its way, do not hold what was funded": """
        SELECT account.currency_id, funded,
               sum(account.balance_minor) FILTER (WHERE participant.kind IN ('Member', 'Agent')) AS held
        FROM settlement_settlementaccount account
        JOIN settlement_participant participant ON participant.id = account.participant_id
        LEFT JOIN (
            SELECT account.currency_id, sum(entry.amount_minor) AS funded FROM settlement_ledgerentry entry
            JOIN settlement_posting posting ON posting.id = entry.posting_id AND posting.kind = 'Funding'
            JOIN settlement_settlementaccount account ON account.id = entry.account_id
            WHERE entry.amount_minor > 0 GROUP BY 1
        ) funding ON funding.currency_id = account.currency_id
        GROUP BY account.currency_id, funded
        HAVING coalesce(sum(account.balance_minor) FILTER (WHERE participant.kind IN ('Member', 'Agent')), 0)
               <> coalesce(funded, 0)
    """,
    "the agent keeps money, or has other than what windows that settle have on its way": """
        SELECT account.id, account.balance_minor, account.reserved_minor, under_way.amount_minor
        FROM settlement_settlementaccount account
        JOIN settlement_participant participant ON participant.id = account.participant_id
        LEFT JOIN (
            SELECT entry.account_id, sum(entry.amount_minor) AS amount_minor
            FROM clearing_clearingwindow each
            JOIN clearing_atomicoperation operation ON operation.window_id = each.id
            JOIN settlement_posting posting ON posting.reference = operation.id::text
            JOIN settlement_ledgerentry entry ON entry.posting_id = posting.id
            WHERE each.status = 'Settling' GROUP BY 1
        ) under_way ON under_way.account_id = account.id
        WHERE participant.kind = 'Agent'
          AND (account.balance_minor, account.reserved_minor) <> (coalesce(under_way.amount_minor, 0), 0)
    """,
    "an instruction and its posting disagree": """
        SELECT instruction.id, instruction.status, posting.id
        FROM settlement_settlementinstruction instruction
        FULL JOIN (SELECT id FROM settlement_posting WHERE kind = 'Settlement') posting
          ON posting.id = instruction.id
        WHERE (instruction.status = 'Completed') IS DISTINCT FROM (posting.id IS NOT NULL)
    """,
    "an instruction that an engine executes has other standing than its executions": """
        SELECT instruction.id, instruction.status, array_agg(execution.status ORDER BY attempt)
        FROM settlement_settlementinstruction instruction
        JOIN settlement_execution execution ON execution.instruction_id = instruction.id
        GROUP BY instruction.id
        HAVING (instruction.status = 'Completed') <> bool_or(execution.status = 'Completed')
            OR (instruction.status = 'Failed') <> bool_and(execution.status = 'Failed')
            OR (instruction.status = 'Pending' AND bool_or(execution.sends > 0))
            OR count(*) FILTER (WHERE execution.status = 'Completed') > 1
    """,
    "an instruction was sent or settled that risk has not approved": """
        SELECT instruction.id, instruction.status, verdict.status
        FROM settlement_settlementinstruction instruction
        JOIN settlement_riskverdict verdict ON verdict.instruction_id = instruction.id
        WHERE instruction.status <> 'Pending' AND verdict.status <> 'Approved'
    """,
    "an instruction moved another amount, or moved twice": """
        SELECT instruction.id FROM settlement_settlementinstruction instruction
        JOIN settlement_ledgerentry entry ON entry.posting_id = instruction.id
        JOIN settlement_settlementaccount account ON account.id = entry.account_id
        GROUP BY instruction.id
        HAVING array_agg((account.participant_id, account.currency_id, entry.amount_minor)
                         ORDER BY entry.amount_minor)
            <> ARRAY[(instruction.payer_id, instruction.currency_id, -instruction.amount_minor),
                     (instruction.payee_id, instruction.currency_id, instruction.amount_minor)]
    """,
    "a window and its runs disagree": f"""
        SELECT id, status, runs FROM (
            SELECT each.id, each.status,
                   array_agg(operation.status || CASE WHEN final_at IS NULL THEN '' ELSE '!' END)
                       FILTER (WHERE operation.status NOT IN ('RolledBack', 'Failed')) AS runs
            FROM clearing_clearingwindow each
            LEFT JOIN clearing_atomicoperation operation ON operation.window_id = each.id AND {_RUN}
            GROUP BY each.id
        ) seen
        WHERE (status IN ('Completed', 'Settling') AND runs IS DISTINCT FROM ARRAY['Committed!'])
           OR (status = 'Failed' AND runs IS NOT NULL)
           OR (status IN ('Scheduled', 'Open', 'Closing') AND runs IS NOT NULL)
           OR (status IN ('Closed', 'RolledBack') AND runs && ARRAY['Committed', 'Committed!'])
           OR (status = 'Processing' AND runs IS NULL)
    """,
    "a completed window has an instruction that is not": f"""
        SELECT each.id, instruction.id FROM clearing_clearingwindow each
        JOIN clearing_atomicoperation operation ON operation.window_id = each.id AND {_RUN}
        JOIN settlement_settlementinstruction instruction ON instruction.batch_id = operation.id
        WHERE each.status = 'Completed' AND instruction.status <> 'Completed'
    """,
    "a completed window moved other money than its obligations say": f"""
        WITH run AS (
            SELECT operation.id, each.id AS window_id FROM clearing_clearingwindow each
            JOIN clearing_atomicoperation operation ON operation.window_id = each.id AND {_RUN}
            WHERE each.status = 'Completed' AND operation.status = 'Committed'
        ), owed AS (
            SELECT run.id, side.participant_id, obligation.currency_id, sum(side.amount_minor) AS net_minor
            FROM run JOIN clearing_obligation obligation ON obligation.window_id = run.window_id
            CROSS JOIN LATERAL (VALUES (payer_id, -amount_minor), (payee_id, amount_minor))
                AS side (participant_id, amount_minor)
            GROUP BY 1, 2, 3
        ), position AS (
            SELECT run.id, participant_id, currency_id, net_minor
            FROM run JOIN clearing_multilateralposition ON operation_id = run.id
        ), moved AS (
            SELECT run.id, account.participant_id, account.currency_id, sum(entry.amount_minor) AS net_minor
            FROM run JOIN settlement_posting posting ON posting.reference = run.id::text
            JOIN settlement_ledgerentry entry ON entry.posting_id = posting.id
            JOIN settlement_settlementaccount account ON account.id = entry.account_id
            GROUP BY 1, 2, 3
        )
        SELECT id, participant_id, currency_id, owed.net_minor, position.net_minor, moved.net_minor
        FROM owed FULL JOIN position USING (id, participant_id, currency_id)
        FULL JOIN moved USING (id, participant_id, currency_id)
        WHERE coalesce(owed.net_minor, 0) <> coalesce(position.net_minor, 0)
           OR coalesce(owed.net_minor, 0) <> coalesce(moved.net_minor, 0)
    """,
    "an obligation and its key disagree": """
        SELECT obligation.id, known.obligation_id, obligation.window_id, known.window_id
        FROM (
            SELECT id, key, window_id FROM clearing_obligation
            UNION ALL SELECT id, key, NULL FROM clearing_setaside
        ) obligation FULL JOIN clearing_obligationkey known
          ON known.key = obligation.key AND known.obligation_id = obligation.id
         AND coalesce(known.window_id, 0) = coalesce(obligation.window_id, 0)
        WHERE obligation.id IS NULL OR known.key IS NULL
    """,
    COUNTERS: """
        WITH owed AS (
            SELECT window_id, payer_id AS participant_id, payee_id AS other_id, currency_id, amount_minor
            FROM clearing_obligation
            UNION ALL
            SELECT window_id, payee_id, payer_id, currency_id, -amount_minor FROM clearing_obligation
        ), true_sum AS (
            SELECT window_id, limit_id, sum(owed.amount_minor) AS amount_minor
            FROM clearing_limitcounter
            JOIN clearing_limit held ON held.id = limit_id
            JOIN owed USING (window_id, participant_id, currency_id)
            WHERE held.counterparty_id IS NULL OR held.counterparty_id = owed.other_id GROUP BY 1, 2
        ), counted AS (
            SELECT window_id, limit_id, sum(amount_minor) AS amount_minor
            FROM clearing_limitcount GROUP BY 1, 2
        )
        SELECT window_id, limit_id, counted.amount_minor, true_sum.amount_minor
        FROM counted FULL JOIN true_sum USING (window_id, limit_id)
        WHERE coalesce(counted.amount_minor, 0) <> coalesce(true_sum.amount_minor, 0)
    """,
    "a window that accepts no more is still counted along": """
        SELECT each.id, each.status FROM clearing_clearingwindow each
        WHERE each.status NOT IN ('Open', 'Closing') AND (
            EXISTS (SELECT FROM clearing_limitcounter counter WHERE counter.window_id = each.id)
            OR EXISTS (SELECT FROM clearing_limitcount part WHERE part.window_id = each.id))
    """,
    "a closed window holds more than it may": """
        SELECT each.id, each.max_obligations, count(*) FROM clearing_clearingwindow each
        JOIN clearing_obligation obligation ON obligation.window_id = each.id
        WHERE each.status NOT IN ('Open', 'Closing') GROUP BY each.id HAVING count(*) > each.max_obligations
    """,
    "a window that was given up keeps obligations": """
        SELECT each.id, obligation.id FROM clearing_clearingwindow each
        JOIN clearing_obligation obligation ON obligation.window_id = each.id
        WHERE each.status = 'Failed'
    """,
    "a window's events have a gap or a double": """
        SELECT each.id, each.event_count, array_agg(event.sequence ORDER BY event.sequence)
        FROM clearing_clearingwindow each
        LEFT JOIN clearing_windowevent event ON event.window_id = each.id
        GROUP BY each.id
        HAVING (count(event.id), coalesce(max(event.sequence), 0), coalesce(min(event.sequence), 1))
            <> (each.event_count, each.event_count, 1)
    """,
    "a window's events tell another story than its runs": f"""
        SELECT each.id, each.status, told.*, done.* FROM clearing_clearingwindow each
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE event_type = 'Completed') AS completed,
                   count(*) FILTER (WHERE event_type = 'Failed') AS failed,
                   count(*) FILTER (WHERE event_type = 'Corrected') AS corrected,
                   count(*) FILTER (WHERE event_type = 'RolledBack') AS rolled_back,
                   count(*) FILTER (WHERE event_type = 'Processing') AS processing
            FROM clearing_windowevent event WHERE event.window_id = each.id
        ) told
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE checkpoint.status = 'Undone' AND applied_at IS NOT NULL) AS undone,
                   count(*) FILTER (WHERE applied_at IS NOT NULL) AS taken,
                   (SELECT count(*) FROM clearing_atomicoperation correction
                    WHERE correction.window_id = each.id AND correction.operation_type = 'Correction'
                      AND correction.status = 'Committed') AS corrections
            FROM clearing_atomicoperation operation
            JOIN clearing_checkpoint checkpoint ON checkpoint.operation_id = operation.id
            WHERE operation.window_id = each.id AND {_RUN} AND checkpoint.position = 1
        ) done
        WHERE (told.completed, told.failed)
              <> ((each.status = 'Completed')::int, (each.status = 'Failed')::int)
           OR (told.rolled_back, told.processing, told.corrected)
              <> (done.undone, done.taken, done.corrections)
    """,
}

SHOWN_MAX = 3


def broken(accepted: Accepted | None = None) -> list[str]:
    """
    Say what is not true although it must be at every commit.

    Args:
        accepted: what the intake accepted in all, cancelled since or not; None leaves the sums unchecked.
    """
    found = _offenders(ALWAYS)
    if accepted is not None:
        counted = {code: (count, total) for code, count, total in _rows(EVERYWHERE)}
        if counted != dict(accepted):
            found.append(f"windows and those set aside hold {counted}, accepted were {dict(accepted)}")
    return found


def unrest(*, deployed: bool = True) -> list[str]:
    """
    Say what is still under way; nothing may be once faults have stopped and recovery has had its time.

    Args:
        deployed: whether a tick and a relay are at work, so that their work must be done as well.
    """
    return _offenders({**AT_REST, **(DEPLOYED if deployed else {})})


def endings() -> dict[int, str]:
    """Return the status of each window that is past its intake."""
    return dict(
        _rows("SELECT id, status FROM clearing_clearingwindow WHERE status NOT IN ('Scheduled', 'Open')")
    )


def _offenders(statements: Mapping[str, str]) -> list[str]:
    found = []
    for claim, statement in statements.items():
        rows = _rows(statement)
        if rows:
            shown = "; ".join(str(tuple(map(str, row))) for row in rows[:SHOWN_MAX])
            found.append(f"{claim}: {len(rows)}, such as {shown}")
    return found


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


EVERYWHERE = """
    SELECT currency.code, count(*), sum(amount_minor)::bigint FROM (
        SELECT currency_id, amount_minor FROM clearing_obligation
        UNION ALL SELECT currency_id, amount_minor FROM clearing_setaside
    ) taken JOIN settlement_currency currency ON currency.id = currency_id GROUP BY 1
"""
