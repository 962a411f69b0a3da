"""``manage.py load_sample_day``: the invented participants and their prefunding, to try things with."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandParser
from django.db import transaction

from clearing.management.base import ClearingCommand
from settlement.models import Participant
from settlement.states import ParticipantKind

SAMPLE_DAY = Path(settings.BASE_DIR) / "docs" / "sample_day"


class Command(ClearingCommand):
    help = "Register the sample day's participants and prefund their accounts. Repeating it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--if-empty", action="store_true", help="do nothing where participants are registered"
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if options["if_empty"] and Participant.objects.filter(kind=ParticipantKind.MEMBER).exists():
            return
        call_command("load_participants", str(SAMPLE_DAY / "participants.csv"), stdout=self.stdout)
        call_command("load_balances", str(SAMPLE_DAY / "balances.csv"), stdout=self.stdout)
