"""Run the whole stack in the foreground."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clearing_project.errors import ClearingError
from clearing_project.stack import foreground
from clearing_project.stack.runtime import data_dir


class Command(BaseCommand):
    """``python manage.py stack``: servers, migration and every process of the engine, until Ctrl-C."""

    help = "Run the whole stack in the foreground until Ctrl-C; prints 'stack ready' once every check passes."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """How much of it."""
        parser.add_argument("--workers", type=int, default=1, help="worker processes (1)")
        parser.add_argument("--concurrency", type=int, default=2, help="tasks at a time in each worker (2)")
        parser.add_argument(
            "--empty", action="store_true", help="without the sample participants an embedded database gets"
        )
        parser.add_argument("--forget", action="store_true", help="delete the embedded servers' data instead")

    def handle(self, *args: Any, **options: Any) -> None:
        """Leave with the stack's exit status."""
        if options["forget"]:
            try:
                foreground.forget(data_dir())
            except ClearingError as error:
                raise CommandError(error) from error
            return
        sys.exit(
            foreground.run(
                data_dir(),
                workers=options["workers"],
                concurrency=options["concurrency"],
                sample=not options["empty"],
            )
        )
