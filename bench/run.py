"""Every benchmark, in order; Django is set up and the servers run."""

import os
from dataclasses import asdict
from pathlib import Path

from django.core.management import call_command
from django.utils import timezone
from rich.console import Console

from bench import (
    community,
    doors_bench,
    intake_bench,
    nats_bench,
    netting_bench,
    operation_bench,
    report,
    site,
    window_bench,
    worker_bench,
)
from bench.model import Row

WORKER_MAX = 100_000  # a larger window is cleared by the worker once, while intake goes on
EFFICIENCIES_MAX = 100_000
PARTS = ("netting", "operations", "cycle", "doors")


class Run:
    """One run: figures by component, shown as they come."""

    def __init__(self, sizes: list[int], directory: Path, console: Console) -> None:
        self.sizes, self.directory, self.console = sizes, directory, console
        self.started_at = timezone.now()
        self.load_before = os.getloadavg()[0]
        self.figures: dict[str, list[Row]] = {}
        self.efficiencies: list[netting_bench.Efficiency] = []

    def measure(self, parts: set[str]) -> None:
        """Measure the parts that are asked for, and write the results."""
        call_command("migrate", verbosity=0, interactive=False)
        community.found(at=self.started_at)
        if "netting" in parts:
            self._netting()
        if "operations" in parts:
            self._show("operations", "atomic operations", operation_bench.measure())
        if "cycle" in parts:
            self._cycle()
        if "doors" in parts:
            rows = doors_bench.measure(site.of(self.directory), self.directory, self.sizes)
            rows += nats_bench.measure(site.of(self.directory), self.sizes)
            rows += intake_bench.beside_floors([row for row in rows if row.unit == "s"])
            self._show("doors", "intake through the doors", rows)
        more = {
            "at": self.started_at.isoformat(),
            "sizes": self.sizes,
            "machine": report.machine(load_before=self.load_before),
            "efficiencies": [asdict(each) for each in self.efficiencies],
        }
        report.write(self.figures, more)
        self.console.print(f"written to {report.RESULTS}")

    def _netting(self) -> None:
        self._show("netting", "netting", netting_bench.measure(self.sizes))
        self.efficiencies = netting_bench.efficiencies(min(self.sizes[-1], EFFICIENCIES_MAX))
        self.console.print(report.efficiencies(self.efficiencies))

    def _cycle(self) -> None:
        """Fill windows of each size, clear one here and one by the worker, and take more in meanwhile."""
        with site.running(site.of(self.directory), "worker-1"):
            worker_bench.warm_up()
            for size in self.sizes:
                taken = intake_bench.measure(size)
                self._show("intake", f"intake of {size:,} obligations", taken.rows)
                here, *others = taken.windows
                rows, seconds = window_bench.measure(here)
                if size <= WORKER_MAX:
                    rows.append(worker_bench.measure(others.pop(), size, in_process_seconds=seconds))
                if size == self.sizes[-1]:
                    rows.append(worker_bench.intake_meanwhile(others.pop(), size))
                self._show("window", f"a window of {size:,} obligations", rows)

    def _show(self, component: str, title: str, rows: list[Row]) -> None:
        self.figures.setdefault(component, []).extend(rows)
        report.show(self.console, title, rows)
