"""``manage.py simulate_obligation_engine FILE.csv``: an obligation engine to try ours against."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from clearing.management.base import INVALID, ClearingCommand, existing_file
from clearing.obligations.rows import read
from clearing.simulators.obligation_engine import MODES, ObligationEngine, serving
from clearing_project import stopping


class Command(ClearingCommand):
    help = (
        "Serve the obligations of a CSV as an obligation engine, to the first window that asks, until SIGTERM"
        " or Ctrl-C. Set OBLIGATION_ENGINE_URL=grpc://ADDRESS for the engine's processes to use it."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.csv")
        parser.add_argument("--address", default="127.0.0.1:50058", metavar="HOST:PORT")
        parser.add_argument(
            "--fault",
            action="append",
            default=[],
            metavar="MODE[:CALLS]",
            help=f"misbehave in so many calls, 1 unless told, -1 is all; modes are {', '.join(MODES)}",
        )
        parser.add_argument("--late-seconds", type=float, default=1.0)

    def handle(self, *args: Any, **options: Any) -> None:
        with existing_file(options["file"]).open(newline="", encoding="utf-8") as file:
            rows = list(read(file).rows)
        obligations = [row.submission for row in rows if row.submission is not None]
        if len(obligations) < len(rows):
            line = next(row.line for row in rows if row.submission is None)
            raise CommandError(f"csv_line_invalid: line {line} cannot be read", returncode=INVALID)
        engine = ObligationEngine(
            obligations, faults=_faults(options["fault"]), late_seconds=options["late_seconds"]
        )
        stop = stopping.told()
        with serving(engine, options["address"]) as port:
            self.stdout.write(f"obligation engine ready on port {port}")
            self.stdout.flush()
            stop.wait()
        self.stdout.write("obligation engine stopped")


def _faults(told: list[str]) -> dict[str, int]:
    faults: dict[str, int] = {}
    for text in told:
        mode, _, calls = text.partition(":")
        try:
            faults[mode] = int(calls or "1")
        except ValueError:
            mode = ""
        if mode not in MODES:
            raise CommandError(f"fault_invalid: {text!r} is no MODE[:CALLS]", returncode=INVALID)
    return faults
