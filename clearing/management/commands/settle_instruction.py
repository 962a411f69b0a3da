"""``manage.py settle_instruction``: deal with an instruction that the settlement engine failed."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.utils import timezone

from clearing import interventions
from clearing.management.base import ClearingCommand


class Command(ClearingCommand):
    help = (
        "Have an instruction that the settlement engine failed tried again, or record that it was settled"
        " another way. The engine is asked once more first. Prints the new attempt's id."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("instruction", type=UUID, metavar="INSTRUCTION")
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--retry", action="store_true", help="send it again, as a new attempt")
        way.add_argument("--by-hand", action="store_true", help="it was paid another way: post it")
        parser.add_argument("--by", required=True, metavar="NAME", help="who decides")
        parser.add_argument("--reason", required=True, help="why")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = interventions.retry if options["retry"] else interventions.settle_by_hand
        execution = verb(
            options["instruction"], actor=options["by"], reason=options["reason"], at=timezone.now()
        )
        self.stdout.write(str(execution.pk))
