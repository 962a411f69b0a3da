"""``manage.py settle_instruction``: an instruction that the engine failed, or is mute about."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.utils import timezone

from clearing import interventions
from clearing.management.base import ClearingCommand
from settlement.rails.executions import Outcome


class Command(ClearingCommand):
    help = (
        "Have an instruction that the settlement engine failed tried again, or record that it was settled"
        " another way; or declare an outcome that the engine will never tell. The engine is asked once more"
        " first. Prints the attempt's id."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("instruction", type=UUID, metavar="INSTRUCTION")
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--retry", action="store_true", help="send it again, as a new attempt")
        way.add_argument("--by-hand", action="store_true", help="it was paid another way: post it")
        way.add_argument(
            "--declare",
            choices=[Outcome.COMPLETED.value, Outcome.FAILED.value],
            help="the engine is gone for good, and this is what became of it",
        )
        parser.add_argument("--by", required=True, metavar="NAME", help="who decides")
        parser.add_argument("--reason", required=True, help="why")

    def handle(self, *args: Any, **options: Any) -> None:
        key, now = options["instruction"], timezone.now()
        how = {"actor": options["by"], "reason": options["reason"]}
        if options["declare"]:
            outcome = Outcome(options["declare"])
            said = interventions.inquire(key, outcome, at=now)
            execution = interventions.declare(key, outcome, said=said, at=now, **how)
        elif options["retry"]:
            execution = interventions.retry(key, at=now, **how)
        else:
            execution = interventions.settle_by_hand(key, at=now, **how)
        self.stdout.write(str(execution.pk))
