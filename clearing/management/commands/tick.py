"""``manage.py tick``: make the windows agree with the clock once, without waiting for Beat."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from clearing import clockwork
from clearing.states import Region


class Command(BaseCommand):
    help = "Open, close and start clearing whatever is due now. Beat does the same every few seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        for region in Region:
            clockwork.keep(region, at=timezone.now())
