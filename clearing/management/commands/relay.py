"""``manage.py relay``: carry events from the outbox to NATS until told to stop."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from clearing.events import relay
from clearing_project import stopping


class Command(BaseCommand):
    help = (
        "Publish events to NATS JetStream until SIGTERM or Ctrl-C. Prints 'relay ready' once it is connected."
        " Several may run: one publishes, the others stand by."
    )
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())
        self.stdout.write("relay stopped")

    async def _run(self) -> None:
        await relay.run(settings.NATS_URL, stop=stopping.told_in_loop(), on_ready=self._announce)

    def _announce(self) -> None:
        self.stdout.write("relay ready")
        self.stdout.flush()
