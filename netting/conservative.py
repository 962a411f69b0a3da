"""
Conservative netting: set off the most that can be without a single new counterparty.

Obligations run in circles; a circle of equal amounts can be set off by all its members at once, and
every net position stays what it was. The most that can be set off is a maximum circulation: a
min-cost flow with the gross amounts as capacities and cost -weight a unit, exact in integers. What
remains only shrinks obligations that exist.

Three short cuts that are wrong: cutting circles until none is left (an acyclic rest may be far from the
least), netting pairs first (A->B 5, B->A 3, A->C 3, C->B 3 leaves 8 instead of 5), and taking a
strongly connected component for a circle.

Sources: P. D'Errico and T. Roukny, *Compressing over-the-counter markets*, 2017 (conservative
compression); G. B. Dantzig, minimum-cost circulation; the solver is OR-tools' cost scaling push-relabel.
"""

from typing import Final

import numpy as np
import ortools
from ortools.graph.python import min_cost_flow
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from netting.errors import SolverFailed
from netting.model import Ints, Pairs, index

SAMPLE_PER_PARTICIPANT: Final = 16
ROUNDS_MAX: Final = 4
SOLVER: Final = "ortools.SimpleMinCostFlow"
VERSION: Final = str(ortools.__version__)


def circulation(pairs: Pairs, labels: Ints) -> Ints:
    """
    Return how much of each pair is set off: the circulation of greatest total weight.

    Of several optima the solver's choice; it depends on the canonical pairs alone. An obligation
    that leads out of its strongly connected component lies on no circle, so only the others are solved.

    Args:
        labels: each participant's component, from ``components``.

    Raises:
        SolverFailed: the solver found no optimum; does not happen for input ``Pairs`` accepts.
    """
    whole = int(labels.max(initial=0)) == 0
    inner = np.ones(len(pairs), np.bool_) if whole else labels[pairs.payer] == labels[pairs.payee]
    if len(pairs) and (whole or inner.all()):
        return _solve(pairs.payer, pairs.payee, pairs.gross_minor, pairs.weights)
    set_off = np.zeros(len(pairs), np.int64)
    if inner.any():
        _, tails, heads = index(pairs.payer[inner], pairs.payee[inner])
        weights = None if pairs.weights is None else pairs.weights[inner]
        set_off[inner] = _solve(tails, heads, pairs.gross_minor[inner], weights)
    return set_off


def components(pairs: Pairs) -> Ints:
    """Return the number of each participant's strongly connected component. O(n + m)."""
    participants = len(pairs.ids)
    if _connected(pairs):
        return np.zeros(participants, np.int64)
    starts = np.searchsorted(pairs.payer, np.arange(participants + 1))
    graph = csr_array(
        (np.ones(len(pairs)), pairs.payee.astype(np.int32), starts.astype(np.int32)),
        shape=(participants, participants),
    )
    if pairs.weights is not None:
        graph.sum_duplicates()  # SciPy's search never ends on parallel arcs
    _, labels = connected_components(graph, directed=True, connection="strong")
    return np.asarray(labels, np.int64)


def _connected(pairs: Pairs) -> bool:
    """
    Tell whether everyone is reached from one participant, and reaches it, over a sample of the pairs.

    True is certain; False may be wrong. Most networks are one component, and this is the quickest to see it.
    """
    sample = slice(None, None, max(len(pairs) // (SAMPLE_PER_PARTICIPANT * max(len(pairs.ids), 1)), 1))
    payer, payee = pairs.payer[sample], pairs.payee[sample]
    for tails, heads in ((payer, payee), (payee, payer)):
        reached = np.zeros(len(pairs.ids), np.bool_)
        reached[:1] = True
        rounds = 0
        while not reached.all():
            if rounds == ROUNDS_MAX:
                return False
            rounds += 1
            reached[heads[reached[tails]]] = True
    return True


def _solve(tails: Ints, heads: Ints, capacity: Ints, weights: Ints | None) -> Ints:
    """
    Run the solver over arcs in canonical order and return the flow on each.

    Weights go in by their greatest common divisor: which optimum the solver finds depends on their scale,
    and obligations of one weight shall be set off like obligations of none.
    """
    costs = np.full(len(capacity), -1, np.int64) if weights is None else -(weights // np.gcd.reduce(weights))
    solver = min_cost_flow.SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        tails.astype(np.int32), heads.astype(np.int32), capacity, costs
    )
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise SolverFailed(SOLVER, str(status))
    return np.asarray(solver.flows(arcs), np.int64)
