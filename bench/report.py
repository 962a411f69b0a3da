"""Show the figures as a table, and write them down for whoever compares two runs."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from django.db import connection
from rich.console import Console
from rich.table import Table

from bench.model import Row
from bench.netting_bench import Efficiency

RESULTS = Path(__file__).with_name("results.json")


def table(title: str, rows: list[Row]) -> Table:
    """Draw figures, each beside its floor; what was promised and not kept stands out."""
    drawn = Table(title=title, title_justify="left", title_style="bold", expand=False)
    drawn.add_column("what")
    drawn.add_column("rows", justify="right")
    drawn.add_column("took", justify="right")
    drawn.add_column("ratio", justify="right", style="bold")
    drawn.add_column("to the floor")
    drawn.add_column("floor", justify="right")
    drawn.add_column("goal", justify="right")
    for row in rows:
        drawn.add_row(
            row.name,
            f"{row.size:,}",
            amount(row.seconds, row.unit),
            ratio(row.ratio),
            row.floor_name,
            amount(row.floor_seconds, row.unit),
            goal(row),
        )
    return drawn


def efficiencies(found: list[Efficiency]) -> Table:
    """Draw what each mode achieves on each kind of network, beside what none can exceed."""
    drawn = Table(title="efficiency", title_justify="left", title_style="bold")
    for name in ("network", "obligations", "participants", "mode", "efficiency", "bound", "proven"):
        drawn.add_column(name, justify="left" if name in ("network", "mode", "proven") else "right")
    for each in found:
        figures = (f"{each.efficiency:.2%}", f"{each.bound:.2%}", "yes" if each.proven else "[red]no[/]")
        drawn.add_row(each.network, f"{each.obligations:,}", f"{each.participants:,}", each.mode, *figures)
    return drawn


def amount(value: float, unit: str) -> str:
    """Write a figure with its unit, seconds in the unit that suits them."""
    if unit != "s":
        return f"{value:,.1f} {unit}"
    for below, factor, name in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if value < below:
            return f"{value * factor:,.1f} {name}"
    return f"{value:,.2f} s"


def ratio(value: float) -> str:
    """Write a ratio with three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def goal(row: Row) -> str:
    """Write the promise and whether it was kept; nothing where nothing was promised."""
    if row.limit is None:
        return ""
    return f"≤ {ratio(row.limit)} [green]met[/]" if row.met else f"≤ {ratio(row.limit)} [red]missed[/]"


def write(figures: dict[str, list[Row]], more: dict[str, Any]) -> None:
    """Write ``bench/results.json``: every figure by component, and *more* about the run."""
    listed = {
        component: [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
        for component, rows in figures.items()
    }
    RESULTS.write_text(json.dumps({**more, "figures": listed}, indent=1, ensure_ascii=False) + "\n")


def machine(*, load_before: float) -> dict[str, Any]:
    """Describe where it was measured, and how busy that was with other work before and after."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), current_setting('fsync')")
        version, fsync = cursor.fetchone()
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "postgresql": version,
        "fsync": fsync,
    }


def show(console: Console, title: str, rows: list[Row]) -> None:
    """Print a table and the notes of its figures."""
    console.print(table(title, rows))
    for row in rows:
        if row.note:
            console.print(f"  [dim]{row.name}, {row.size:,}: {row.note}[/]")
    console.print()
