"""
Write items in two COPYs when none is known, and find the known ones when some are.

Optimism pays: always asking ON CONFLICT costs 1.6 times as much. Keys go in sorted, so that two batches
that share some wait for each other in one order only; rows go in the order of the call, which is the
order of their ids and so of their discharge.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from psycopg.errors import UniqueViolation

from clearing import partitions
from clearing.models import ObligationKey
from clearing.obligations.items import BATCH_MAX, Item

LOOKS_MAX = 5

Known = dict[bytes, tuple[int, tuple[Any, ...]]]  # key -> its window and the body stored there


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
                copy.write(_key_lines(window_id, first_id, items))
            with cursor.copy(COPY_ROWS.format(table=partitions.name(window_id))) as copy:
                copy.write(_row_lines(window_id, first_id, items, submitter, at))
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
            copy.write(_row_lines(window_id, first_id, items, submitter, at, only=written))
    return _find([item.key for item in items if item.key not in written])


def _find(keys: list[bytes]) -> Known:
    """
    Look keys up, then their rows, partition by partition: a join would plan for every window there ever was.

    A window given up between the two looks moved its rows, and their keys with them: looked up again.
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
                cursor.execute(FIND.format(partition=partitions.name(window_id)), [ids])
                found |= {row[0].bytes: (window_id, tuple(row[1:])) for row in cursor.fetchall()}
        missing = [key for key in missing if key not in found]
        if not missing:
            return found
    raise AssertionError("a key that is taken has its row")


def _key_lines(window_id: int, first_id: int, items: Sequence[Item]) -> bytes:
    ids = sorted((item.key, first_id + place) for place, item in enumerate(items))
    return "".join(f"{key.hex()}\t{window_id}\t{obligation_id}\n" for key, obligation_id in ids).encode()


def _row_lines(
    window_id: int,
    first_id: int,
    items: Sequence[Item],
    submitter: str,
    at: datetime,
    *,
    only: set[bytes] | None = None,
) -> bytes:
    moment, scope = at.isoformat(), _escaped(submitter)
    return "".join(
        f"{window_id}\t{first_id + place}\t{item.amount_minor}\t{item.key.hex()}\t{moment}"
        f"\t{item.payer_id}\t{item.payee_id}\t{item.due_date or NULL}\t{item.currency_id}"
        f"\t{item.priority}\t{_escaped(item.reference)}\t{scope}"
        f"\t{NULL if item.link is None else _escaped(item.link)}\n"
        for place, item in enumerate(items)
        if only is None or item.key in only
    ).encode()


def _escaped(text: str) -> str:
    """Escape for COPY's text format; control characters were refused by the screen."""
    return text.replace("\\", "\\\\") if "\\" in text else text


NULL = "\\N"

COPY_KEYS = "COPY clearing_obligationkey (key, window_id, obligation_id) FROM STDIN"

COPY_ROWS = """
    COPY {table} (window_id, id, amount_minor, key, submitted_at, payer_id, payee_id, due_date,
                  currency_id, priority, reference, submitter, link) FROM STDIN
"""

INSERT_KEYS = """
    INSERT INTO clearing_obligationkey (key, window_id, obligation_id)
    SELECT fresh.key, %s, %s + fresh.place - 1
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS fresh (key, place)
    ORDER BY fresh.key
    ON CONFLICT DO NOTHING
    RETURNING key
"""

FIND = """
    SELECT key, payer_id, payee_id, currency_id, amount_minor, priority, due_date, link
    FROM {partition} WHERE id = ANY (%s)
"""
