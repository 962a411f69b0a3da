"""``manage.py correct_window``: send back what a completed window settled."""

import getpass
import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.utils import timezone

from clearing import corrections, windows
from clearing.management.base import ClearingCommand
from settlement.models import SettlementInstruction


class Command(ClearingCommand):
    help = (
        "Send back, by opposite instructions, what a completed window settled: all of it that is not"
        " corrected yet, or the instructions named. Prints the operation as JSON."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("window", type=int, metavar="ID")
        parser.add_argument("--reason", required=True, help="why; kept with the operation")
        parser.add_argument(
            "--instruction", type=UUID, action="append", metavar="UUID", help="may be repeated; default: all"
        )
        parser.add_argument("--by", default=getpass.getuser(), help="who asks; default: the login name")

    def handle(self, *args: Any, **options: Any) -> None:
        operation = corrections.correct(
            windows.get(options["window"]),
            at=timezone.now(),
            reason=options["reason"],
            by=options["by"],
            instruction_ids=options["instruction"],
        )
        batch = SettlementInstruction.objects.filter(batch_id=operation.pk)
        done = {"window_id": operation.window_id, "operation_id": str(operation.pk)}
        self.stdout.write(json.dumps({**done, "instructions_count": batch.count()}))
