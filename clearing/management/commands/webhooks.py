"""``manage.py webhooks``: deliver events over HTTP until told to stop."""

from typing import Any

from django.core.management.base import BaseCommand

from clearing.webhooks import delivery
from clearing_project import stopping


class Command(BaseCommand):
    help = (
        "Deliver events to webhook endpoints until SIGTERM or Ctrl-C. Prints 'webhooks ready'. Several may"
        " run: one delivers, the others stand by."
    )
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        delivery.run(stopping.told().wait, on_ready=self._announce)
        self.stdout.write("webhooks stopped")

    def _announce(self) -> None:
        self.stdout.write("webhooks ready")
        self.stdout.flush()
