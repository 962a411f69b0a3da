"""
One window cleared in this process, step by step, against the least that PostgreSQL could do with its rows.

The floor is a bare ``GROUP BY`` of the window's rows, and the numbers of positions and instructions that the
run writes, written to unlogged tables without an index. A rollback is measured from the four checkpoints.
"""

from functools import partial
from statistics import median
from typing import Final
from uuid import UUID

import numpy as np
from django.db import connection, transaction
from django.utils import timezone

from bench.model import Row
from bench.timing import timed, times_for
from clearing import finality, operations, partitions, steps
from clearing.checkpoints import STEPS, netting_calculated
from clearing.models import AtomicOperation, ClearingWindow, FrozenSet
from clearing.states import OperationType, WindowStatus
from netting import multilateral

ROLLBACK_LIMIT: Final = 0.1
GROUP_BY_LIMIT: Final = 1 / 20
FLOOR_NAME: Final = "bare GROUP BY and writes"
Times = dict[str, float]

GROUP: Final = """
    SELECT count(*) FROM (
        SELECT currency_id, payer_id, payee_id, count(*), sum(amount_minor)
        FROM {table} GROUP BY currency_id, payer_id, payee_id
    ) AS pair
"""
WRITTEN: Final = (
    ("clearing_multilateralposition", "operation_id"),
    ("clearing_bilateralposition", "operation_id"),
    ("settlement_settlementinstruction", "batch_id"),
)


def measure(window: ClearingWindow) -> tuple[list[Row], float]:
    """
    Clear a closed window and roll it back, as often as its size allows, then clear it to its end.

    Returns:
        The figures, and the seconds of a whole run.
    """
    runs: list[Times] = []
    floors: list[float] = []
    rollbacks: list[float] = []
    size = partition_size(window)
    for _ in range(times_for(size)):
        operation_id, times = _forward(window)
        runs.append(times)
        floors.append(floor(window, operation_id))
        rollbacks.append(timed(partial(_roll_back, operation_id))[0])
    operation_id, _ = _forward(window)
    settled = _settle(operation_id)
    assert ClearingWindow.objects.get(pk=window.pk).status == WindowStatus.COMPLETED
    spent = {name: median(times[name] for times in runs) for name in runs[0]}
    forward, least = sum(spent.values()), median(floors)
    whole = forward + sum(settled.values())
    rows = [Row(name, size, seconds, FLOOR_NAME, least) for name, seconds in (spent | settled).items()]
    rows.append(Row("the whole run", size, whole, FLOOR_NAME, least))
    name, back = "rollback of all four checkpoints", median(rollbacks)
    rows.append(Row(name, size, back, "the run up to there", forward, ROLLBACK_LIMIT))
    rows.append(against_group_by(window, size))
    return rows, whole


def against_group_by(window: ClearingWindow, size: int) -> Row:
    """
    Net positions from rows in memory, against PostgreSQL's bare ``GROUP BY`` of the same rows.

    In turn, each a few times in a row: after a wait for the other a single call of a tenth of a millisecond
    would show how long a processor takes to wake up.
    """
    table = partitions.name(window.pk)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT payer_id, payee_id, amount_minor FROM {table}")
        payers, payees, amounts = np.array(cursor.fetchall(), np.int64).T.copy()
        grouping, in_a_row = partial(cursor.execute, GROUP.format(table=table)), 5 if size <= 100_000 else 1
        grouped: list[float] = []
        netted: list[float] = []
        netting = partial(multilateral.positions, payers, payees, amounts)
        for _ in range(5):
            grouped += [timed(grouping)[0] for _ in range(in_a_row)]
            netted += [timed(netting)[0] for _ in range(in_a_row)]
    name, floor_name = "net positions of rows in memory", "PostgreSQL's GROUP BY of them"
    return Row(name, size, median(netted), floor_name, median(grouped), GROUP_BY_LIMIT)


def partition_size(window: ClearingWindow) -> int:
    """Count the window's obligations."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partitions.name(window.pk)}")
        return int(cursor.fetchone()[0])


def floor(window: ClearingWindow, operation_id: UUID) -> float:
    """Return the seconds of the bare ``GROUP BY`` and of writing what the run wrote, without index or log."""
    with connection.cursor() as cursor:
        for table, _ in WRITTEN:
            cursor.execute(f"CREATE UNLOGGED TABLE bench_{table} AS SELECT * FROM {table} WITH NO DATA")

        @transaction.atomic
        def work() -> None:
            cursor.execute("SET LOCAL work_mem = '256MB'")
            cursor.execute(GROUP.format(table=partitions.name(window.pk)))
            for table, column in WRITTEN:
                cursor.execute(
                    f"INSERT INTO bench_{table} SELECT * FROM {table} WHERE {column} = %s", [operation_id]
                )

        seconds, _ = timed(work)
        for table, _ in WRITTEN:
            cursor.execute(f"DROP TABLE bench_{table}")
    return seconds


def _forward(window: ClearingWindow) -> tuple[UUID, Times]:
    """Start a run and apply its four checkpoints, as their tasks do; seconds by step."""
    at = timezone.now()
    started, operation = timed(lambda: _start(window))
    key, times = operation.pk, {"operation created and started": started}
    for step in STEPS:
        if step is netting_calculated:
            times["netting of the currencies"], _ = timed(partial(_net, key))
        name = f"checkpoint {step.NAME}"
        work = partial(steps.run_step, key, step.NAME, partial(step.apply, at=at), at=at)
        times[name], _ = timed(work)
    return key, times


def _start(window: ClearingWindow) -> AtomicOperation:
    operation = operations.create(window, OperationType.WINDOW_CLEARING, reason="benchmark")
    operations.start(operation, at=timezone.now())
    return operation


def _net(operation_id: UUID) -> None:
    """Net every frozen currency, one after the other."""
    name = netting_calculated.NAME
    steps.begin(operation_id, name, at=timezone.now())
    frozen = FrozenSet.objects.filter(operation_id=operation_id).order_by("currency_id")
    for currency_id in frozen.values_list("currency_id", flat=True):
        netted = netting_calculated.compute(steps.get(operation_id), currency_id)
        steps.run_part(operation_id, name, partial(netting_calculated.store, netted=netted))


def _settle(operation_id: UUID) -> Times:
    at = timezone.now()
    committed, _ = timed(lambda: finality.commit(operation_id, at=at))
    settled, _ = timed(lambda: finality.settle(operation_id, at=at))
    return {"commit": committed, "settlement": settled}


def _roll_back(operation_id: UUID) -> None:
    operations.roll_back(operation_id, at=timezone.now(), reason="benchmark")
