"""Answers compared with slow ones nobody doubts: all ways tried, another solver, all splits tried."""

from collections.abc import Iterator

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netting import conservative, fewest, liquidity, liquidity_bounds, modes, transfers
from netting.model import Positions
from netting.queues import Queue
from tests.netting.networks import LAW, Row, gross_of, least_left, nets, pairs_of, rows, rows_of

tiny = st.integers(2, 5).flatmap(lambda people: rows_of(people, amount=range(1, 4), max_size=6))
wide = st.integers(5, 12).flatmap(lambda people: rows_of(people, max_size=60))


@LAW
@given(tiny)
def test_conservative_mode_leaves_the_least_of_all_ways(obligations: list[Row]) -> None:
    assert modes.net(pairs_of(obligations), mode="conservative").measures.net == least_left(obligations)


@settings(max_examples=20, deadline=None)
@given(rows_of(4, amount=range(1, 3), max_size=10).filter(lambda found: len(found) >= 7))
def test_conservative_mode_leaves_the_least_of_up_to_ten_obligations(obligations: list[Row]) -> None:
    assert modes.net(pairs_of(obligations), mode="conservative").measures.net == least_left(obligations)


sparse = st.integers(3, 16).flatmap(lambda people: rows_of(people, amount=[1], max_size=2 * people))
ring = [(place, (place + 1) % 12, 1) for place in range(12)]  # longer than the search for one component looks
crowd = [
    (one, other, 1) for one in range(60) for other in range(60) if one != other
]  # of which a sample does


@settings(max_examples=200, deadline=None)
@example(ring)
@example(crowd)
@example([*crowd, (0, 60, 1)])
@example([*crowd, (60, 0, 1)])
@given(sparse)
def test_components_are_those_that_a_search_finds(obligations: list[Row]) -> None:
    pairs = pairs_of(obligations)

    labels = conservative.components(pairs).tolist()

    graph = nx.DiGraph(zip(pairs.payer.tolist(), pairs.payee.tolist(), strict=True))
    found = {frozenset(member) for member in nx.strongly_connected_components(graph)}
    assert {frozenset(who for who in graph if labels[who] == label) for label in labels} == found


@settings(max_examples=100, deadline=None)
@given(wide, st.data())
def test_conservative_mode_agrees_with_network_simplex(obligations: list[Row], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(obligations), max_size=len(obligations)))
    pairs = pairs_of(obligations, weights)
    graph = nx.MultiDiGraph()
    for (payer, payee, amount), weight in zip(obligations, weights, strict=True):
        graph.add_edge(payer, payee, capacity=amount, weight=-weight)
    weighted_gross = sum(row[2] * weight for row, weight in zip(obligations, weights, strict=True))

    cost = nx.network_simplex(graph)[0] if obligations else 0

    assert modes.net(pairs, mode="conservative").certificate.primal == weighted_gross + cost


def groups_of(nets_left: tuple[int, ...]) -> int:
    """Return the most zero-sum groups, by trying every group the first position may be in."""
    if not nets_left:
        return 0
    first, rest = nets_left[0], nets_left[1:]
    best = 1
    for mask in range((1 << len(rest)) - 1):
        inside = [net for place, net in enumerate(rest) if mask >> place & 1]
        if first + sum(inside) == 0:
            outside = tuple(net for place, net in enumerate(rest) if not mask >> place & 1)
            best = max(best, 1 + groups_of(outside))
    return best


zero_sums = st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=8).map(
    lambda found: [*found, -sum(found)] if sum(found) else found
)


@LAW
@given(zero_sums)
def test_positions_split_into_the_most_groups(found: list[int]) -> None:
    groups = fewest.zero_sum_groups(found)

    assert sorted(place for group in groups for place in group) == list(range(len(found)))
    assert all(sum(found[place] for place in group) == 0 for group in groups)
    assert len(groups) == groups_of(tuple(found))


@LAW
@given(zero_sums)
def test_direct_transfers_are_the_fewest(found: list[int]) -> None:
    debit, credit = [max(-net, 0) for net in found], [max(net, 0) for net in found]

    flows = transfers.direct(Positions.of(range(len(found)), debit, credit))

    assert len(flows) == len(found) - groups_of(tuple(found))


def choices(queue: Queue) -> Iterator[tuple[int, int]]:
    """Yield value and count of every choice that leaves nobody below zero."""
    for mask in range(1 << len(queue)):
        chosen = np.array([bool(mask >> place & 1) for place in range(len(queue))], np.bool_)
        if (queue.closing(chosen) >= 0).all():
            yield sum(queue.amounts[chosen].tolist()), int(chosen.sum())


queues = st.tuples(
    rows_of(4, amount=range(1, 10), max_size=7), st.lists(st.integers(0, 9), min_size=4, max_size=4)
)


def queue_of(obligations: list[Row], balances: list[int]) -> Queue:
    return Queue.of(*([row[place] for row in obligations] for place in range(3)), balances=balances)


@settings(max_examples=150, deadline=None)
@given(queues)
def test_small_queues_settle_the_most_of_all_choices(found: tuple[list[Row], list[int]]) -> None:
    queue = queue_of(*found)
    every = list(choices(queue))

    by_value = liquidity.settle(queue, order="value")
    by_count = liquidity.settle(queue, order="count")

    assert by_value.exact
    assert by_count.exact
    assert by_value.value == max(value for value, _ in every)
    assert by_count.count == max(count for _, count in every)


@settings(max_examples=60, deadline=None)
@given(st.tuples(rows_of(6, max_size=20), st.lists(st.integers(0, 50), min_size=6, max_size=6)))
def test_the_value_bound_agrees_with_network_simplex(found: tuple[list[Row], list[int]]) -> None:
    queue = queue_of(*found)
    graph = nx.MultiDiGraph()
    for payer, payee, amount in found[0]:
        graph.add_edge(payer, payee, capacity=amount, weight=-1)
    for who, balance in enumerate(found[1]):
        graph.add_edge("cash", who, capacity=balance, weight=0)
        graph.add_edge(who, "cash", capacity=balance + gross_of(found[0]), weight=0)

    _, bound = liquidity_bounds.of_value(queue.payer, queue.payee, queue.amounts, queue.available)

    assert bound == -nx.network_simplex(graph)[0]


@pytest.mark.parametrize("order", ["value", "count"])
def test_larger_queues_come_close_to_the_bound_with_the_integer_programme(order: str) -> None:
    random = np.random.default_rng(7)
    payer = random.integers(0, 8, 120)
    payee = (payer + random.integers(1, 8, 120)) % 8
    queue = Queue.of(payer, payee, random.integers(1, 1_000, 120), balances=np.full(8, 300))

    without, within = (liquidity.settle(queue, order=order, seconds=budget) for budget in (0, 2))

    assert within.ratio >= without.ratio
    assert within.ratio > 0.95
    assert (queue.closing(within.settled) >= 0).all()


def test_a_circle_that_no_member_can_start_is_settled() -> None:
    circle = [(place, (place + 1) % 30, 100) for place in range(30)]
    queue = queue_of([*circle, (0, 5, 7)], [0] * 30)

    for order in liquidity.Order:
        settlement = liquidity.settle(queue, order=order, seconds=0)
        assert settlement.settled.tolist() == [True] * 30 + [False]
        assert settlement.exact


def test_peeling_beats_one_transfer_fewer_than_positions() -> None:
    nets_found = {
        who: net
        for block in range(12)
        for who, net in zip(
            (3 * block, 3 * block + 1, 3 * block + 2),
            (-5 - block, -100 - 3 * block, 105 + 4 * block),
            strict=True,
        )
    }
    ids = list(nets_found)
    positions = Positions.of(
        ids, [max(-nets_found[who], 0) for who in ids], [max(nets_found[who], 0) for who in ids]
    )

    flows = transfers.direct(positions)

    assert nets(rows(flows)) == nets_found
    assert len(flows) == 24
