"""
Write items in two COPYs when none is known, and find the known ones when some are.

Optimism pays: always asking ON CONFLICT costs 1.6 times as much. Keys go in sorted, so that two batches
that share some wait for each other in one order only; rows go in the order of the call, which is the
order of their ids and so of their discharge.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from psycopg.errors import UniqueViolation

from clearing import partitions
from clearing.models import ObligationKey
from clearing.obligations import binary
from clearing.obligations.items import BATCH_MAX, Item
from clearing.obligations.placing import Place, Wait
from clearing.states import Arrival

LOOKS_MAX = 5
ASIDE = "clearing_setaside"

Known = dict[bytes, "Found"]


class Found(NamedTuple):
    """Where the obligation of a known key is, and its body; *state* is empty while it is in a window."""

    window_id: int | None
    body: tuple[Any, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one call, with their keys' waits for those that may not enter the window yet."""

    place: Place
    items: Sequence[Item]
    waits: Mapping[bytes, Wait]
    submitter: str
    at: datetime

    @property
    def missed_id(self) -> int | None:
        """The window that the call came too late for."""
        return self.place.missed.pk if self.place.missed else None

    @property
    def is_wide(self) -> bool:
        """Whether a row has what few have."""
        return self.missed_id is not None or any(item.not_before is not None for item in self.items)


def store(batch: Batch) -> Known:
    """
    Write the items that are not known yet; call it inside a transaction that passed the gate.

    Returns:
        The items whose key was known, with the window and body they were stored with.
    """
    assert len(batch.items) <= BATCH_MAX, "a batch owns one block of ids"
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('clearing_obligation_block')")
        (first_id,) = cursor.fetchone()
    window = batch.place.window
    if window is None or batch.waits:
        return _store_unknown(batch, first_id)
    try:
        with transaction.atomic(), connection.wrap_database_errors, connection.cursor() as cursor:
            with cursor.copy(COPY_KEYS) as copy:
                copy.write(binary.keys(window.pk, first_id, batch.items))
            _copy_rows(batch, window.pk, first_id, only=None)
        return {}
    except IntegrityError as collision:
        if not isinstance(collision.__cause__, UniqueViolation):
            raise
    return _store_unknown(batch, first_id)


def _store_unknown(batch: Batch, first_id: int) -> Known:
    window = batch.place.window
    keys = [item.key.hex() for item in batch.items]
    places = [window.pk if window and item.key not in batch.waits else None for item in batch.items]
    with connection.wrap_database_errors, connection.cursor() as cursor:
        cursor.execute(INSERT_KEYS, [first_id, keys, places])
        written = {row[0].bytes for row in cursor.fetchall()}
        if window is not None:
            _copy_rows(batch, window.pk, first_id, only=written - batch.waits.keys())
        _copy_aside(batch, first_id, only=written & batch.waits.keys())
    return _find([item.key for item in batch.items if item.key not in written])


def _copy_rows(batch: Batch, window_id: int, first_id: int, *, only: Collection[bytes] | None) -> None:
    is_wide = batch.is_wide
    columns = binary.WIDE_COLUMNS if is_wide else binary.ROW_COLUMNS
    rows = binary.rows(
        window_id,
        first_id,
        batch.items,
        submitter=batch.submitter,
        at=batch.at,
        only=only,
        missed_id=batch.missed_id,
        is_wide=is_wide,
    )
    statement = COPY_ROWS.format(table=partitions.name(window_id), columns=columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(rows)


def _copy_aside(batch: Batch, first_id: int, *, only: Collection[bytes]) -> None:
    """Park items, a row at a time: few wait."""
    if not only:
        return
    arrival = Arrival.LATE.value if batch.missed_id is not None else None
    shared = (batch.submitter, batch.place.region.value, batch.at, arrival, batch.missed_id)
    with connection.cursor() as cursor, cursor.copy(COPY_ASIDE) as copy:
        for place, item in enumerate(batch.items, start=first_id):
            if item.key in only:
                wait = batch.waits[item.key]
                row = (place, UUID(bytes=item.key), *item.body, item.reference, batch.at)
                copy.write_row((*row, *shared, wait.reason, wait.due_by, wait.expected_at, "Parked", ""))


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

COPY_ROWS = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"

COPY_ASIDE = """
    COPY clearing_setaside (
        id, key, payer_id, payee_id, currency_id, amount_minor, priority, due_date, link, not_before,
        reference, submitted_at, submitter, region, aside_at, arrival, origin_window_id,
        reason, due_by, expected_at, status, by) FROM STDIN
"""

INSERT_KEYS = """
    INSERT INTO clearing_obligationkey (key, window_id, obligation_id)
    SELECT fresh.key, fresh.window_id, %s + fresh.place - 1
    FROM unnest(%s::uuid[], %s::bigint[]) WITH ORDINALITY AS fresh (key, window_id, place)
    ORDER BY fresh.key
    ON CONFLICT DO NOTHING
    RETURNING key
"""

FIND = """
    SELECT key, {state}, payer_id, payee_id, currency_id, amount_minor, priority, due_date, link, not_before
    FROM {table} WHERE id = ANY (%s)
"""
