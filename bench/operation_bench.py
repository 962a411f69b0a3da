"""
The price of being atomic, with nothing to do: an operation and a checkpoint against a bare commit.

Beside it one step of DBOS Transact, which keeps each step of a workflow in PostgreSQL as well: on the same
server, in a database and a process of its own.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final
from uuid import UUID

from django.db import connection
from django.utils import timezone

from bench import community
from bench.model import Row
from bench.timing import timed
from clearing import operations, steps, windows
from clearing.checkpoints import STEPS
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import OperationType
from clearing_project.stack.runtime import REPOSITORY

TIMES: Final = 100
COMMITS_EACH: Final = 10  # bare commits between two operations: a busy moment hits both


def measure() -> list[Row]:
    """Measure in turn, many times, DBOS in the middle, and take medians."""
    window = windows.close(community.open_window(), at=timezone.now(), reason="benchmark")
    found = Found([], [], [])
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_commit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int)"
        )
        _sample(found, window)
        step = _dbos_step()
        _sample(found, window)
        cursor.execute("DROP TABLE bench_commit")
    commit, checkpoint, bare = median(found.commits), median(found.checkpoints), "one bare commit"
    return [
        Row("operation of four empty checkpoints", len(found.wholes), median(found.wholes), bare, commit),
        Row("empty checkpoint", len(found.checkpoints), checkpoint, bare, commit),
        Row("empty checkpoint", len(found.checkpoints), checkpoint, "empty step of DBOS", step, limit=1),
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds of whole operations, of their checkpoints, and of bare commits."""

    wholes: list[float]
    checkpoints: list[float]
    commits: list[float]


def _sample(found: Found, window: ClearingWindow) -> None:
    with connection.cursor() as cursor:
        insert = partial(cursor.execute, "INSERT INTO bench_commit (a) VALUES (1)")
        for _ in range(TIMES // 2):
            found.commits.extend(timed(insert)[0] for _ in range(COMMITS_EACH))
            seconds, (operation_id, by_step) = timed(partial(_operation, window))
            found.wholes.append(seconds)
            found.checkpoints.extend(by_step)
            operations.roll_back(operation_id, at=timezone.now(), reason="benchmark")


def _operation(window: ClearingWindow) -> tuple[UUID, list[float]]:
    """Create, start, step and commit with nothing to do; also the seconds of each checkpoint."""
    at = timezone.now()
    operation = operations.create(window, OperationType.WINDOW_CLEARING, reason="benchmark")
    operations.start(operation, at=at)
    spent = [timed(partial(steps.run_step, operation.pk, step.NAME, _nothing, at=at))[0] for step in STEPS]
    operations.commit(operation.pk, at=at)
    return operation.pk, spent


def _nothing(operation: AtomicOperation) -> None:
    """Do nothing: what is left is the price of doing it atomically."""


def _dbos_step() -> float:
    """Measure a step of DBOS in a database of its own on our server."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE bench_dbos")
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/bench_dbos"
    told = subprocess.run(
        [sys.executable, "-m", "bench.dbos_step", url],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE bench_dbos WITH (FORCE)")
    return float(json.loads(told.stdout)["step_seconds"])
