"""Watch a window being cleared, in the terminal."""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from clearing import operations
from clearing.models import AtomicOperation, Checkpoint, ClearingWindow, FrozenSet, NettingResult
from clearing.states import CheckpointStatus, OperationStatus, WindowStatus

POLL_SECONDS = 0.1
UNTAKEN_SECONDS = 15.0
MARKS = {
    CheckpointStatus.PLANNED: ("·", "dim"),
    CheckpointStatus.STARTED: ("…", "yellow"),
    CheckpointStatus.APPLIED: ("✓", "green"),
    CheckpointStatus.UNDONE: ("↩", "red"),
}
ENDED = (OperationStatus.ROLLED_BACK, OperationStatus.ROLLBACK_FAILED, OperationStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Sight:
    """A window and its run as they are at one moment."""

    window: ClearingWindow
    operation: AtomicOperation
    checkpoints: list[Checkpoint]
    currencies: int
    netted: int

    @property
    def is_over(self) -> bool:
        """Completed, rolled back, failed, or held for an operator's release."""
        return (
            self.window.status in (WindowStatus.COMPLETED, WindowStatus.FAILED)
            or self.operation.status in ENDED
            or self.is_held
        )

    @property
    def is_held(self) -> bool:
        """Committed, and waiting for someone to release its settlement."""
        return operations.is_held(self.operation)

    @property
    def is_untouched(self) -> bool:
        """No worker has taken anything yet."""
        return all(row.status != CheckpointStatus.STARTED for row in self.checkpoints) and (
            sum(row.status == CheckpointStatus.APPLIED for row in self.checkpoints) <= 1
        )


def look(operation: AtomicOperation) -> Sight:
    """Read where the run stands now."""
    operation = AtomicOperation.objects.select_related("window").get(pk=operation.pk)
    return Sight(
        operation.window,
        operation,
        list(operation.checkpoints.order_by("position")),
        FrozenSet.objects.filter(operation=operation).count(),
        NettingResult.objects.filter(operation=operation).count(),
    )


def until_over(operation: AtomicOperation, console: Console, *, timeout_seconds: float) -> Sight:
    """Show progress on *console* until the run is over or the time is up; return the last sight."""
    since = time.monotonic()
    hinted = False
    with Live(console=console, refresh_per_second=10, transient=not console.is_terminal) as live:
        while True:
            sight = look(operation)
            live.update(_progress(sight))
            waited = time.monotonic() - since
            if sight.is_over or waited > timeout_seconds:
                return sight
            if waited > UNTAKEN_SECONDS and sight.is_untouched and not hinted:
                console.print("No worker has taken the window yet: does one run?", style="yellow")
                hinted = True
            time.sleep(POLL_SECONDS)


def checkpoint_table(sight: Sight) -> Table:
    """Lay out the run's checkpoints with what each took."""
    table = Table(title=f"checkpoints of operation {sight.operation.pk}", title_justify="left")
    for name, justify in (("", "left"), ("checkpoint", "left"), ("status", "left"), ("took", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in sight.checkpoints:
        mark, style = MARKS[CheckpointStatus(row.status)]
        took = ""
        if row.started_at and row.applied_at:
            took = f"{(row.applied_at - row.started_at) / timedelta(milliseconds=1):.0f} ms"
        table.add_row(Text(mark, style=style), row.name, Text(row.status, style=style), took)
    return table


def _progress(sight: Sight) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(
        _mark(sight),
        f"{sight.window.region} window {sight.window.pk}",
        Text(sight.window.status, style="bold"),
        _elapsed(sight.operation),
    )
    for row in sight.checkpoints:
        mark, style = MARKS[CheckpointStatus(row.status)]
        detail = ""
        if row.name == "netting_calculated" and sight.currencies:
            detail = f"{sight.netted} of {sight.currencies} currencies"
        table.add_row(Text(mark, style=style), f"  {row.name}", Text(row.status, style=style), detail)
    return table


def _mark(sight: Sight) -> Spinner | Text:
    if not sight.is_over:
        return Spinner("dots")
    done = sight.window.status == WindowStatus.COMPLETED
    return Text("✓", style="green") if done else Text("✗", style="red")


def _elapsed(operation: AtomicOperation) -> str:
    if operation.started_at is None:
        return ""
    until = operation.completed_at or timezone.now()
    return f"{(until - operation.started_at).total_seconds():.1f} s"
