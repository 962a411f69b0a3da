"""``manage.py demo``: the whole stack, the sample day cleared on it, and then yours to look at."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from clearing_project.stack import foreground
from clearing_project.stack.runtime import data_dir


class Command(BaseCommand):
    help = (
        "Start the whole stack, clear the sample day through the real worker, show a rollback, and serve"
        " until Ctrl-C. With --once stop after the result."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop everything after the result table")

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(
            foreground.run(
                data_dir(),
                workers=1,
                concurrency=2,
                first=("manage.py", "demo_day", "--login"),
                once=options["once"],
            )
        )
