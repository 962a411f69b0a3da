"""
Bounds on what can settle, certified in integers.

Let obligations be divisible and the choice becomes linear; its dual prices give a bound that holds for
any prices and needs no trust in the solver that found them.
"""

from fractions import Fraction
from typing import Final

import numpy as np
from ortools.graph.python import min_cost_flow
from scipy.optimize import linprog
from scipy.sparse import csc_array

from netting.conservative import SOLVER
from netting.errors import SolverFailed
from netting.model import Ints
from netting.potentials import longest_paths

COUNT_LP_MAX: Final = 20_000  # obligations; above, the bound by payer alone stands


def of_value(payer: Ints, payee: Ints, amounts: Ints, available: Ints) -> tuple[Ints, int]:
    """
    Return the flow per obligation that settles most value if obligations were divisible, and that value.

    One min-cost flow: a cash node hands each participant what it has and takes back what is left; each
    unit of an obligation is worth 1. The value is proven by prices: it equals the dual exactly.

    Raises:
        SolverFailed: the solver found no optimum.
    """
    people = len(available)
    credit = np.zeros(people, np.int64)
    np.add.at(credit, payee, amounts)
    cash, everyone = np.full(people, people), np.arange(people)
    tails = np.concatenate((payer, cash, everyone))
    heads = np.concatenate((payee, everyone, cash))
    capacity = np.concatenate((amounts, available, available + credit))
    weights = np.concatenate((np.ones(len(amounts), np.int64), np.zeros(2 * people, np.int64)))
    solver = min_cost_flow.SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        tails.astype(np.int32), heads.astype(np.int32), capacity, -weights
    )
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise SolverFailed(SOLVER, str(status))
    flow = np.asarray(solver.flows(arcs), np.int64)
    prices = longest_paths(
        tails, heads, weights=weights, left=flow < capacity, used=flow > 0, participants=people + 1
    )
    gain = np.maximum(0, weights - (prices[heads] - prices[tails]))
    value = int(flow[: len(amounts)].sum())
    assert value == sum(map(int.__mul__, capacity.tolist(), gain.tolist())), "the bound is not proven"
    return flow[: len(amounts)], value


def of_count(payer: Ints, payee: Ints, amounts: Ints, available: Ints) -> int:
    """
    Return a number of obligations that no choice exceeds.

    The lesser of two: each payer's smallest obligations that fit what it has and is owed in all; and, up
    to 20,000 obligations, the linear relaxation's dual value at prices rounded to fractions of 2**-60.
    """
    bound = _by_payer(payer, payee, amounts, available)
    if 0 < len(amounts) <= COUNT_LP_MAX and bound > 0:
        bound = min(bound, _relaxed_count(payer, payee, amounts, available))
    return bound


def _by_payer(payer: Ints, payee: Ints, amounts: Ints, available: Ints) -> int:
    """Count, payer by payer, the smallest obligations that fit if all owed to it came in."""
    means = available.copy()
    np.add.at(means, payee, amounts)
    order = np.lexsort((amounts, payer))
    running = np.cumsum(amounts[order])
    first = np.searchsorted(payer[order], payer[order])  # where each row's payer begins
    spent = running - (running[first] - amounts[order][first])
    return int(np.count_nonzero(spent <= means[payer[order]]))


def _relaxed_count(payer: Ints, payee: Ints, amounts: Ints, available: Ints) -> int:
    """Return the dual value, rounded down, at the solver's prices: exact whatever those are."""
    matrix = constraints(payer, payee, amounts, len(available))
    scale = float(amounts.max())
    solved = linprog(
        -np.ones(len(amounts)), A_ub=matrix / scale, b_ub=available / scale, bounds=(0, 1), method="highs"
    )
    if solved.status != 0:
        return len(amounts)
    unit = 1 << 60
    prices = [max(0, round(Fraction(-price) * unit / Fraction(scale))) for price in solved.ineqlin.marginals]
    total: int = sum(map(int.__mul__, prices, available.tolist()))
    rows = zip(payer.tolist(), payee.tolist(), amounts.tolist(), strict=True)
    total += sum(max(0, unit - amount * (prices[who] - prices[whom])) for who, whom, amount in rows)
    return total // unit


def constraints(payer: Ints, payee: Ints, amounts: Ints, participants: int) -> csc_array:
    """Return the matrix whose product with a choice is what each participant pays less what it receives."""
    rows = np.arange(len(amounts))
    entries = np.concatenate((amounts, -amounts)).astype(np.float64)
    places = (np.concatenate((payer, payee)), np.concatenate((rows, rows)))
    return csc_array((entries, places), shape=(participants, len(amounts)))
