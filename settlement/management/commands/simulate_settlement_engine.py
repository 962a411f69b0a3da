"""``manage.py simulate_settlement_engine``: an outside settlement engine that misbehaves on request."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clearing_project import stopping
from settlement.simulators import faults, settlement_engine
from settlement.simulators.settlement_engine import MODES, SettlementEngine


class Command(BaseCommand):
    help = (
        "Simulate an outside settlement engine until SIGTERM or Ctrl-C. Prints 'settlement engine ready on"
        f" HOST:PORT'. Faults are shares of the orders, such as late=0.2,lost=0.1, of {', '.join(MODES)}."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address", default="127.0.0.1:50056", help="HOST:PORT (127.0.0.1:50056)")
        parser.add_argument("--log", default="", help="file of what it did, read again at the next start")
        parser.add_argument("--seed", type=int, default=1, help="which orders a fault meets (1)")
        parser.add_argument("--faults", default="", help="MODE=SHARE,... (none)")
        parser.add_argument("--late-seconds", type=float, default=1.0, help="how late late is (1)")
        parser.add_argument("--forgetful", action="store_true", help="execute an order as often as it comes")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            shares = faults.parse(options["faults"], known=MODES)
        except faults.FaultsInvalid as invalid:
            raise CommandError(invalid, returncode=2) from invalid
        engine = SettlementEngine(
            Path(options["log"] or "settlement-engine.jsonl"),
            choose=faults.seeded(options["seed"], shares),
            late_seconds=options["late_seconds"],
            is_forgetful=options["forgetful"],
        )
        stop = stopping.told()
        with settlement_engine.serving(engine, options["address"]) as port:
            host = options["address"].rpartition(":")[0]
            self.stdout.write(f"settlement engine ready on {host}:{port}")
            self.stdout.flush()
            stop.wait()
