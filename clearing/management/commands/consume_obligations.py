"""``manage.py consume_obligations``: take obligations from NATS until told to stop."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from clearing.consumers import obligations


class Command(BaseCommand):
    help = (
        "Take obligations from the NATS subject clearing.obligations.submit until SIGTERM or Ctrl-C. Prints"
        " 'obligation consumer ready' once it is connected. Several may run and share the work."
    )
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())
        self.stdout.write("obligation consumer stopped")

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for told in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(told, stop.set)
        await obligations.run(settings.NATS_URL, stop=stop, on_ready=self._announce)

    def _announce(self) -> None:
        self.stdout.write("obligation consumer ready")
        self.stdout.flush()
