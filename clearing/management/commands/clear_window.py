"""``manage.py clear_window``: close and clear a window now."""

import json
import sys
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from rich.console import Console

from clearing import emergency, operations, pipeline, windows
from clearing.api import shapes
from clearing.engine import pulls
from clearing.management import watch
from clearing.management.base import ClearingCommand
from clearing.models import AtomicOperation
from clearing.states import Region, WindowStatus

NOT_COMPLETED = 4
HELD = 6
TIMED_OUT = 7
REASON = "manage.py clear_window"


class Command(ClearingCommand):
    help = (
        "Close a window and clear it now. With --wait show progress and print the result as JSON."
        " Exit status with --wait: 0 completed, 4 rolled back or failed, 6 held for a release, 7 not in time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--window", type=int, metavar="ID", help="default: the region's accepting window")
        parser.add_argument("--region", default=Region.GLOBAL.value)
        parser.add_argument("--wait", action="store_true", help="wait for the end and print the result")
        parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
        parser.add_argument("--reason", default=REASON)
        parser.add_argument("--force-settlement", action="store_true", help="settle a run that is held")
        parser.add_argument(
            "--emergency", action="store_true", help="clear the region's accepting window as an emergency"
        )
        parser.add_argument(
            "--max-obligations", type=int, metavar="N", help="of an emergency: only the first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        operation = _start_emergency(options) if options["emergency"] else _start(options)
        window = operation.window
        if not options["wait"]:
            started = {"window_id": window.pk, "operation_id": str(operation.pk)}
            self.stdout.write(json.dumps({**started, "status": windows.get(window.pk).status}))
            return
        sight = watch.until_over(operation, Console(stderr=True), timeout_seconds=options["timeout"])
        result = msgspec.json.encode(shapes.result(sight.window))
        self.stdout.write(msgspec.json.format(result, indent=2).decode())
        sys.exit(_status(sight))


def _start_emergency(options: dict[str, Any]) -> AtomicOperation:
    """Clear the accepting window, or the one that is named, as an emergency; that needs a reason."""
    reason = operations.reason_given(options["reason"])
    if reason == REASON:
        raise operations.ReasonInvalid(operations.REASON_MAX)
    window = windows.get(options["window"]) if options["window"] else None
    return emergency.clear(
        Region(window.region) if window else windows.region(options["region"]),
        at=timezone.now(),
        reason=reason,
        max_obligations=options["max_obligations"],
        window_id=window.pk if window else None,
    )


def _start(options: dict[str, Any]) -> AtomicOperation:
    """Close the window if it is not, and start clearing; a run that Beat started first is followed."""
    region, reason = windows.region(options["region"]), options["reason"]
    window = (
        windows.get(options["window"]) if options["window"] else windows.accepting(region, at=timezone.now())
    )
    if window.status in (WindowStatus.OPEN, WindowStatus.CLOSING):
        window = windows.close(window, at=timezone.now(), reason=reason)
    if window.status == WindowStatus.CLOSING:
        raise pulls.PullPending(window.pk)
    try:
        return pipeline.clear(window, at=timezone.now(), reason=reason, release=options["force_settlement"])
    except operations.AlreadyProcessing as underway:
        live = operations.live_clearing(window.pk)
        if live is None:  # it ended badly between the two looks
            raise CommandError(f"{underway.code}: {underway}", returncode=NOT_COMPLETED) from underway
        return live


def _status(sight: watch.Sight) -> int:
    if sight.window.status == WindowStatus.COMPLETED:
        return 0
    if sight.is_held:
        return HELD
    return NOT_COMPLETED if sight.is_over else TIMED_OUT
