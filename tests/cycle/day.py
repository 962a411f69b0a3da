"""Windows handed to the real worker, and waiting until it has done with them."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from clearing import pipeline, steps, windows
from clearing.models import AtomicOperation, Checkpoint, ClearingWindow
from clearing.obligations import Submission
from clearing.states import OperationStatus, WindowStatus
from clearing_project.celery import app
from tests.database import sql

SAMPLE_DAY = Path(settings.BASE_DIR) / "docs" / "sample_day"
ENDED_SECONDS = 60.0
ENDED = {
    OperationStatus.COMMITTED: WindowStatus.COMPLETED,
    OperationStatus.ROLLED_BACK: WindowStatus.ROLLED_BACK,
}


def sample_obligations(name: str) -> list[Submission]:
    """Read one of the sample day's files."""
    with (SAMPLE_DAY / name).open(encoding="utf-8", newline="") as file:
        return [msgspec.convert(row, Submission) for row in csv.DictReader(file)]


def load_sample_participants() -> None:
    """Register the sample day's participants and prefund them."""
    call_command("load_sample_day", verbosity=0)


def cleared(window: ClearingWindow) -> AtomicOperation:
    """Start clearing the window and wait until the worker has ended it, one way or the other."""
    return ended(pipeline.clear(window, at=timezone.now(), reason="test"))


def ended(operation: AtomicOperation) -> AtomicOperation:
    """Wait until the run and its window have come to their end."""
    deadline = time.monotonic() + ENDED_SECONDS
    while time.monotonic() < deadline:
        found = steps.get(operation.pk)
        if found.window.status == ENDED.get(OperationStatus(found.status)):
            return found
        time.sleep(0.02)
    marks = checkpoints(operation)
    raise AssertionError(f"{found.status} ({found.error_message}) in a window {found.window.status}: {marks}")


def idle_in(operation: AtomicOperation, expected: WindowStatus) -> None:
    """Wait until the worker does nothing and the window stands where it is *expected*."""
    inspect, deadline = app.control.inspect(timeout=0.5), time.monotonic() + ENDED_SECONDS
    while time.monotonic() < deadline:
        if status(operation.window) == expected:
            active = inspect.active()
            if active is not None and not any(active.values()):
                return
        time.sleep(0.02)
    raise AssertionError(f"{status(operation.window)}, not {expected}")


def status(window: ClearingWindow) -> str:
    """The window's status now."""
    return windows.get(window.pk).status


def checkpoints(operation: AtomicOperation) -> list[str]:
    """The status of each checkpoint, in order."""
    return list(Checkpoint.objects.filter(operation=operation).values_list("status", flat=True))


def lapse(operation: AtomicOperation) -> None:
    """Let the run's dispatch be as old as if it had been forgotten."""
    sql("UPDATE clearing_dispatch SET next_at = now() - interval '1 s' WHERE operation_id = %s", operation.pk)


@contextmanager
def tampered(table: str, change: str) -> Iterator[None]:
    """Change each row on its way into *table*, as a broken machine would, until the block ends."""
    sql(
        "CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        + change.replace("%", "%%")
        + "; RETURN NEW; END $$"
    )
    sql(f"CREATE TRIGGER a_tamper BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION tamper()")
    try:
        yield
    finally:
        sql("DROP FUNCTION tamper() CASCADE")
