"""Networks of obligations for the tests: strategies, and plain slow answers to compare with."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from netting.model import Flows, Pairs, Positions

Row = tuple[int, int, int]  # payer, payee, amount

LAW = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])

AMOUNTS = (*range(1, 13), 10**6 + 3, 10**9 + 7, 10**15 - 1, 10**15)
HUGE = (1, 2**53 - 1, 2**53 + 1, 10**17 + 3, 3 * 10**17 - 1, 3 * 10**17)  # 24 of them fit 64 bits


def rows_of(
    participants: int, *, amount: Sequence[int] = AMOUNTS, max_size: int = 24
) -> st.SearchStrategy[list[Row]]:
    """
    Return a strategy of rows among *participants*, nobody owing itself, amounts from *amount*.

    One integer is drawn per row and taken apart: three draws would take most of the tests' time.
    """

    def row(drawn: int) -> Row:
        ends, which = divmod(drawn, len(amount))
        payer, ahead = divmod(ends, participants - 1)
        return payer, (payer + 1 + ahead) % participants, amount[which]

    codes = st.integers(0, participants * (participants - 1) * len(amount) - 1)
    return st.lists(codes, max_size=max_size).map(lambda drawn: [row(code) for code in drawn])


networks = st.integers(2, 7).flatmap(rows_of)
# sums that doubles round, and that 64 bits just hold
huge_networks = st.integers(2, 7).flatmap(lambda people: rows_of(people, amount=HUGE))


def pairs_of(rows: Iterable[Row], weights: Sequence[int] | None = None) -> Pairs:
    """Return canonical pairs."""
    payers, payees, values = [], [], []
    for payer, payee, amount in rows:
        payers.append(payer)
        payees.append(payee)
        values.append(amount)
    return Pairs.of(payers, payees, values, weights=weights)


def nets(rows: Iterable[Row]) -> dict[int, int]:
    """Return credit less debit per participant, zeros left out."""
    net: Counter[int] = Counter()
    for payer, payee, amount in rows:
        net[payee] += amount
        net[payer] -= amount
    return {who: value for who, value in net.items() if value}


def rows(flows: Flows) -> list[Row]:
    """Return flows as rows."""
    return list(zip(flows.payers.tolist(), flows.payees.tolist(), flows.amounts.tolist(), strict=True))


def net_dict(positions: Positions) -> dict[int, int]:
    """Return positions by participant, zeros left out."""
    pairs = zip(positions.participants.tolist(), positions.net.tolist(), strict=True)
    return {who: net for who, net in pairs if net}


def bound_of(net: dict[int, int]) -> int:
    """Return L."""
    return sum(value for value in net.values() if value > 0)


def gross_of(obligations: Iterable[Row]) -> int:
    """Return the sum of the amounts."""
    return sum(amount for _, _, amount in obligations)


def greedy_cycles(obligations: Iterable[Row]) -> int:
    """Cut circles one after another, first found first, until none is left; return what is left."""
    owed: Counter[tuple[int, int]] = Counter()
    for payer, payee, amount in obligations:
        owed[payer, payee] += amount
    while circle := _circle(owed):
        least = min(owed[arc] for arc in circle)
        for arc in circle:
            owed[arc] -= least
            if not owed[arc]:
                del owed[arc]
    return sum(owed.values())


def _circle(owed: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    after: dict[int, list[int]] = {}
    for payer, payee in sorted(owed):
        after.setdefault(payer, []).append(payee)
    for start in sorted(after):
        stack = [[start]]
        while stack:
            path = stack.pop()
            for payee in after.get(path[-1], []):
                if payee == start:
                    return list(zip(path, [*path[1:], start], strict=True))
                if payee not in path:
                    stack.append([*path, payee])
    return []


def least_left(obligations: Sequence[Row], weights: Sequence[int] | None = None) -> int:
    """
    Try every way to shrink each obligation that keeps all net positions; return the least that is left.

    With *weights* what is left of each counts by its weight.
    """
    if not obligations:
        return 0
    people = 1 + max(max(payer, payee) for payer, payee, _ in obligations)
    incidence = np.zeros((len(obligations), people), np.int64)
    for place, (payer, payee, _) in enumerate(obligations):
        incidence[place, payer], incidence[place, payee] = -1, 1
    ways = np.indices([amount + 1 for _, _, amount in obligations]).reshape(len(obligations), -1).T
    wanted = np.array([amount for _, _, amount in obligations]) @ incidence
    keeps = (ways @ incidence == wanted).all(axis=1)
    return int((ways[keeps] @ np.array(weights or [1] * len(obligations))).min())
