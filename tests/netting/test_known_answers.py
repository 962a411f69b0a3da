"""Published and worked examples, each with its source."""

import pytest

from netting import measures, modes, transfers
from netting.measures import Measures
from netting.model import Mode, Pairs, Positions
from tests.netting.networks import Row, least_left, pairs_of, rows

# P. D'Errico and T. Roukny, Compressing over-the-counter markets, 2017: the ring of three.
RING = [(1, 2, 5), (2, 3, 10), (3, 1, 20)]
# Netting pairs first loses: the pair uses up what the circle could have set off.
PAIRS_FIRST_LOSES = [(1, 2, 5), (2, 1, 3), (1, 3, 3), (3, 2, 3)]
# A chain has no circle: only new counterparties can shorten it.
CHAIN = [(1, 2, 4), (2, 3, 3), (3, 4, 5)]
# Netting down to gross zero: equal amounts in a ring cancel out whole.
EVEN_RING = [(1, 2, 7), (2, 3, 7), (3, 1, 7)]


@pytest.mark.parametrize(
    ("obligations", "gross", "bilateral", "conservative", "bound"),
    [
        (RING, 35, 35, 20, 15),
        (PAIRS_FIRST_LOSES, 14, 8, 5, 5),
        (CHAIN, 12, 12, 12, 6),
        (EVEN_RING, 21, 21, 0, 0),
        ([(1, 2, 1)], 1, 1, 1, 1),
        ([(1, 2, 10**15), (2, 1, 10**15 - 1)], 2 * 10**15 - 1, 1, 1, 1),
        ([], 0, 0, 0, 0),
    ],
)
def test_what_moves_in_each_mode(
    obligations: list[Row], gross: int, bilateral: int, conservative: int, bound: int
) -> None:
    moved = {mode: modes.net(pairs_of(obligations), mode=mode) for mode in Mode}

    assert {mode: outcome.measures.net for mode, outcome in moved.items()} == {
        Mode.GROSS: gross,
        Mode.BILATERAL: bilateral,
        Mode.CONSERVATIVE: conservative,
        Mode.MULTILATERAL: bound,
    }
    assert all(outcome.faults() == [] for outcome in moved.values())
    assert all(outcome.measures.bound == bound for outcome in moved.values())


def test_the_ring_keeps_what_exceeds_its_weakest_link() -> None:
    assert rows(modes.net(pairs_of(RING), mode="conservative").residual) == [(2, 3, 5), (3, 1, 15)]


def test_the_ring_settles_with_two_transfers() -> None:
    outcome = modes.net(pairs_of(RING), mode="multilateral")

    assert rows(transfers.direct(outcome.positions)) == [(2, 1, 5), (3, 1, 10)]
    assert rows(transfers.agent(outcome.positions)) == [
        (2, transfers.AGENT, 5),
        (3, transfers.AGENT, 10),
        (transfers.AGENT, 1, 15),
    ]


def test_weights_choose_which_of_two_circles_is_set_off() -> None:
    light, heavy = [(1, 2, 5), (2, 3, 5), (3, 1, 5)], [(2, 4, 5), (4, 1, 5)]
    for heavier in ([1, 1, 1, 9, 9], [1, 9, 9, 1, 1]):
        left = rows(modes.net(pairs_of(light + heavy, heavier), mode="conservative").residual)

        kept = light[1:] if heavier[1] == 1 else heavy
        assert left == sorted(kept)


def test_the_heaviest_of_a_pair_is_set_off_first() -> None:
    pairs = Pairs.of([1, 1, 2], [2, 2, 1], [4, 6, 5], weights=[1, 3, 1])
    for mode in (Mode.BILATERAL, Mode.CONSERVATIVE):
        outcome = modes.net(pairs, mode=mode)

        assert pairs.weights is not None
        assert pairs.weights.tolist() == [3, 1, 1]
        assert outcome.left.tolist() == [1, 4, 0]
        assert rows(outcome.residual) == [(1, 2, 5)]


def test_parts_that_do_not_touch_are_netted_side_by_side() -> None:
    apart = [(payer + 10, payee + 10, amount) for payer, payee, amount in PAIRS_FIRST_LOSES]

    assert modes.net(pairs_of(RING + apart), mode="conservative").measures.net == 20 + 5


def test_a_strongly_connected_component_is_not_a_circle() -> None:
    bow_tie = [(1, 2, 9), (2, 1, 2), (2, 3, 2), (3, 2, 9), (1, 3, 1)]

    outcome = modes.net(pairs_of(bow_tie), mode="conservative")

    assert outcome.measures.net == least_left(bow_tie) == 14
    assert outcome.faults() == []


def test_amounts_that_doubles_would_round_stay_exact() -> None:
    large = 2**53
    outcome = modes.net(pairs_of([(1, 2, large), (1, 2, 1), (2, 3, large), (2, 3, 1)]), mode="multilateral")

    assert outcome.positions.net.tolist() == [-(large + 1), 0, large + 1]


def test_shares_are_rounded_down_and_thresholds_exact() -> None:
    third = Measures(gross=3, net=2, bound=1)

    assert (third.efficiency_bps, third.bound_bps, third.saved) == (3_333, 6_666, 1)
    assert third.efficiency == pytest.approx(1 / 3)
    assert Measures(gross=2, net=1, bound=0).meets(5_000)
    assert not third.meets(3_334)
    assert not Measures(gross=10**18, net=5 * 10**17 + 1, bound=0).meets(5_000)
    assert Measures(gross=0, net=0, bound=0).efficiency_bps == 0


def test_measures_add_within_one_currency_and_the_worst_decides_between_several() -> None:
    good, bad = Measures(gross=10, net=2, bound=1), Measures(gross=10, net=9, bound=0)

    assert measures.combined([good, bad]) == Measures(gross=20, net=11, bound=1)
    assert measures.worst([good, bad, Measures(gross=0, net=0, bound=0)]) == bad
    assert measures.worst([]) is None


def test_totals_added_up_elsewhere_give_the_same_positions() -> None:
    positions = Positions.of([3, 1, 2], [20, 5, 10], [10, 20, 5])

    assert positions.participants.tolist() == [1, 2, 3]
    assert positions.net.tolist() == modes.net(pairs_of(RING), mode="multilateral").positions.net.tolist()
    assert positions.bound == 15


def test_the_worked_example_of_the_manual() -> None:
    example = pairs_of([(1, 2, 5), (2, 1, 2), (2, 3, 10), (3, 1, 20)])
    outcomes = {mode: modes.net(example, mode=mode) for mode in Mode}

    assert {mode.value: outcome.measures.net for mode, outcome in outcomes.items()} == {
        "gross": 37,
        "bilateral": 33,
        "conservative": 22,
        "multilateral": 17,
    }
    assert rows(outcomes[Mode.BILATERAL].residual) == [(1, 2, 3), (2, 3, 10), (3, 1, 20)]
    assert rows(outcomes[Mode.CONSERVATIVE].residual) == [(2, 1, 2), (2, 3, 5), (3, 1, 15)]
    assert rows(transfers.direct(outcomes[Mode.MULTILATERAL].positions)) == [(2, 1, 7), (3, 1, 10)]
    assert outcomes[Mode.CONSERVATIVE].certificate.potentials.tolist() == [2, 0, 1]


def test_the_weighted_example_of_the_manual() -> None:
    example = pairs_of([(1, 2, 5), (2, 1, 2), (2, 3, 10), (3, 1, 20)], [1, 10, 1, 1])

    outcome = modes.net(example, mode="conservative")

    assert rows(outcome.residual) == [(2, 3, 7), (3, 1, 17)]
    assert outcome.measures.net == 24
    assert outcome.faults() == []
