"""
Items as PostgreSQL's binary COPY reads them: every field after its length, numbers in network order.

Binary because the server then parses neither numbers, moments nor UUIDs. What is the same in every row of a
batch stands at its end and is made once.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from struct import Struct

import numpy as np

from clearing.obligations.items import Item
from clearing.states import Arrival

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(2000, 1, 1).toordinal()
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # signature, no flags, no extension
END = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"

KEY_COLUMNS = "key, window_id, obligation_id"
ROW_COLUMNS = (
    "id, amount_minor, key, payer_id, payee_id, currency_id, priority, reference,"
    " window_id, submitted_at, submitter, due_date, link"
)
WIDE_COLUMNS = f"{ROW_COLUMNS}, not_before, arrival, origin_window_id"  # of a batch in which one is not plain
KEY_ROW = np.dtype(
    [
        ("columns", ">i2"),
        ("key_length", ">i4"),
        ("key", "V16"),
        ("window_length", ">i4"),
        ("window_id", ">i8"),
        ("id_length", ">i4"),
        ("obligation_id", ">i8"),
    ]
)
HEAD = Struct(">h iq iq i16s ii ii ih ih i").pack  # the last number is the reference's length
BIGINT = Struct(">iq").pack
INT = Struct(">ii").pack
LENGTH = Struct(">i").pack


def keys(window_id: int, first_id: int, items: Sequence[Item]) -> bytes:
    """Return the keys' rows, sorted: two batches that share some wait for each other in one order only."""
    column = b"".join([item.key for item in items])
    halves = np.frombuffer(column, ">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    rows = np.empty(len(items), KEY_ROW)
    rows["columns"], rows["key_length"] = 3, 16
    rows["window_length"] = rows["id_length"] = 8
    rows["key"] = np.frombuffer(column, "V16")[order]
    rows["window_id"], rows["obligation_id"] = window_id, order + first_id
    return HEADER + rows.tobytes() + END


def rows(
    window_id: int,
    first_id: int,
    items: Sequence[Item],
    *,
    submitter: str,
    at: datetime,
    only: Collection[bytes] | None = None,
    missed_id: int | None = None,
    is_wide: bool = False,
) -> bytes:
    """
    Return the rows of the items in the order of the call, numbered by their place.

    Args:
        only: these keys alone.
        missed_id: the window that the items came too late for.
        is_wide: with the columns that few batches need.
    """
    shared = BIGINT(8, window_id) + _moment(at) + _text(submitter)
    plain = shared + NULL + NULL
    origin = NULL + NULL if missed_id is None else _text(Arrival.LATE.value) + BIGINT(8, missed_id)
    columns = 16 if is_wide else 13
    parts = [HEADER]
    for place, item in enumerate(items, start=first_id):
        if only is not None and item.key not in only:
            continue
        reference = item.reference.encode()
        head = HEAD(
            columns,
            *(8, place),
            *(8, item.amount_minor),
            *(16, item.key),
            *(4, item.payer_id),
            *(4, item.payee_id),
            *(2, item.currency_id),
            *(2, item.priority),
            len(reference),
        )
        is_plain = item.due_date is None and item.link is None
        parts += (head, reference, plain if is_plain else shared + _day(item.due_date) + _text(item.link))
        if is_wide:
            parts += (_moment(item.not_before), origin)
    parts.append(END)
    return b"".join(parts)


def _day(day: date | None) -> bytes:
    return NULL if day is None else INT(4, day.toordinal() - EPOCH_DAY)


def _moment(moment: datetime | None) -> bytes:
    return NULL if moment is None else BIGINT(8, (moment - EPOCH) // timedelta(microseconds=1))


def _text(text: str | None) -> bytes:
    if text is None:
        return NULL
    encoded = text.encode()
    return LENGTH(len(encoded)) + encoded
