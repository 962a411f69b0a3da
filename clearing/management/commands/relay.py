"""``manage.py relay``: carry events from the outbox to NATS until told to stop."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from clearing.events import relay


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
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for told in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(told, stop.set)
        await relay.run(settings.NATS_URL, stop=stop, on_ready=self._announce)

    def _announce(self) -> None:
        self.stdout.write("relay ready")
        self.stdout.flush()
