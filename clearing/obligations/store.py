"""
Write items in two COPYs when none is known, and find the known ones when some are.

Optimism pays: always asking ON CONFLICT costs 1.6 times as much. Keys go in sorted, so that two batches
that share some wait for each other in one order only; rows go in the order of the call, which is the
order of their ids and so of their discharge.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from psycopg.errors import UniqueViolation

from clearing import partitions
from clearing.models import ObligationKey
from clearing.obligations import binary
from clearing.obligations.items import BATCH_MAX, Item

LOOKS_MAX = 5
ASIDE = "clearing_setaside"

Known = dict[bytes, "Found"]


class Found(NamedTuple):
    """Where the obligation of a known key is, and its body; *state* is empty while it is in a window."""

    window_id: int | None
    body: tuple[Any, ...]
    state: str


def store(window_id: int, items: Sequence[Item], *, submitter: str, at: datetime) -> Known:
    """
    Write the items that are not known yet; call it inside a transaction that passed the gate.

    Returns:
        The items whose key was known, with the window and body they were stored with.
    """
    assert len(items) <= BATCH_MAX, "a batch owns one block of ids"
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('clearing_obligation_block')")
        (first_id,) = cursor.fetchone()
    try:
        with transaction.atomic(), connection.wrap_database_errors, connection.cursor() as cursor:
            with cursor.copy(COPY_KEYS) as copy:
                copy.write(binary.keys(window_id, first_id, items))
            with cursor.copy(COPY_ROWS.format(table=partitions.name(window_id))) as copy:
                copy.write(binary.rows(window_id, first_id, items, submitter=submitter, at=at))
        return {}
    except IntegrityError as collision:
        if not isinstance(collision.__cause__, UniqueViolation):
            raise
    return _store_unknown(window_id, first_id, items, submitter=submitter, at=at)


def _store_unknown(
    window_id: int, first_id: int, items: Sequence[Item], *, submitter: str, at: datetime
) -> Known:
    keys = [item.key.hex() for item in items]
    with connection.wrap_database_errors, connection.cursor() as cursor:
        cursor.execute(INSERT_KEYS, [window_id, first_id, keys])
        written = {row[0].bytes for row in cursor.fetchall()}
        with cursor.copy(COPY_ROWS.format(table=partitions.name(window_id))) as copy:
            rows = binary.rows(window_id, first_id, items, submitter=submitter, at=at, only=written)
            copy.write(rows)
    return _find([item.key for item in items if item.key not in written])


def _find(keys: list[bytes]) -> Known:
    """
    Look keys up, then their rows, partition by partition: a join would plan for every window there ever was.

    One that moved between the two looks moved with its key: looked up again.
    """
    found: Known = {}
    missing = keys
    for _ in range(LOOKS_MAX):
        places = defaultdict(list)
        known = ObligationKey.objects.filter(key__in=[UUID(bytes=key) for key in missing])
        for window_id, obligation_id in known.values_list("window_id", "obligation_id"):
            places[window_id].append(obligation_id)
        with connection.cursor() as cursor:
            for window_id, ids in places.items():
                table = partitions.name(window_id) if window_id else ASIDE
                state = "''" if window_id else "status"
                cursor.execute(FIND.format(table=table, state=state), [ids])
                for key, now, *body in cursor.fetchall():
                    found[key.bytes] = Found(window_id, tuple(body), now)
        missing = [key for key in missing if key not in found]
        if not missing:
            return found
    raise AssertionError("a key that is taken has its row")


COPY_KEYS = f"COPY clearing_obligationkey ({binary.KEY_COLUMNS}) FROM STDIN (FORMAT binary)"

COPY_ROWS = f"COPY {{table}} ({binary.ROW_COLUMNS}) FROM STDIN (FORMAT binary)"

INSERT_KEYS = """
    INSERT INTO clearing_obligationkey (key, window_id, obligation_id)
    SELECT fresh.key, %s, %s + fresh.place - 1
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS fresh (key, place)
    ORDER BY fresh.key
    ON CONFLICT DO NOTHING
    RETURNING key
"""

FIND = """
    SELECT key, {state}, payer_id, payee_id, currency_id, amount_minor, priority, due_date, link
    FROM {table} WHERE id = ANY (%s)
"""
