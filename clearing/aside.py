"""
Obligations in no window: they wait for one, are held in dispute, or are cancelled for good.

Whatever moves here moves together with its key, whose window is empty as long as the obligation is set
aside: an obligation is in exactly one place at every commit.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from clearing import partitions
from clearing.states import AsideStatus, Region


@dataclass(frozen=True, slots=True)
class Span:
    """
    A window as far as waiting obligations go by it.

    Attributes:
        next_cutoff_at: of the window after it, if the calendar knows that; a due date is kept by this window
            when the next one would be too late.
    """

    window_id: int
    region: Region
    cutoff_at: datetime
    next_cutoff_at: datetime | None


def enter_due(span: Span) -> int:
    """
    Move the parked obligations whose window this is into it; the caller has passed its gate.

    Returns:
        How many moved; each once, whoever else asks at the same time.
    """
    values: dict[str, int | str | datetime | None] = {
        "window": span.window_id,
        "region": span.region.value,
        "cutoff": span.cutoff_at,
        "next_cutoff": span.next_cutoff_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(ENTER.format(partition=partitions.name(span.window_id)), values)
        moved: int = cursor.rowcount
        if moved:
            cursor.execute(LEAVE, values)
            assert cursor.rowcount == moved, "what entered is what waits no more"
    return moved


def park_surplus(window_id: int, *, first_id: int, region: Region, at: datetime) -> int:
    """
    Park the rows of a window from *first_id* on: none is open that could take them.

    Returns:
        How many were parked.
    """
    source = partitions.name(window_id)
    with connection.cursor() as cursor:
        cursor.execute(
            PARK.format(source=source),
            {
                "region": region.value,
                "status": AsideStatus.PARKED.value,
                "window": window_id,
                "at": at,
                "first": first_id,
            },
        )
        parked: int = cursor.rowcount
        cursor.execute(
            f"UPDATE clearing_obligationkey known SET window_id = NULL FROM {source} obligation"
            " WHERE known.key = obligation.key AND obligation.id >= %s",
            [first_id],
        )
        assert cursor.rowcount == parked, "every obligation has its key"
        cursor.execute(f"DELETE FROM {source} WHERE id >= %s", [first_id])
        assert cursor.rowcount == parked, "what was copied is what is deleted"
    return parked


DUE = """
    region = %(region)s AND status = 'Parked'
    AND (not_before IS NULL OR not_before < %(cutoff)s)
    AND (due_by IS NULL OR %(next_cutoff)s::timestamptz IS NULL OR due_by <= %(next_cutoff)s)
"""

# Keys first: PostgreSQL lets a row go only to where its key points by then.
ENTER = f"""
    WITH due AS MATERIALIZED (
        SELECT {partitions.ROW}, origin_window_id, arrival FROM clearing_setaside
        WHERE {DUE} ORDER BY id FOR UPDATE
    ), pointed AS (
        UPDATE clearing_obligationkey known SET window_id = %(window)s FROM due WHERE known.key = due.key
    )
    INSERT INTO {{partition}} ({partitions.ROW}, window_id, origin_window_id, arrival)
    SELECT {partitions.ROW}, %(window)s, origin_window_id, coalesce(arrival, 'parked') FROM due ORDER BY id
"""

LEAVE = f"""
    DELETE FROM clearing_setaside aside WHERE {DUE} AND EXISTS (
        SELECT FROM clearing_obligationkey known WHERE known.key = aside.key AND known.window_id = %(window)s)
"""

PARK = f"""
    INSERT INTO clearing_setaside
        ({partitions.ROW}, origin_window_id, arrival, region, status, reason, by, aside_at)
    SELECT {partitions.ROW}, coalesce(origin_window_id, window_id), 'overflow', %(region)s, %(status)s,
           'overflow', '', %(at)s
    FROM {{source}} WHERE id >= %(first)s ORDER BY id
"""
