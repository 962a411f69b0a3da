"""Search for the choice of obligations that settles the most value, or the most obligations."""

from bisect import bisect_left
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from netting.liquidity_bounds import constraints
from netting.model import Mask, exact_sum
from netting.queues import Queue

MILP_OBLIGATIONS_MAX: Final = 20_000
PASSES_MAX: Final = 20


def every_choice(queue: Queue, *, by_count: bool) -> Mask:
    """
    Return the best of all 2**m choices; exact.

    Of several: the one with more value or count besides, then the one that settles earlier obligations.
    """
    count = len(queue)
    closing = queue.available[None, :]
    value, number = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for row in range(count):  # the first obligation ends up as the highest bit
        moved = closing.copy()
        moved[:, queue.payer[row]] -= queue.amounts[row]
        moved[:, queue.payee[row]] += queue.amounts[row]
        closing = np.stack((closing, moved), axis=1).reshape(-1, len(queue.available))
        value = np.stack((value, value + queue.amounts[row]), axis=1).ravel()
        number = np.stack((number, number + 1), axis=1).ravel()
    feasible = np.flatnonzero((closing >= 0).all(axis=1))
    first, second = (number, value) if by_count else (value, number)
    rank = np.lexsort((feasible, second[feasible], first[feasible]))
    best_mask = int(feasible[rank[-1]])
    return np.array([best_mask >> (count - 1 - row) & 1 for row in range(count)], np.bool_)


def best(queue: Queue, starts: list[Mask], *, by_count: bool, goal: int, seconds: float) -> Mask:
    """
    Return the best choice found: from each of *starts*, and from a MILP solver unless *goal* is met.

    No single method is safe: each start is first cut down to what is feasible, then filled up.
    """
    found = [_fill(queue, _cut(queue, start, by_count=by_count), by_count=by_count) for start in starts]
    found.append(_fill(queue, np.zeros(len(queue), np.bool_), by_count=by_count))
    top = max(found, key=lambda choice: _worth(queue, choice, by_count=by_count))
    reached = _worth(queue, top, by_count=by_count)[0]
    if reached < goal and len(queue) <= MILP_OBLIGATIONS_MAX and seconds > 0:
        start = _integer_programme(queue, by_count=by_count, seconds=seconds)
        tried = _fill(queue, _cut(queue, start, by_count=by_count), by_count=by_count)
        top = max(top, tried, key=lambda choice: _worth(queue, choice, by_count=by_count))
    return top


def _worth(queue: Queue, choice: Mask, *, by_count: bool) -> tuple[int, int]:
    value, count = exact_sum(queue.amounts[choice]), int(np.count_nonzero(choice))
    return (count, value) if by_count else (value, count)


def _cut(queue: Queue, start: Mask, *, by_count: bool) -> Mask:
    """
    Take obligations away until nobody ends below zero.

    Of a payer that is short: by value the smallest that covers what it lacks, or else the largest; by
    count the largest, so that few go.
    """
    settled = start.copy()
    closing = queue.closing(settled).tolist()
    held: list[list[tuple[int, int]]] = [[] for _ in closing]
    rows = np.flatnonzero(settled)
    rows = rows[np.argsort(queue.amounts[rows], kind="stable")]
    for row, who, amount in zip(
        rows.tolist(), queue.payer[rows].tolist(), queue.amounts[rows].tolist(), strict=True
    ):
        held[who].append((amount, row))
    payees = queue.payee.tolist()
    short = [who for who, left in enumerate(closing) if left < 0]
    while short:
        who = short.pop()
        while closing[who] < 0:
            place = len(held[who]) - 1
            if not by_count:
                place = min(bisect_left(held[who], (-closing[who], -1)), place)
            amount, row = held[who].pop(place)
            settled[row] = False
            closing[who] += amount
            closing[payees[row]] -= amount
            if closing[payees[row]] < 0:
                short.append(payees[row])
    return settled


def _fill(queue: Queue, start: Mask, *, by_count: bool) -> Mask:
    """Settle what its payer can afford, largest first by value, smallest first by count, until nothing is."""
    settled = start.copy()
    closing = queue.closing(settled).tolist()
    rows = np.flatnonzero(~settled)
    by_amount = np.argsort(queue.amounts[rows] if by_count else -queue.amounts[rows], kind="stable")
    waiting = rows[by_amount].tolist()
    payers, payees, amounts = queue.payer.tolist(), queue.payee.tolist(), queue.amounts.tolist()
    for _ in range(PASSES_MAX):
        still = []
        for row in waiting:
            if closing[payers[row]] >= amounts[row]:
                closing[payers[row]] -= amounts[row]
                closing[payees[row]] += amounts[row]
                settled[row] = True
            else:
                still.append(row)
        if len(still) == len(waiting):
            break
        waiting = still
    return settled


def _integer_programme(queue: Queue, *, by_count: bool, seconds: float) -> Mask:
    """Ask HiGHS. It works in doubles, so its answer is a suggestion: what it breaks is cut afterwards."""
    scale = float(queue.amounts.max())
    matrix = constraints(queue.payer, queue.payee, queue.amounts, len(queue.available)) / scale
    worth = np.ones(len(queue)) if by_count else queue.amounts / scale
    solved = milp(
        -worth,
        integrality=np.ones(len(queue)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, ub=queue.available / scale),
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    if solved.x is None:
        return np.zeros(len(queue), np.bool_)
    return np.asarray(solved.x > 0.5)
