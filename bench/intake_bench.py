"""Intake against the bare COPY of the same rows, and against what Django's ``bulk_create`` makes of them."""

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from bench import community
from bench.model import Row
from bench.timing import timed, times_for
from clearing import partitions, windows
from clearing.models import ClearingWindow, Obligation, ObligationKey
from clearing.obligations import BATCH_MAX

WINDOWS_MIN = 2
COPY_NAME = "binary COPY into an unlogged heap"
BULK_CREATE_NAME = "bulk_create of the same rows"
BULK_CREATE_MAX = 100_000  # a million would take minutes and say the same
COLUMNS = (
    "window_id, id, amount_minor, key, submitted_at, payer_id, payee_id, due_date, currency_id, priority,"
    " reference, submitter, link"
)
FLIPPED = 1 << 127  # makes another key of a key


@dataclass(frozen=True, slots=True)
class Taken:
    """What was measured, and full windows, closed, for whoever clears them."""

    rows: list[Row]
    windows: list[ClearingWindow]


def measure(size: int) -> Taken:
    """Fill windows with *size* obligations each, several and no fewer than two, each beside its floors."""
    spent: list[float] = []
    copied: list[float] = []
    created: list[float] = []
    filled: list[ClearingWindow] = []
    for _ in range(max(times_for(size), WINDOWS_MIN)):
        day, window = community.day(size), community.open_window()
        spent.append(sum(timed(partial(community.submit, batch))[0] for batch in day.batches()))
        filled.append(windows.close(window, at=timezone.now(), reason="benchmark"))
        copied.append(bare_copy(filled[-1]))
        if size <= BULK_CREATE_MAX:
            created.append(_bulk_create(filled[-1]))
    seconds = median(spent)
    rows = [Row("intake, SQL path", size, seconds, COPY_NAME, median(copied))]
    if created:
        limit, note = 1 / 8, "goal: 8 times as fast; bulk_create gets the rows checked and looked up"
        rows.append(
            Row(
                "intake, SQL path",
                size,
                seconds,
                BULK_CREATE_NAME,
                median(created),
                limit,
                note,
            )
        )
    return Taken(rows, filled)


def beside_floors(rows: list[Row]) -> list[Row]:
    """Return what doors took, by size, beside the bare COPY and ``bulk_create`` of as many rows."""
    beside: list[Row] = []
    for size in sorted({row.size for row in rows}):
        window = community.open_window()
        for batch in community.day(size).batches():
            community.submit(batch)
        window = windows.close(window, at=timezone.now(), reason="benchmark")
        floors = {COPY_NAME: median(bare_copy(window) for _ in range(max(times_for(size), WINDOWS_MIN)))}
        if size <= BULK_CREATE_MAX:
            floors[BULK_CREATE_NAME] = _bulk_create(window)
        beside.extend(
            Row(row.name, size, row.seconds, name, seconds)
            for row in rows
            if row.size == size
            for name, seconds in floors.items()
        )
    return beside


def bare_copy(window: ClearingWindow) -> float:
    """Return the seconds of one binary COPY of a window's rows into an unlogged heap without any index."""
    table = partitions.name(window.pk)
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY (SELECT {COLUMNS} FROM {table}) TO STDOUT (FORMAT binary)") as copy:
            rows = b"".join(bytes(block) for block in copy)
        cursor.execute(f"CREATE UNLOGGED TABLE bench_heap AS SELECT {COLUMNS} FROM {table} WITH NO DATA")

        def load() -> None:
            with cursor.copy(f"COPY bench_heap ({COLUMNS}) FROM STDIN (FORMAT binary)") as copy:
                copy.write(rows)

        seconds, _ = timed(load)
        cursor.execute("DROP TABLE bench_heap")
    return seconds


def _bulk_create(source: ClearingWindow) -> float:
    """Return the seconds in which ``bulk_create`` writes a window's rows and keys into another window."""
    found = Obligation.objects.filter(window=source).order_by("id").values()
    target = community.open_window()
    seconds = 0.0
    for start in range(0, found.count(), BATCH_MAX):
        rows = list(found[start : start + BATCH_MAX])
        seconds += timed(partial(_create, rows, target.pk))[0]
    windows.close(target, at=timezone.now(), reason="benchmark")
    return seconds


@transaction.atomic
def _create(rows: list[Any], window_id: int) -> None:
    fresh = [{**row, "window_id": window_id, "key": UUID(int=row["key"].int ^ FLIPPED)} for row in rows]
    ObligationKey.objects.bulk_create(
        ObligationKey(key=row["key"], window_id=window_id, obligation_id=row["id"]) for row in fresh
    )
    Obligation.objects.bulk_create(Obligation(**row) for row in fresh)
