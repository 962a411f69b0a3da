"""``manage.py demo``: the whole stack, the sample day cleared on it, and then yours to look at."""

import os
import sys
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from clearing_project.stack import foreground
from clearing_project.stack.children import simulated
from clearing_project.stack.runner import Stack
from clearing_project.stack.runtime import data_dir
from clearing_project.stack.servers import free_port, is_free

HOST = "127.0.0.1"


class Command(BaseCommand):
    help = (
        "Start the whole stack, clear the sample day through the real worker, show a rollback, and serve"
        " until Ctrl-C. With --once stop after the result."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rails",
            choices=("ledger", "engine"),
            default="ledger",
            help="settle on our own ledger, or through simulated engines outside that misbehave (ledger)",
        )
        parser.add_argument("--once", action="store_true", help="stop everything after the result table")

    def handle(self, *args: Any, **options: Any) -> None:
        is_outside = options["rails"] == "engine"
        if is_outside:
            os.environ.update(_simulated())
        sys.exit(
            foreground.run(
                data_dir(),
                stack=partial(Stack, table=simulated) if is_outside else Stack,
                workers=1,
                concurrency=2,
                first=("manage.py", "demo_day", "--login"),
                once=options["once"],
            )
        )


def _simulated() -> dict[str, str]:
    """Where the simulated engines are; silence is noticed soon, so that nobody waits for the demo."""
    ports = [port if is_free(HOST, port) else free_port(HOST) for port in (50056, 50057)]
    return {
        "SETTLEMENT_ENGINE_URL": f"grpc://{HOST}:{ports[0]}",
        "RISK_ENGINE_URL": f"http://{HOST}:{ports[1]}",
        "CLEARING_SETTLEMENT_METHOD": "MOCK",
        "REMOTE_TIMEOUT_SECONDS": "1",
    }
