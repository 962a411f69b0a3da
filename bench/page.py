"""Put the figures of the last run into docs/performance.md: ``python -m bench.page``."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.model import Row

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN: Final = "<!-- figures: written by python -m bench.page -->\n"
END: Final = "<!-- end of figures -->\n"
TITLES: Final = {
    "netting": "Netting",
    "operations": "Atomic operations",
    "intake": "Intake",
    "window": "A window's run",
    "doors": "Intake through the doors",
}


def main() -> int:
    """Replace what stands between the two marks."""
    results = json.loads(report.RESULTS.read_text("utf-8"))
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{figures(results)}\n{END}{tail}", "utf-8")
    return 0


def figures(results: dict[str, Any]) -> str:
    """Write every table of a run, and where it was taken."""
    machine, load = results["machine"], results["machine"]["load"]
    where = f"{machine['cpus']} processors, {machine['memory_gb']} GB, Python {machine['python']}"
    server = f"PostgreSQL {machine['postgresql']}, fsync {machine['fsync']}"
    busy = f"load {load['before']:.1f} before, {load['after']:.1f} after"
    parts = [f"Taken {results['at'][:10]}: {where}, {server}; {busy}.\n"]
    for component, rows in results["figures"].items():
        parts += [f"### {TITLES[component]}\n", _table([_row(row) for row in rows])]
    return "\n".join(parts)


def _row(stored: dict[str, Any]) -> Row:
    return Row(**{name: value for name, value in stored.items() if name not in ("ratio", "met")})


def _table(rows: list[Row]) -> str:
    lines = ["| what | rows | took | ratio | to the floor | floor | goal |", "|---|--:|--:|--:|---|--:|---|"]
    for row in rows:
        goal = (
            "" if row.limit is None else f"≤ {report.ratio(row.limit)} {'met' if row.met else '**missed**'}"
        )
        took, floor = report.amount(row.seconds, row.unit), report.amount(row.floor_seconds, row.unit)
        ratio = f"**{report.ratio(row.ratio)}**"
        lines.append(
            f"| {row.name} | {row.size:,} | {took} | {ratio} | {row.floor_name} | {floor} | {goal} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
