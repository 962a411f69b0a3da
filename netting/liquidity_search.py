"""Search for the choice of obligations that settles the most value, or the most obligations."""

from bisect import bisect_left
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from netting.liquidity_bounds import constraints, of_value
from netting.model import Mask, exact_sum
from netting.queues import Queue

MILP_OBLIGATIONS_MAX: Final = 20_000
PASSES_MAX: Final = 20
ROUNDS_MAX: Final = 20
NEAR: Final = 64  # obligations looked at beyond the smallest that covers what lacks
WAYS: Final = (False, True)


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
    Return the best choice found.

    No single method is safe, so each of *starts* is cut down to what is feasible in two ways, filled up,
    and the best of all improved by rounding the flow of what still waits. If that misses *goal*, a MILP
    solver has *seconds* to do better.
    """
    nothing = np.zeros(len(queue), np.bool_)
    found = [fill(queue, nothing, by_count=by_count)]
    found += [
        fill(queue, cut(queue, start, largest=way), by_count=by_count) for start in starts for way in WAYS
    ]
    top = _improve(queue, _top(queue, found, by_count=by_count), by_count=by_count)
    reached = _worth(queue, top, by_count=by_count)[0]
    if reached < goal and len(queue) <= MILP_OBLIGATIONS_MAX and seconds > 0:
        suggested = _integer_programme(queue, by_count=by_count, seconds=seconds)
        tried = [fill(queue, cut(queue, suggested, largest=way), by_count=by_count) for way in WAYS]
        top = _top(queue, [top, *tried], by_count=by_count)
    return top


def _improve(queue: Queue, settled: Mask, *, by_count: bool) -> Mask:
    """
    Settle more of what waits: round down the flow of the rest over what is left, until that adds nothing.

    A circle of payers none of whom can pay first is found this way; filling alone never finds it.
    """
    for _ in range(ROUNDS_MAX):
        rows = np.flatnonzero(~settled)
        closing = queue.closing(settled)
        assert np.all(closing >= 0), "somebody ends below zero"
        rest = Queue(queue.payer[rows], queue.payee[rows], queue.amounts[rows], closing)
        flow, _ = of_value(rest.payer, rest.payee, rest.amounts, rest.available)
        more = fill(rest, cut(rest, flow == rest.amounts, largest=by_count), by_count=by_count)
        if not more.any():
            break
        settled = settled.copy()
        settled[rows[more]] = True
    return settled


def _top(queue: Queue, found: list[Mask], *, by_count: bool) -> Mask:
    return max(found, key=lambda choice: _worth(queue, choice, by_count=by_count))


def _worth(queue: Queue, choice: Mask, *, by_count: bool) -> tuple[int, int]:
    value, count = exact_sum(queue.amounts[choice]), int(np.count_nonzero(choice))
    return (count, value) if by_count else (value, count)


def cut(queue: Queue, start: Mask, *, largest: bool) -> Mask:
    """
    Take obligations away until nobody ends below zero.

    Of a payer that is short goes the *largest*, so that few go; or else the smallest that covers what it
    lacks and that its payee can do without, so that little goes.
    """
    settled = start.copy()
    closing = queue.closing(settled).tolist()
    held = _held(queue, settled)
    payees = queue.payee.tolist()
    short = [who for who, left in enumerate(closing) if left < 0]
    while short:
        who = short.pop()
        while closing[who] < 0:
            mine = held[who]
            place = len(mine) - 1
            if not largest:
                enough = min(bisect_left(mine, (-closing[who], -1)), place)
                near = range(enough, min(enough + NEAR, len(mine)))
                place = next((at for at in near if closing[payees[mine[at][1]]] >= mine[at][0]), enough)
            amount, row = mine.pop(place)
            settled[row] = False
            closing[who] += amount
            closing[payees[row]] -= amount
            if closing[payees[row]] < 0:
                short.append(payees[row])
    return settled


def _held(queue: Queue, settled: Mask) -> list[list[tuple[int, int]]]:
    """Return each payer's settled obligations as (amount, row), smallest first."""
    held: list[list[tuple[int, int]]] = [[] for _ in range(len(queue.available))]
    rows = np.flatnonzero(settled)
    rows = rows[np.argsort(queue.amounts[rows], kind="stable")]
    columns = (rows.tolist(), queue.payer[rows].tolist(), queue.amounts[rows].tolist())
    for row, who, amount in zip(*columns, strict=True):
        held[who].append((amount, row))
    return held


def fill(queue: Queue, start: Mask, *, by_count: bool) -> Mask:
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
