"""``manage.py settlement_events``: listen to the settlement engine until told to stop."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from clearing.consumers import settlements
from clearing.management.base import INVALID, ClearingCommand
from clearing_project import remote, stopping


class Command(ClearingCommand):
    help = (
        "Take the confirmations of the settlement engine named in SETTLEMENT_ENGINE_URL as they come, until"
        " SIGTERM or Ctrl-C. Prints 'settlement events ready' once it listens for them."
    )
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SETTLEMENT_ENGINE_URL:
            raise CommandError("SETTLEMENT_ENGINE_URL names no settlement engine", returncode=INVALID)
        remote.channel(settings.SETTLEMENT_ENGINE_URL)  # an address that is none is refused here
        stop = stopping.told()
        self.stdout.write("settlement events ready")
        self.stdout.flush()
        settlements.run(stop=stop)
        remote.close()
