"""``manage.py load_participants FILE.csv``: register participants from a CSV."""

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from clearing.management.base import ClearingCommand, dictionaries, existing_file
from settlement import participants


class Command(ClearingCommand):
    help = (
        "Register participants from a CSV with the columns code,name,country. Repeating it changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.csv")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        path = existing_file(options["file"])
        count = 0
        for _, row in dictionaries(path, {"code", "name", "country"}):
            participants.register(row["code"], name=row["name"], country=row["country"])
            count += 1
        self.stdout.write(f"{count} participants")
