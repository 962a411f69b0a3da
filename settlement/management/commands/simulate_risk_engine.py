"""``manage.py simulate_risk_engine``: an outside risk engine that misbehaves on request."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clearing_project import stopping
from settlement.simulators import faults, risk_engine
from settlement.simulators.risk_engine import MODES, RiskEngine


class Command(BaseCommand):
    help = (
        "Simulate an outside risk engine until SIGTERM or Ctrl-C. Prints 'risk engine ready on HOST:PORT'."
        f" Faults are shares of the instructions, such as reject=0.1, of {', '.join(MODES)}."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address", default="127.0.0.1:50057", help="HOST:PORT (127.0.0.1:50057)")
        parser.add_argument("--seed", type=int, default=1, help="which instructions a fault meets (1)")
        parser.add_argument("--faults", default="", help="MODE=SHARE,... (none)")
        parser.add_argument("--late-seconds", type=float, default=1.0, help="how late late is (1)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            shares = faults.parse(options["faults"], known=MODES)
        except faults.FaultsInvalid as invalid:
            raise CommandError(invalid, returncode=2) from invalid
        engine = RiskEngine(
            choose=faults.seeded(options["seed"], shares), late_seconds=options["late_seconds"]
        )
        stop = stopping.told()
        with risk_engine.serving(engine, options["address"]) as port:
            host = options["address"].rpartition(":")[0]
            self.stdout.write(f"risk engine ready on {host}:{port}")
            self.stdout.flush()
            stop.wait()
