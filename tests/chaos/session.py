"""Series of runs: printed as a table, or asked for and answered line by line."""

import json
import statistics
import sys
from collections import Counter, defaultdict

from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import Cluster
from tests.chaos.driver import Driver, Outcome
from tests.chaos.plan import ENGINE_KINDS, ENGINE_MODES, KINDS, Plan, draw, draw_outside, scenario

ENDINGS = ("Completed", "RolledBack", "Failed", "Settling")
WITHOUT_SWEEP_SECONDS = 6.0
WIDTH = 130  # columns of the table, on a terminal or in a file


def serve(cluster: Cluster) -> int:
    """Play each request of stdin until it ends."""
    driver = Driver(cluster)
    driver.set_up()
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(answer(driver, asked).as_json() + "\n")
        sys.stdout.flush()
    return 0


def answer(driver: Driver, asked: dict[str, object]) -> Outcome:
    """Play what one request asks for."""
    if "seed" in asked:
        return driver.play(planned(driver.cluster, int(str(asked["seed"]))))
    plan = scenario(str(asked["point"]), str(asked["action"]))
    if not asked.get("without_sweep"):
        return driver.play(plan)
    driver.enable_sweep(enabled=False)
    try:
        return driver.play(plan, patience_seconds=WITHOUT_SWEEP_SECONDS)
    finally:
        driver.enable_sweep(enabled=True)


def planned(cluster: Cluster, seed: int) -> Plan:
    """Draw the run of *seed* for what settles on this cluster."""
    return draw_outside(seed) if cluster.outside else draw(seed)


def series(cluster: Cluster, *, seed: int, runs: int) -> int:
    """Play *runs* seeds from *seed* on and print what came of them; 1 if anything was violated."""
    console, outcomes = Console(), list[Outcome]()
    driver = Driver(cluster)
    driver.set_up()
    for number in range(seed, seed + runs):
        outcome = driver.play(planned(cluster, number))
        outcomes.append(outcome)
        drawn = ", ".join(kind + (f" at {point}" if point else "") for kind, point, _ in outcome.faults)
        drawn += "".join(f", {count} orders {mode}" for mode, count in sorted(outcome.orders.items()))
        ended = ", ".join(f"{count} {status}" for status, count in sorted(outcome.endings.items()))
        console.print(f"seed {number}: {ended}; at rest after {outcome.recovery_seconds} s; {drawn}")
        for violation in outcome.violations:
            console.print(f"  VIOLATION with seed {number}: {violation}", style="bold red", markup=False)
    Console(width=max(console.width, WIDTH)).print(table(outcomes))
    console.print(summary(outcomes, cluster))
    bad = [outcome.seed for outcome in outcomes if outcome.violations]
    if bad:
        console.print(f"Violated with seed {', '.join(map(str, bad))}.", style="bold red")
    return 1 if bad else 0


def table(outcomes: list[Outcome]) -> Table:
    """Faults by how the windows of their runs ended, and how long the runs took to come to rest."""
    shown = Table(title="Faults, and how the windows of runs with them ended")
    shown.add_column("fault")
    for heading in ("drawn", "struck", *ENDINGS, "violations", "at rest: min", "median", "max s"):
        shown.add_column(heading, justify="right")
    drawn, struck, violations = Counter[str](), Counter[str](), Counter[str]()
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for kind, _, did_strike in outcome.faults:
            drawn[kind] += 1
            struck[kind] += did_strike
        for mode, count in outcome.orders.items():
            struck[f"order {mode}"] += count
        kinds = {kind for kind, _, did_strike in outcome.faults if did_strike}
        for kind in kinds | {f"order {mode}" for mode in outcome.orders} | {"all runs"}:
            endings[kind].update(outcome.endings)
            violations[kind] += len(outcome.violations)
            seconds[kind].append(outcome.recovery_seconds)
    drawn["all runs"] = sum(drawn.values())
    struck["all runs"] = sum(count for kind, count in struck.items() if drawn[kind])
    outside = (*ENGINE_KINDS, *(f"order {mode}" for mode in ENGINE_MODES))
    shown_kinds = (*KINDS, *(kind for kind in outside if struck[kind] or drawn[kind]))
    for kind in (*shown_kinds, "all runs"):
        times = seconds[kind]
        measured = (min(times), statistics.median(times), max(times)) if times else ()
        shown.add_row(
            kind,
            str(drawn[kind]) if drawn[kind] or kind in KINDS else "",  # orders are not drawn one by one
            *map(str, (struck[kind], *(endings[kind][status] for status in ENDINGS))),
            str(violations[kind]),
            *(f"{value:.1f}" for value in measured),
            end_section=kind == shown_kinds[-1],
        )
    return shown


def summary(outcomes: list[Outcome], cluster: Cluster) -> str:
    """What the series came to."""
    ended = sum((Counter(outcome.endings) for outcome in outcomes), Counter[str]())
    restarts = ", ".join(f"{name} {count}" for name, count in sorted(cluster.restarts.items())) or "none"
    return (
        f"{len(outcomes)} runs, {sum(ended.values())} windows: "
        + ", ".join(f"{ended[status]} {status}" for status in ENDINGS)
        + f"; {sum(len(outcome.violations) for outcome in outcomes)} violations. Restarted: {restarts}."
    )
