"""``manage.py consume_obligations``: take obligations from NATS until told to stop."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from clearing.consumers import obligations
from clearing_project import stopping


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
        await obligations.run(settings.NATS_URL, stop=stopping.told_in_loop(), on_ready=self._announce)

    def _announce(self) -> None:
        self.stdout.write("obligation consumer ready")
        self.stdout.flush()
