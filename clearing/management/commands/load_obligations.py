"""``manage.py load_obligations FILE.csv``: bulk intake of a CSV into the accepting window."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from clearing import obligations, windows
from clearing.management.base import ClearingCommand, existing_file, is_terminal
from clearing.obligations import BATCH_MAX, OutcomeStatus, Submission
from clearing.obligations.items import OPERATOR_SCOPE
from clearing.obligations.rows import CsvFile, Row, read
from clearing.states import Region

SOME_REJECTED = 3


class Rejects:
    """The file of rejected lines; it comes into being with the first of them."""

    def __init__(self, path: Path, header: list[str]) -> None:
        self.path, self.header, self.count = path, header, 0
        self._exit = ExitStack()
        self._writer: Any = None
        path.unlink(missing_ok=True)  # what an earlier load left would be mistaken for this one's

    def write(self, rejected: list[tuple[Row, str, str]]) -> None:
        """Add lines in the file's order: the cells as they came, then code and message."""
        for row, code, message in sorted(rejected, key=lambda each: each[0].line):
            self._write(row, code, message)

    def _write(self, row: Row, code: str, message: str) -> None:
        if self._writer is None:
            file = self._exit.enter_context(self.path.open("w", newline="", encoding="utf-8"))
            self._writer = csv.writer(file)
            self._writer.writerow([*self.header, "code", "message"])
        cells = [*row.cells, *[""] * len(self.header)][: len(self.header)]
        self._writer.writerow([*cells, code, message])
        self.count += 1

    def close(self) -> None:
        """Finish the file, if there is one."""
        self._exit.close()


class Command(ClearingCommand):
    help = (
        "Load obligations from a CSV (reference,payer,payee,currency,amount and optional columns) into the"
        " region's accepting window. Prints a JSON summary; rejected lines go to FILE.csv.rejected.csv."
        " Exit status: 0 none rejected, 3 some, 2 the file cannot be read. Repeating it changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.csv")
        parser.add_argument(
            "--region", default=Region.GLOBAL.value, help="for lines without a region of their own"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path, region = existing_file(options["file"]), windows.region(options["region"])
        summary = {"accepted": 0, "duplicate": 0, "rejected": 0, "window_id": None}
        with ExitStack() as stack:
            progress = stack.enter_context(_progress())
            bar = progress.add_task("obligations", total=None, lines=0)
            lines = progress.open(path, "r", newline="", encoding="utf-8", task_id=bar)
            file = read(stack.enter_context(lines))
            rejects = Rejects(path.with_name(path.name + ".rejected.csv"), file.header)
            stack.callback(rejects.close)
            taken = 0
            for batch in _batches(file):
                _take(batch, region, rejects, summary)
                taken += len(batch)
                progress.update(bar, lines=taken)
        summary["rejected"] = rejects.count
        self.stdout.write(json.dumps(summary))
        if rejects.count:
            self.stderr.write(f"{rejects.count} line(s) rejected, see {rejects.path}")
            sys.exit(SOME_REJECTED)


def _batches(file: CsvFile) -> Iterator[list[Row]]:
    while batch := list(islice(file.rows, BATCH_MAX)):
        yield batch


def _take(batch: list[Row], region: Region, rejects: Rejects, summary: dict[str, Any]) -> None:
    """Submit a batch, a call per region, and count what became of it."""
    rejected: list[tuple[Row, str, str]] = []
    by_region: dict[str, list[tuple[Row, Submission]]] = {}
    for row in batch:
        name = row.region or region.value
        if row.submission is None:
            assert row.fault is not None, "a row says something or is at fault"
            rejected.append((row, row.fault.code, row.fault.message))
        elif name not in Region.values:
            rejected.append((row, windows.UnknownRegion.code, f"There is no region {name}."))
        else:
            by_region.setdefault(name, []).append((row, row.submission))
    for name, rows in by_region.items():
        try:
            intake = obligations.submit(
                [submission for _, submission in rows],
                region=Region(name),
                submitter=OPERATOR_SCOPE,
                at=timezone.now(),
                all_or_nothing=False,
            )
        except windows.NoAcceptingWindow as none:
            if name == region:
                raise
            rejected += [(row, none.code, str(none)) for row, _ in rows]
            continue
        if name == region or summary["window_id"] is None:
            summary["window_id"] = intake.window_id
        summary["accepted"] += intake.count(OutcomeStatus.ACCEPTED) + intake.count(OutcomeStatus.PARKED)
        summary["duplicate"] += intake.count(OutcomeStatus.DUPLICATE)
        rejected += [
            (rows[outcome.index][0], outcome.code, outcome.message)
            for outcome in intake.outcomes
            if outcome.status == OutcomeStatus.REJECTED
        ]
    rejects.write(rejected)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not is_terminal(),
        transient=True,
    )
