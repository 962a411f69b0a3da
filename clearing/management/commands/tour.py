"""``manage.py tour``: one window over gRPC, told by a stream, by NATS and by a webhook, all alike."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

from clearing_project.stack import foreground
from clearing_project.stack.runtime import data_dir


class Command(BaseCommand):
    help = "Start the whole stack, drive a window from open to completed over gRPC alone, and stop."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ["WEBHOOKS_ALLOW_PRIVATE"] = "true"  # the tour's receiver is on this machine
        sys.exit(
            foreground.run(
                data_dir(),
                workers=1,
                concurrency=2,
                sample=True,
                first=("manage.py", "tour_window"),
                once=True,
            )
        )
