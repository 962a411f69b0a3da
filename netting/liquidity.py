"""
Which obligations can settle now, with the money there is? Obligations are settled whole or not at all.

All that settle do so at one instant: what a participant receives in it pays for what it pays in it, so
gridlock resolves itself. Nobody ends below zero (or below its cap, where it may owe).

- ``fifo``: each payer's queue in order; the largest set of queue heads that fits. There is exactly one
  such set, it is found for certain, and more money never makes it smaller.
- ``value``, ``count``: the most value or the most obligations. NP-hard: exact for at most 16
  obligations and whenever the bound is met, otherwise the best of several methods within a time budget.

Always reported: the certified bound no choice can exceed, and the ratio to it.

Sources: M. L. Bech and K. Soramäki, *Gridlock resolution in interbank payment systems*, 2001 (the FIFO
rule and its unique solution); M. M. Güntzer, D. Jungnickel and M. Leclerc, *Efficient algorithms for the
clearing of interbank payments*, 1998 (the value problem).
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from netting import liquidity_bounds, liquidity_search
from netting.model import Mask, exact_sum
from netting.queues import Queue

EXACT_OBLIGATIONS_MAX: Final = 16
SECONDS: Final = 5.0  # what the search may take by default


class Order(StrEnum):
    """What the choice is made by."""

    FIFO = "fifo"
    VALUE = "value"
    COUNT = "count"


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """
    What settles, and how good that is.

    Attributes:
        settled: per obligation of the queue.
        value_bound: certified: no choice settles more value.
        count_bound: certified: no choice settles more obligations.
        exact: nothing better exists under the order asked for.
    """

    order: Order
    settled: Mask
    value: int
    count: int
    value_bound: int
    count_bound: int
    exact: bool

    @property
    def ratio(self) -> float:
        """What was reached over the bound: of the count when ordered by count, else of the value."""
        reached, bound = (
            (self.count, self.count_bound) if self.order is Order.COUNT else (self.value, self.value_bound)
        )
        return reached / bound if bound else 1.0


def settle(queue: Queue, *, order: Order | str, seconds: float = SECONDS) -> Settlement:
    """
    Choose what settles.

    Args:
        seconds: what the search for *value* or *count* may take in its last, costliest step. The result
            is feasible and its bound certified whatever the budget; only with a budget that runs out
            can it differ from machine to machine.
    """
    order = Order(order)
    by_count = order is Order.COUNT
    relaxed, value_bound = liquidity_bounds.of_value(queue.payer, queue.payee, queue.amounts, queue.available)
    count_bound = liquidity_bounds.of_count(queue.payer, queue.payee, queue.amounts, queue.available)
    settled = fifo(queue)
    exact = order is Order.FIFO
    if not exact and len(queue) <= EXACT_OBLIGATIONS_MAX:
        settled, exact = liquidity_search.every_choice(queue, by_count=by_count), True
    elif not exact:
        starts = [settled, relaxed == queue.amounts, np.ones(len(queue), np.bool_)]
        goal = count_bound if by_count else value_bound
        settled = liquidity_search.best(queue, starts, by_count=by_count, goal=goal, seconds=seconds)
        exact = _reached(queue, settled, by_count=by_count) == goal
    assert len(queue.available) == 0 or queue.closing(settled).min() >= 0, "somebody ends below zero"
    return Settlement(
        order,
        settled,
        value=exact_sum(queue.amounts[settled]),
        count=int(np.count_nonzero(settled)),
        value_bound=value_bound,
        count_bound=count_bound,
        exact=exact,
    )


def fifo(queue: Queue) -> Mask:
    """
    Return the largest set that settles only heads of each payer's queue.

    Starts from everything and takes away the last payment of whoever would end below zero, until nobody
    does. Each removal is forced, so the order of removals does not matter. O(m).
    """
    settled = np.ones(len(queue), np.bool_)
    closing = queue.closing(settled).tolist()
    order = np.argsort(queue.payer, kind="stable")
    queues: list[list[int]] = [[] for _ in closing]
    for row, who in zip(order.tolist(), queue.payer[order].tolist(), strict=True):
        queues[who].append(row)
    amounts, payees = queue.amounts.tolist(), queue.payee.tolist()
    short = deque(who for who, left in enumerate(closing) if left < 0)
    while short:
        who = short.popleft()
        while closing[who] < 0:
            row = queues[who].pop()
            settled[row] = False
            closing[who] += amounts[row]
            payee = payees[row]
            if closing[payee] >= 0 > closing[payee] - amounts[row]:
                short.append(payee)
            closing[payee] -= amounts[row]
    return settled


def _reached(queue: Queue, settled: Mask, *, by_count: bool) -> int:
    return int(np.count_nonzero(settled)) if by_count else exact_sum(queue.amounts[settled])
