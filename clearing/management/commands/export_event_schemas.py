"""``manage.py export_event_schemas``: write the JSON Schema of every event."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from clearing.events import schemas
from clearing.management.base import ClearingCommand


class Command(ClearingCommand):
    help = "Write the JSON Schema 2020-12 of every event, one file each; files of kinds that are gone go."

    def add_arguments(self, parser: CommandParser) -> None:
        home = Path(settings.BASE_DIR) / "docs" / "events"
        parser.add_argument("--to", type=Path, default=home, metavar="FOLDER", help="default: docs/events")

    def handle(self, *args: Any, **options: Any) -> None:
        folder, files = options["to"], schemas.files()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            if old.name not in files:
                old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        self.stdout.write(f"{len(files)} schemas in {folder}")
