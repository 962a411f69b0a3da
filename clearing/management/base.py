"""What the commands share: an expected error ends a command with one clear line and its own exit status."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from clearing_project.errors import ClearingError

INVALID = 2


class ClearingCommand(BaseCommand):
    """A command whose expected errors read ``code: message`` on stderr, with exit status 2."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, translating what it raises."""
        try:
            return super().execute(*args, **options)
        except ClearingError as error:
            raise CommandError(f"{error.public_code}: {error}", returncode=INVALID) from error
        except OperationalError as away:
            text = " ".join(str(away).split())
            raise CommandError(
                f"unavailable: no database answers ({text}). Start `python manage.py stack`"
                " in another terminal, or set DATABASE_URL.",
                returncode=1,
            ) from away


def existing_file(name: str) -> Path:
    """
    Return the path of a file that is there.

    Raises:
        CommandError
    """
    path = Path(name)
    if not path.is_file():
        raise CommandError(f"file_not_found: there is no file {name}", returncode=INVALID)
    return path


def dictionaries(path: Path, columns: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """
    Yield the file's lines as dictionaries with their number, the first data line being 1.

    Raises:
        CommandError: a column is missing, or a line has too few or too many fields.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        missing = columns - set(reader.fieldnames or [])
        if missing:
            raise CommandError(
                f"{path}:0: csv_header_invalid: missing {', '.join(sorted(missing))}", returncode=INVALID
            )
        for line, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise CommandError(
                    f"{path}:{line}: csv_line_invalid: wrong number of fields", returncode=INVALID
                )
            yield line, row


def is_terminal() -> bool:
    """Tell whether progress on stderr would be seen by a person."""
    return sys.stderr.isatty()
