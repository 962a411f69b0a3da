"""
Count along what limited participants owe net in a window, so that holding a limit costs the same at any size.

PostgreSQL counts: triggers on the window's partition write, with every statement that brings or takes rows,
what it changes for each counter. They write rows of their own and wait for nobody; the sum of a counter's
rows is the sum of the window's, in any snapshot. Where nobody has a limit there are no such triggers.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from clearing import partitions
from clearing.models import ClearingWindow
from clearing.states import WindowStatus

logger = logging.getLogger(__name__)

LOCK_WAIT_MS = 500  # less than PostgreSQL takes to look for a deadlock
SURPLUS_MAX = 200  # rows beyond one a pair that a counter may have before they are folded
TRIGGERS = (("INSERT", "NEW", "brought_is_counted"), ("DELETE", "OLD", "taken_is_counted"))


class Side(NamedTuple):
    """A participant in one currency."""

    participant_id: int
    currency_id: int


Owed = dict[int, int]  # what a side owes net, in minor units, by counterparty


def is_missing(window_id: int) -> bool:
    """Whether somebody with a limit is not counted along in the window."""
    with connection.cursor() as cursor:
        cursor.execute(MISSING, [window_id])
        return bool(cursor.fetchone()[0])


def begin(window_id: int) -> bool:
    """
    Count everybody along who has a limit, from what the window holds; nobody writes to it meanwhile.

    Returns:
        Whether it was done; False: the window accepts no more, or a writer was in it for too long. As long
        as it is not, limits are held by adding up the window's rows.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            partitions.pass_gate(window_id)
            if not ClearingWindow.objects.filter(pk=window_id, status=WindowStatus.OPEN).exists():
                return False
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            start(window_id)
    except OperationalError as busy:
        if not isinstance(busy.__cause__, LockNotAvailable):
            raise
        logger.info("window %s: limits are not counted along yet, a writer is in it", window_id)
        return False
    return True


def start(window_id: int) -> None:
    """
    Begin to count; from here on nobody else writes to the window before this transaction ends.

    Making a trigger waits for whoever wrote to the partition: what is added up afterwards is all there is.
    """
    if not is_missing(window_id):
        return
    table = partitions.name(window_id)
    with connection.cursor() as cursor:
        for act, rows, trigger in TRIGGERS:
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER {trigger} AFTER {act} ON {table}"
                f" REFERENCING {rows} TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION count_for_limits()"
            )
        cursor.execute(START, [window_id])
        begun = [Side(*row) for row in cursor.fetchall()]
        cursor.execute(
            TAKE_OVER.format(table=table),
            [window_id, [side.participant_id for side in begun], [side.currency_id for side in begun]],
        )


def end(window_id: int) -> None:
    """Forget the counters of a window that accepts no more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM clearing_limitcount WHERE window_id = %s", [window_id])
        cursor.execute("DELETE FROM clearing_limitcounter WHERE window_id = %s", [window_id])


def owed(window_id: int, sides: Iterable[Side]) -> dict[Side, Owed]:
    """
    Return what each of these sides owes net in the window, by counterparty.

    Counters answer in 1 ms; for a side that is not counted yet the window's rows are added up. A counter of
    too many rows is folded on the way.
    """
    asked = set(sides)
    found: dict[Side, Owed] = {}
    surplus: dict[int, int] = defaultdict(int)
    parties = sorted({side.participant_id for side in asked})
    with connection.cursor() as cursor:
        cursor.execute(COUNTED, [window_id, parties])
        for participant_id, currency_id, counterparty_id, amount_minor, rows in cursor.fetchall():
            counted = found.setdefault(Side(participant_id, currency_id), {})
            if counterparty_id is not None:
                counted[counterparty_id] = int(amount_minor)
                surplus[participant_id] += rows - 1
    fold(window_id, [party for party, rows in surplus.items() if rows > SURPLUS_MAX])
    uncounted = {side.participant_id for side in asked - found.keys()}
    added_up = _add_up(window_id, uncounted) if uncounted else {}
    return {side: found[side] if side in found else added_up.get(side, {}) for side in asked}


def fold(window_id: int, parties: Collection[int]) -> None:
    """Make one row a pair of many; a row that somebody else folds is left to him."""
    if parties:
        with connection.cursor() as cursor:
            cursor.execute(FOLD, [window_id, list(parties)])


def fold_long(window_id: int) -> None:
    """Fold every counter that has grown long: of those who are owed much and send nothing themselves."""
    with connection.cursor() as cursor:
        cursor.execute(LONG, [window_id, SURPLUS_MAX])
        long = [participant_id for (participant_id,) in cursor.fetchall()]
    fold(window_id, long)


def _add_up(window_id: int, parties: Collection[int]) -> dict[Side, Owed]:
    """Add up the window's rows: one pass over the partition."""
    totals: dict[Side, Owed] = defaultdict(lambda: defaultdict(int))
    with connection.cursor() as cursor:
        cursor.execute(ROWS.format(table=partitions.name(window_id)), [list(parties)] * 2)
        for currency_id, payer_id, payee_id, amount_minor in cursor.fetchall():
            totals[Side(payer_id, currency_id)][payee_id] += int(amount_minor)
            totals[Side(payee_id, currency_id)][payer_id] -= int(amount_minor)
    return totals


MISSING = """
    SELECT EXISTS (
        SELECT FROM clearing_limit held WHERE held.is_active AND NOT EXISTS (
            SELECT FROM clearing_limitcounter counter
            WHERE counter.window_id = %s AND counter.participant_id = held.participant_id
              AND counter.currency_id = held.currency_id))
"""

START = """
    INSERT INTO clearing_limitcounter (window_id, participant_id, currency_id)
    SELECT DISTINCT %s::bigint, participant_id, currency_id FROM clearing_limit WHERE is_active
    ON CONFLICT DO NOTHING RETURNING participant_id, currency_id
"""

TAKE_OVER = """
    INSERT INTO clearing_limitcount (window_id, participant_id, counterparty_id, currency_id, amount_minor)
    SELECT %s, side.participant_id, owed.other_id, side.currency_id, sum(owed.amount_minor)
    FROM unnest(%s::int[], %s::smallint[]) AS side (participant_id, currency_id)
    JOIN (SELECT payer_id AS party_id, payee_id AS other_id, currency_id, amount_minor FROM {table}
          UNION ALL
          SELECT payee_id, payer_id, currency_id, -amount_minor FROM {table}) owed
      ON owed.party_id = side.participant_id AND owed.currency_id = side.currency_id
    GROUP BY 1, 2, 3, 4
"""

COUNTED = """
    SELECT participant_id, currency_id, counterparty_id, sum(amount_minor), count(*)
    FROM clearing_limitcounter
    LEFT JOIN clearing_limitcount USING (window_id, participant_id, currency_id)
    WHERE window_id = %s AND participant_id = ANY (%s) GROUP BY 1, 2, 3
"""

# One statement: what it deletes is what it adds up, whatever comes meanwhile.
FOLD = """
    WITH chosen AS MATERIALIZED (
        SELECT id FROM clearing_limitcount WHERE window_id = %s AND participant_id = ANY (%s)
        ORDER BY id FOR UPDATE SKIP LOCKED
    ), folded AS (
        DELETE FROM clearing_limitcount count USING chosen WHERE count.id = chosen.id RETURNING count.*
    )
    INSERT INTO clearing_limitcount (window_id, participant_id, counterparty_id, currency_id, amount_minor)
    SELECT window_id, participant_id, counterparty_id, currency_id, sum(amount_minor) FROM folded
    GROUP BY 1, 2, 3, 4
"""

LONG = """
    SELECT participant_id FROM clearing_limitcount WHERE window_id = %s GROUP BY participant_id
    HAVING count(*) - count(DISTINCT (counterparty_id, currency_id)) > %s
"""

ROWS = """
    SELECT currency_id, payer_id, payee_id, sum(amount_minor) FROM {table}
    WHERE payer_id = ANY (%s) OR payee_id = ANY (%s) GROUP BY 1, 2, 3
"""
