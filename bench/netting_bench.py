"""
Netting against its floors, and what each mode achieves on networks as they occur.

``measure`` and ``efficiencies`` are called by ``make bench``; alone: ``python -m bench.netting_bench``.
"""

import csv
import dataclasses
import gc
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.graph.python import min_cost_flow

from bench.model import Row
from bench.netting_networks import KINDS, Network, core_periphery
from netting import bilateral, conservative, liquidity, modes, money, multilateral, rows, transfers
from netting.model import Mode, Pairs
from netting.queues import Queue

WINDOW_CPU_SECONDS = 0.050  # the budget of a window of 10,000 obligations, per mode


def measure(sizes: list[int]) -> list[Row]:
    """Measure every part at every size, in rising order of size."""
    return [row for size in sorted(sizes) for row in _at(size)]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What one mode leaves to move on one network."""

    network: str
    mode: str
    obligations: int
    participants: int
    efficiency: float
    bound: float
    proven: bool


def efficiencies(size: int) -> list[Efficiency]:
    """Net one network of each kind in each mode; the bound is the efficiency none can exceed."""
    found = []
    for kind, draw in KINDS.items():
        pairs = Pairs.of(*draw(size))
        for mode in Mode:
            outcome = modes.net(pairs, mode=mode)
            figures = outcome.measures
            found.append(
                Efficiency(
                    network=kind,
                    mode=mode.value,
                    obligations=size,
                    participants=len(pairs.ids),
                    efficiency=figures.efficiency,
                    bound=1 - figures.bound / figures.gross,
                    proven=not outcome.faults(),
                )
            )
    return found


def _at(size: int) -> Iterator[Row]:
    """Measure every part on one network of *size* obligations."""
    network = core_periphery(size)
    pairs = Pairs.of(*network)
    named = dataclasses.replace(pairs, names=tuple(f"BANK{place:05}" for place in pairs.ids.tolist()))
    yield from _closed_forms(network, pairs)
    yield from _conservative(named, size)
    yield from _window(network, pairs)
    yield from _text(network)
    yield _liquidity(network)


def _closed_forms(network: Network, pairs: Pairs) -> Iterator[Row]:
    payers, payees, amounts = network
    size = len(amounts)
    memory, positions = side_by_side(
        lambda: (payers.sum(), payees.sum(), amounts.sum()),
        lambda: multilateral.positions(payers, payees, amounts),
        tries=9,
    )
    yield Row("net positions", size, positions, "memory pass over the same bytes", memory, limit=20)
    keys = payers * (1 << 31) + payees
    ordering = best(lambda: np.argsort(keys, kind="stable"))
    yield Row(
        "rows into canonical pairs", size, best(lambda: Pairs.of(*network)), "sort of the keys", ordering
    )
    folding = best(lambda: bilateral.net(pairs))
    yield Row("bilateral positions from pairs", len(pairs), folding, "sort of the keys", ordering)


def _conservative(pairs: Pairs, size: int) -> Iterator[Row]:
    """
    Measure the mode with all it returns, positions and certificate, against the solver alone.

    The participants have names, as they do in the engine; the solver is given the same pairs as arrays.
    """
    tries = {10_000: 200, 100_000: 9}.get(size, 3)
    labels = conservative.components(pairs)
    outcome = modes.net(pairs, mode=Mode.CONSERVATIVE)
    hashed_in = [*modes.input_columns(pairs), outcome.left]
    columns = [*(column.astype("<i4") for column in hashed_in), outcome.positions.net]
    bare, whole, solve, check, hashed = side_by_side(
        lambda: _bare_solver(pairs),
        lambda: modes.net(pairs, mode=Mode.CONSERVATIVE),
        lambda: conservative.circulation(pairs, labels),
        outcome.faults,
        lambda: [hashlib.sha256(column.data).digest() for column in columns],
        tries=tries,
    )
    assert outcome.faults() == []
    yield Row("conservative mode, certificate issued", size, whole, "bare solver call", bare, limit=1.3)
    yield Row("certificate checked", size, check, "conservative solve", solve, limit=0.15)
    yield Row("SHA-256 of input and result alone", size, hashed, "conservative solve", solve)


def _bare_solver(pairs: Pairs) -> None:
    solver = min_cost_flow.SimpleMinCostFlow()
    costs = np.full(len(pairs), -1, np.int64)
    tails, heads = pairs.payer.astype(np.int32), pairs.payee.astype(np.int32)
    arcs = solver.add_arcs_with_capacity_and_unit_cost(tails, heads, pairs.gross_minor, costs)
    assert solver.solve() == solver.OPTIMAL
    solver.flows(arcs)


def _window(network: Network, pairs: Pairs) -> Iterator[Row]:
    """Net, prove, check and settle a window of 10,000, in CPU time against its budget."""
    if len(network[2]) != 10_000:
        return
    for mode in Mode:

        def whole(mode: Mode = mode) -> None:
            outcome = modes.net(pairs, mode=mode)
            assert outcome.faults() == []
            transfers.direct(outcome.positions)

        spent = best(whole, clock=time.process_time)
        yield Row(f"{mode} window, CPU", 10_000, spent, "budget of 50 ms", WINDOW_CPU_SECONDS, limit=1)


def _text(network: Network) -> Iterator[Row]:
    columns = (column.tolist() for column in network)
    lines = [
        f"P{payer},P{payee},USD,{amount // 100}.{amount % 100:02}"
        for payer, payee, amount in zip(*columns, strict=True)
    ]
    lines.insert(0, "payer,payee,currency,amount")
    texts = [line.rsplit(",", 1)[1] for line in lines[1:]]
    size = len(texts)
    plain = best(lambda: [int(text.replace(".", "")) for text in texts], tries=2)
    parsed = best(lambda: [money.parse_minor(text, "USD") for text in texts], tries=2)
    yield Row("amounts parsed", size, parsed, "int() of the digits", plain)
    split = best(lambda: list(csv.reader(lines)), tries=2)
    yield Row(
        "CSV into obligations",
        size,
        best(lambda: rows.read_obligations(lines), tries=2),
        "csv.reader alone",
        split,
    )


def _liquidity(network: Network) -> Row:
    payers, payees, amounts = network
    people = int(max(payers.max(), payees.max())) + 1
    debit, _ = multilateral.totals(payers, payees, amounts, people)
    queue = Queue.of(payers, payees, amounts, balances=debit // 4)
    ordering = best(lambda: sorted(zip(payers.tolist(), amounts.tolist(), strict=True)), tries=2)
    found = best(lambda: liquidity.fifo(queue), tries=2)
    return Row("FIFO within balances", len(amounts), found, "sort of the same rows in Python", ordering)


def best(call: Callable[[], Any], *, tries: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least seconds of a few tries: what the machine can do, not what else it did."""
    return side_by_side(call, tries=tries, clock=clock)[0]


def side_by_side(
    *calls: Callable[[], Any], tries: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the least seconds of each call, taken in turn, so that a busy moment hits all alike."""
    least = [float("inf")] * len(calls)
    gc.disable()  # as timeit does: whose turn it is to collect is no property of the code
    try:
        for _ in range(tries):
            for place, call in enumerate(calls):
                start = clock()
                call()
                least[place] = min(least[place], clock() - start)
    finally:
        gc.enable()
    return least


def main() -> int:
    """Print both tables; exit 1 if a promise is broken."""
    sizes = [int(size) for size in os.environ.get("SIZES", "10000,100000,1000000").split(",")]
    measured = measure(sizes)
    for row in measured:
        promise = "" if row.limit is None else f"limit {row.limit:g} {'kept' if row.met else 'BROKEN'}"
        figures = f"{row.seconds * 1e3:>10.2f} ms {row.ratio:>8.2f} x"
        print(f"{row.size:>9,}  {row.name:<38}{figures} {row.floor_name}  {promise}")
    print()
    for found in efficiencies(min(sizes[-1], 100_000)):
        print(
            f"{found.network:<15} {found.participants:>7,} participants  {found.mode:<13} "
            f"{found.efficiency:>8.2%} of {found.bound:.2%}  {'proven' if found.proven else 'NOT PROVEN'}"
        )
    return 0 if all(row.met for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
