"""Input that is no list of obligations is refused; what is one comes into canonical order."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netting import bilateral, discharge, modes, multilateral, transfers
from netting.errors import NettingError, PairsInvalid, SolverFailed, SumOutOfRange
from netting.model import INT64_MAX, Pairs, Positions, exact_sum
from netting.queues import Queue
from tests.netting.networks import Row, networks


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([1], [1], [5]), "a participant owes itself"),
        (([1, 2], [2, 1], [5, 0]), "an amount is not above zero"),
        (([1, 2], [2, 1], [5, -1]), "an amount is not above zero"),
        (([1, 2], [2, 1], [5]), "the arrays differ in length"),
        (([1], [2], [5.0]), "an array of float64 is not of 64-bit integers"),
        (([1], [2], ["5"]), "an array of <U1 is not of 64-bit integers"),
        (([1], [2], [2**63]), "an array of uint64 is not of 64-bit integers"),
        (([1], [2], [2**70]), "an array of object is not of 64-bit integers"),
        (([[1]], [[2]], [[5]]), "an array is not one-dimensional"),
    ],
)
def test_rows_that_are_no_obligations_are_refused(columns: tuple[Any, Any, Any], reason: str) -> None:
    for take in (Pairs.of, multilateral.positions):
        with pytest.raises(PairsInvalid) as refused:
            take(*columns)
        assert refused.value.args == (reason,)


@pytest.mark.parametrize(
    "extras",
    [
        {"counts": [0]},
        {"counts": [1, 1]},
        {"weights": [0]},
        {"weights": [1_000_001]},
        {"weights": [1, 1]},
        {"names": ["A"]},
        {"names": ["A", "A"]},
    ],
)
def test_counts_weights_and_names_must_fit(extras: dict[str, Any]) -> None:
    with pytest.raises(PairsInvalid):
        Pairs.of([1], [2], [5], **extras)


def test_a_gross_beyond_64_bits_is_refused_not_wrapped() -> None:
    half = 2**62
    for take in (Pairs.of, multilateral.positions):
        take([1, 1], [2, 3], [half, half - 1])
        with pytest.raises(SumOutOfRange):
            take([1, 1], [2, 3], [half, half])
        with pytest.raises(SumOutOfRange):
            take([1] * 5, [2] * 5, [INT64_MAX] * 5)
    with pytest.raises(SumOutOfRange):
        Pairs.of([1, 1], [2, 3], [1, 1], [INT64_MAX, 1])


@pytest.mark.parametrize("mode", ["bilateral", "multilateral", "conservative", "gross"])
def test_the_largest_gross_there_can_be_is_netted_exactly(mode: str) -> None:
    outcome = modes.net(Pairs.of([1, 2, 3], [2, 3, 1], [2**62, 2**61, 2**61 - 1]), mode=mode)

    assert outcome.measures.gross == INT64_MAX
    assert outcome.positions.net.tolist() == [2**61 - 1 - 2**62, 2**61, 1]
    assert outcome.faults() == []


def test_sums_beyond_64_bits_are_exact() -> None:
    assert exact_sum(np.full(7, INT64_MAX)) == 7 * INT64_MAX
    assert exact_sum(np.full(3, -(2**63))) == -3 * 2**63
    assert exact_sum(np.array([INT64_MAX, -INT64_MAX, 5])) == 5


def test_rows_of_one_pair_are_merged_and_sorted() -> None:
    pairs = Pairs.of([9, 2, 9, 2], [2, 9, 2, 5], [1, 10, 100, 1_000], [1, 2, 3, 4])

    assert pairs.payers.tolist() == [2, 2, 9]
    assert pairs.payees.tolist() == [5, 9, 2]
    assert pairs.gross_minor.tolist() == [1_000, 10, 101]
    assert pairs.counts.tolist() == [4, 2, 4]
    assert pairs.gross == 1_111


@pytest.mark.parametrize("far", [10**6, 10**18, -5])
def test_ids_may_be_any_64_bit_integers(far: int) -> None:
    pairs = Pairs.of([far, 7], [7, 8], [5, 5])

    assert sorted(pairs.ids.tolist()) == sorted([far, 7, 8])
    assert rows_of_positions(multilateral.net(pairs)) == {far: -5, 7: 0, 8: 5}
    assert rows_of_positions(multilateral.positions([far, 7], [7, 8], [5, 5])) == {far: -5, 7: 0, 8: 5}


@settings(max_examples=100, deadline=None)
@given(networks, st.sampled_from([(1, 0), (1, 1), (3, 2), (10**6, 5)]))
def test_positions_straight_from_rows_are_those_of_the_pairs(rows: list[Row], ids: tuple[int, int]) -> None:
    apart, first = ids
    payers, payees = ([first + apart * row[side] for row in rows] for side in (0, 1))
    amounts = [row[2] for row in rows]

    straight = multilateral.positions(payers, payees, amounts)

    by_pairs = multilateral.net(Pairs.of(payers, payees, amounts))
    for name in ("participants", "debit", "credit"):
        assert getattr(straight, name).tolist() == getattr(by_pairs, name).tolist()


def rows_of_positions(positions: Positions) -> dict[int, int]:
    return dict(zip(positions.participants.tolist(), positions.net.tolist(), strict=True))


def test_nothing_owed_nets_to_nothing() -> None:
    pairs = Pairs.of([], [], [])

    for mode in ("bilateral", "multilateral", "conservative", "gross"):
        outcome = modes.net(pairs, mode=mode)
        assert (len(outcome.residual), outcome.measures.net, outcome.faults()) == (0, 0, [])
    assert len(multilateral.positions([], [], []).participants) == 0
    assert len(bilateral.net(pairs)) == 0
    assert len(transfers.direct(multilateral.net(pairs))) == 0
    assert len(transfers.agent(multilateral.net(pairs))) == 0
    assert len(discharge.allocate(pairs.gross_minor, starts=pairs.payer, set_off=pairs.payer)) == 0


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="sideways"):
        modes.net(Pairs.of([1], [2], [5]), mode="sideways")


@pytest.mark.parametrize(
    "totals",
    [
        ([1, 2], [5, 0], [0, 4]),
        ([1, 1], [5, 0], [0, 5]),
        ([1, 2], [-5, 0], [0, -5]),
        ([1, 2], [5], [0, 5]),
    ],
)
def test_totals_that_are_no_positions_are_refused(totals: tuple[list[int], list[int], list[int]]) -> None:
    with pytest.raises(PairsInvalid):
        Positions.of(*totals)


def test_totals_beyond_64_bits_are_refused() -> None:
    with pytest.raises(SumOutOfRange):
        Positions.of([1, 2, 3, 4], [INT64_MAX, INT64_MAX, 0, 0], [0, 0, INT64_MAX, INT64_MAX])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"balances": [-1, 0]}, PairsInvalid),
        ({"balances": [5]}, PairsInvalid),
        ({"caps": [0]}, PairsInvalid),
        ({"caps": [-1, 0]}, PairsInvalid),
        ({"balances": [INT64_MAX - 9, 0]}, SumOutOfRange),
        ({"amounts": [0]}, PairsInvalid),
    ],
)
def test_queues_that_make_no_sense_are_refused(changes: dict[str, Any], error: type[NettingError]) -> None:
    given = {"payer": [0], "payee": [1], "amounts": [5], "balances": [0, 0]} | changes

    with pytest.raises(error):
        Queue.of(**given)


def test_a_cap_lets_a_participant_owe() -> None:
    queue = Queue.of([0], [1], [5], balances=[-2, 0], caps=[7, 0])

    assert queue.closing(np.array([True])).tolist() == [0, 5]


def test_shares_of_very_large_pairs_do_not_overflow() -> None:
    positions = bilateral.net(Pairs.of([1, 2], [2, 1], [2**62, 2**62 - 1]))

    assert positions.ratio_bps.tolist() == [9_999]


def test_more_set_off_than_owed_is_a_broken_promise() -> None:
    with pytest.raises(AssertionError, match="more is set off"):
        discharge.allocate(np.array([5, 5]), starts=np.array([0]), set_off=np.array([11]))


@pytest.mark.parametrize("error", [PairsInvalid("reason"), SumOutOfRange("x"), SolverFailed("solver", "BAD")])
def test_errors_survive_pickling(error: NettingError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), copy.args, str(copy), copy.code) == (type(error), error.args, str(error), error.code)
