"""
Count along what limited participants owe net in a window, so that holding a limit costs the same at any size.

PostgreSQL counts: triggers on the window's partition write, with every statement that brings or takes rows,
what it changes for each limit. They write rows of their own and wait for nobody; the sum of a counter's rows
is the sum of the window's, in any snapshot. Where nobody has a limit there are no such triggers.
"""

import logging
from collections.abc import Collection

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from clearing import partitions
from clearing.models import ClearingWindow
from clearing.states import WindowStatus

logger = logging.getLogger(__name__)

LOCK_WAIT_MS = 500  # less than PostgreSQL takes to look for a deadlock
ROWS_MAX = 200  # of one counter, before they are folded into one
TRIGGERS = (("INSERT", "NEW", "brought_is_counted"), ("DELETE", "OLD", "taken_is_counted"))


def is_missing(window_id: int) -> bool:
    """Whether a limit is not counted along in the window."""
    with connection.cursor() as cursor:
        cursor.execute(MISSING, [window_id])
        return bool(cursor.fetchone()[0])


def begin(window_id: int) -> bool:
    """
    Count every limit along, from what the window holds; nobody else writes to it meanwhile.

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
        begun = [limit_id for (limit_id,) in cursor.fetchall()]
        cursor.execute(TAKE_OVER.format(table=table), [window_id, begun])


def end(window_id: int) -> None:
    """Forget the counters of a window that accepts no more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM clearing_limitcount WHERE window_id = %s", [window_id])
        cursor.execute("DELETE FROM clearing_limitcounter WHERE window_id = %s", [window_id])


def owed(window_id: int, limit_ids: Collection[int]) -> dict[int, int]:
    """
    Return what counts towards each of these limits in the window: what is owed net, in minor units.

    A counter answers at the same price at any size, and is folded on the way if it has too many rows; for a
    limit that is not counted yet the window's rows are added up.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNTED, [window_id, list(limit_ids)])
        counted = cursor.fetchall()
    fold(window_id, [limit_id for limit_id, _, rows in counted if rows > ROWS_MAX])
    found = {limit_id: int(amount_minor) for limit_id, amount_minor, _ in counted}
    uncounted = [limit_id for limit_id in limit_ids if limit_id not in found]
    if uncounted:
        with connection.cursor() as cursor:
            cursor.execute(OWED.format(table=partitions.name(window_id)), [uncounted])
            added_up = dict(cursor.fetchall())
        found |= {limit_id: int(added_up.get(limit_id, 0)) for limit_id in uncounted}
    return found


def fold(window_id: int, limit_ids: Collection[int]) -> None:
    """Make one row a limit of many; a row that somebody else folds is left to him."""
    if limit_ids:
        with connection.cursor() as cursor:
            cursor.execute(FOLD, [window_id, list(limit_ids)])


def fold_long(window_id: int) -> None:
    """Fold every counter that has grown long: of those who are owed much and send nothing themselves."""
    with connection.cursor() as cursor:
        cursor.execute(LONG, [window_id, ROWS_MAX])
        long = [limit_id for (limit_id,) in cursor.fetchall()]
    fold(window_id, long)


MISSING = """
    SELECT EXISTS (
        SELECT FROM clearing_limit held WHERE held.is_active AND NOT EXISTS (
            SELECT FROM clearing_limitcounter counter
            WHERE counter.window_id = %s AND counter.limit_id = held.id))
"""

START = """
    INSERT INTO clearing_limitcounter (window_id, limit_id)
    SELECT %s, id FROM clearing_limit WHERE is_active ON CONFLICT DO NOTHING RETURNING limit_id
"""

# What is owed counts for its payer and against its payee; in all, or towards the one counterparty.
OWED = """
    SELECT held.id, sum(owed.amount_minor) FROM clearing_limit held
    JOIN (SELECT payer_id AS party_id, payee_id AS other_id, currency_id, amount_minor FROM {table}
          UNION ALL
          SELECT payee_id, payer_id, currency_id, -amount_minor FROM {table}) owed
      ON owed.party_id = held.participant_id AND owed.currency_id = held.currency_id
         AND (held.counterparty_id IS NULL OR owed.other_id = held.counterparty_id)
    WHERE held.id = ANY (%s) GROUP BY held.id
"""

TAKE_OVER = f"""
    INSERT INTO clearing_limitcount (window_id, limit_id, amount_minor)
    SELECT %s, owed.* FROM ({OWED}) owed
"""

COUNTED = """
    SELECT limit_id, coalesce(sum(amount_minor), 0), count(amount_minor)
    FROM clearing_limitcounter LEFT JOIN clearing_limitcount USING (window_id, limit_id)
    WHERE window_id = %s AND limit_id = ANY (%s) GROUP BY limit_id
"""

# One statement: what it deletes is what it adds up, whatever comes meanwhile.
FOLD = """
    WITH chosen AS MATERIALIZED (
        SELECT id FROM clearing_limitcount WHERE window_id = %s AND limit_id = ANY (%s)
        ORDER BY id FOR UPDATE SKIP LOCKED
    ), folded AS (
        DELETE FROM clearing_limitcount part USING chosen WHERE part.id = chosen.id RETURNING part.*
    )
    INSERT INTO clearing_limitcount (window_id, limit_id, amount_minor)
    SELECT window_id, limit_id, sum(amount_minor) FROM folded GROUP BY window_id, limit_id
"""

LONG = """
    SELECT limit_id FROM clearing_limitcount WHERE window_id = %s GROUP BY limit_id HAVING count(*) > %s
"""
