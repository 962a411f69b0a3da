"""The ten laws of netting, each over hundreds of random networks."""

import json
import random
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netting import bilateral, discharge, liquidity, modes, multilateral, potentials, report, transfers
from netting import rows as csv_rows
from netting.model import Mode
from netting.queues import Queue
from tests.netting.networks import (
    LAW,
    Row,
    bound_of,
    greedy_cycles,
    gross_of,
    huge_networks,
    net_dict,
    nets,
    networks,
    pairs_of,
    rows,
)

EVERY_MODE = pytest.mark.parametrize("mode", list(Mode))
KEEPS_COUNTERPARTIES = pytest.mark.parametrize("mode", [Mode.GROSS, Mode.BILATERAL, Mode.CONSERVATIVE])


def text_of(obligations: list[Row], currency: str) -> list[str]:
    return [f"P{payer},P{payee},{currency},{amount}" for payer, payee, amount in obligations]


def report_of(lines: list[str], mode: Mode) -> str:
    read = csv_rows.read_obligations(["payer,payee,currency,amount", *lines])
    return report.dump(report.netting(read, mode=mode, legs=None))


@LAW
@given(networks | huge_networks)
def test_law_1_positions_sum_to_zero(obligations: list[Row]) -> None:
    positions = multilateral.net(pairs_of(obligations))

    assert sum(positions.net.tolist()) == 0
    assert net_dict(positions) == nets(obligations)


@LAW
@given(networks, networks, st.sampled_from(list(Mode)), st.randoms(use_true_random=False))
def test_law_1_currencies_do_not_touch_each_other(
    yen: list[Row], won: list[Row], mode: Mode, chance: random.Random
) -> None:
    mixed = text_of(yen, "JPY") + text_of(won, "KRW")
    chance.shuffle(mixed)

    together = json.loads(report_of(mixed, mode))

    alone = json.loads(report_of(text_of(yen, "JPY"), mode)) + json.loads(
        report_of(text_of(won, "KRW"), mode)
    )
    assert together == alone


@EVERY_MODE
@LAW
@given(obligations=networks | huge_networks)
def test_law_2_no_mode_changes_a_net_position(mode: Mode, obligations: list[Row]) -> None:
    outcome = modes.net(pairs_of(obligations), mode=mode)

    assert net_dict(outcome.positions) == nets(obligations)
    if mode is not Mode.MULTILATERAL:
        assert nets(rows(outcome.residual)) == nets(obligations)


@KEEPS_COUNTERPARTIES
@LAW
@given(obligations=networks)
def test_law_3_obligations_never_grow_flip_or_appear(mode: Mode, obligations: list[Row]) -> None:
    pairs = pairs_of(obligations)
    outcome = modes.net(pairs, mode=mode)
    owed = dict(
        zip(
            zip(pairs.payers.tolist(), pairs.payees.tolist(), strict=True),
            pairs.gross_minor.tolist(),
            strict=True,
        )
    )

    left = {(payer, payee): amount for payer, payee, amount in rows(outcome.residual)}

    assert left.keys() <= owed.keys()
    assert all(0 < amount <= owed[pair] for pair, amount in left.items())
    assert len(left) == len(outcome.residual)


@EVERY_MODE
@LAW
@given(obligations=networks | huge_networks)
def test_law_4_what_moves_is_proven_least_by_its_dual(mode: Mode, obligations: list[Row]) -> None:
    outcome = modes.net(pairs_of(obligations), mode=mode)

    assert outcome.certificate.primal == outcome.certificate.dual == outcome.measures.net
    assert outcome.faults() == []


@LAW
@given(networks, st.data())
def test_law_4_holds_with_weights(obligations: list[Row], data: st.DataObject) -> None:
    weights = data.draw(
        st.lists(st.integers(1, 1_000_000), min_size=len(obligations), max_size=len(obligations))
    )
    pairs = pairs_of(obligations, weights)

    outcome = modes.net(pairs, mode=Mode.CONSERVATIVE)

    assert outcome.certificate.primal == outcome.certificate.dual
    assert outcome.faults() == []
    assert nets(rows(outcome.residual)) == nets(obligations)


@LAW
@given(networks, st.lists(st.integers(0, 30), min_size=7, max_size=7))
def test_law_4_holds_whichever_way_prices_are_found(obligations: list[Row], balances: list[int]) -> None:
    found = []
    for sweeps, passes in ((16, 200), (1, 200), (0, 200), (0, 0)):
        with (
            patch.object(potentials, "SWEEPS_MAX", sweeps),
            patch.object(potentials, "PASSES_MAX", passes),
        ):
            outcome = modes.net(pairs_of(obligations), mode=Mode.CONSERVATIVE)
            settlement = liquidity.settle(Queue.of(*columns(obligations), balances=balances), order="fifo")
        assert outcome.faults() == []
        assert settlement.value <= settlement.value_bound
        found.append((outcome.certificate.potentials.tolist(), settlement.value_bound))

    assert found == found[:1] * 4


@LAW
@given(networks)
def test_law_5_modes_are_ordered_by_what_moves(obligations: list[Row]) -> None:
    pairs = pairs_of(obligations)
    moved = {mode: modes.net(pairs, mode=mode).measures.net for mode in Mode}

    assert moved[Mode.MULTILATERAL] == bound_of(nets(obligations))
    assert moved[Mode.GROSS] == gross_of(obligations)
    assert (
        moved[Mode.MULTILATERAL]
        <= moved[Mode.CONSERVATIVE]
        <= min(moved[Mode.BILATERAL], greedy_cycles(obligations))
        <= moved[Mode.GROSS]
    )


@KEEPS_COUNTERPARTIES
@LAW
@given(obligations=networks)
def test_law_6_netting_what_is_left_changes_nothing(mode: Mode, obligations: list[Row]) -> None:
    once = modes.net(pairs_of(obligations), mode=mode).residual

    twice = modes.net(pairs_of(rows(once)), mode=mode).residual

    assert rows(twice) == rows(once)


@EVERY_MODE
@LAW
@given(obligations=networks, factor=st.integers(2, 50))
def test_law_6_amounts_scale(mode: Mode, obligations: list[Row], factor: int) -> None:
    larger = [(payer, payee, amount * factor) for payer, payee, amount in obligations]

    one, many = (modes.net(pairs_of(network), mode=mode).measures for network in (obligations, larger))

    assert (many.net, many.bound, many.gross) == (one.net * factor, one.bound * factor, one.gross * factor)


@EVERY_MODE
@LAW
@given(obligations=networks, chance=st.randoms(use_true_random=False))
def test_law_7_order_does_not_matter_to_the_byte(
    mode: Mode, obligations: list[Row], chance: random.Random
) -> None:
    lines = text_of(obligations, "JPY")
    shuffled = chance.sample(lines, len(lines))

    assert report_of(shuffled, mode) == report_of(lines, mode)


@LAW
@given(networks)
def test_law_8_parts_of_each_obligation_sum_to_its_face_value(obligations: list[Row]) -> None:
    ordered = sorted(obligations, key=lambda row: row[:2])
    pairs = pairs_of(ordered)
    amounts, starts = discharge.grouped([row[2] for row in ordered], keys=[row[:2] for row in ordered])
    for mode in (Mode.BILATERAL, Mode.CONSERVATIVE):
        by_pair = discharge.by_pair(pairs, modes.net(pairs, mode=mode).left)

        parts = discharge.allocate(amounts, starts=starts, set_off=by_pair)

        check_parts(ordered, parts.tolist(), [row[:2] for row in ordered], by_pair.tolist())


@LAW
@given(networks)
def test_law_8_holds_for_payers_in_multilateral_mode(obligations: list[Row]) -> None:
    ordered = sorted(obligations, key=lambda row: row[0])
    positions = multilateral.net(pairs_of(ordered))
    amounts, starts = discharge.grouped([row[2] for row in ordered], keys=[row[0] for row in ordered])
    set_off = discharge.by_payer(positions)[positions.debit > 0]

    parts = discharge.allocate(amounts, starts=starts, set_off=set_off).tolist()

    check_parts(ordered, parts, [row[0] for row in ordered], set_off.tolist())
    settled = {who: -net for who, net in nets(obligations).items() if net < 0}
    for who in {row[0] for row in ordered}:
        rest = sum(row[2] - part for row, part in zip(ordered, parts, strict=True) if row[0] == who)
        assert rest == settled.get(who, 0)


def check_parts(ordered: list[Row], parts: list[int], keys: list[object], set_off: list[int]) -> None:
    """Parts lie within face value, add up to the group's set-off, and are taken in order."""
    groups = list(dict.fromkeys(keys))
    for group, total in zip(groups, set_off, strict=True):
        mine = [(row[2], part) for row, part, key in zip(ordered, parts, keys, strict=True) if key == group]
        assert sum(part for _, part in mine) == total
        assert all(0 <= part <= amount for amount, part in mine)
        short = [place for place, (amount, part) in enumerate(mine) if part < amount]
        assert all(part == 0 for _, part in mine[short[0] + 1 :]) if short else True


@LAW
@given(networks)
def test_law_9_transfers_settle_every_position_and_total_the_bound(obligations: list[Row]) -> None:
    positions = multilateral.net(pairs_of(obligations))
    wanted = nets(obligations)

    direct = rows(transfers.direct(positions))

    assert nets(direct) == wanted
    assert gross_of(direct) == bound_of(wanted)
    assert all(amount > 0 and wanted[payer] < 0 < wanted[payee] for payer, payee, amount in direct)
    assert len(direct) <= max(len(wanted) - 1, 0)


@LAW
@given(networks)
def test_law_9_an_agent_has_one_leg_per_open_position(obligations: list[Row]) -> None:
    wanted = nets(obligations)

    legs = rows(transfers.agent(multilateral.net(pairs_of(obligations))))

    assert {who: net for who, net in nets(legs).items() if who != transfers.AGENT} == wanted
    assert len(legs) == len(wanted)
    assert gross_of(legs) == 2 * bound_of(wanted)
    assert transfers.AGENT not in nets(legs)


queues = st.tuples(networks, st.lists(st.integers(0, 30), min_size=7, max_size=7))


@pytest.mark.parametrize("order", list(liquidity.Order))
@LAW
@given(given_queue=queues, caps=st.lists(st.integers(0, 10), min_size=7, max_size=7))
def test_law_10_nobody_ends_below_its_cap_and_no_bound_is_passed(
    order: liquidity.Order, given_queue: tuple[list[Row], list[int]], caps: list[int]
) -> None:
    obligations, balances = given_queue
    queue = Queue.of(*columns(obligations), balances=balances, caps=caps)

    settlement = liquidity.settle(queue, order=order, seconds=0)

    moved = [row for row, moves in zip(obligations, settlement.settled.tolist(), strict=True) if moves]
    net = nets(moved)
    assert all(balance + net.get(who, 0) >= -caps[who] for who, balance in enumerate(balances))
    assert (settlement.value, settlement.count) == (gross_of(moved), len(moved))
    assert settlement.value <= settlement.value_bound <= gross_of(obligations)
    assert settlement.count <= settlement.count_bound <= len(obligations)


@LAW
@given(queues, st.lists(st.integers(0, 20), min_size=7, max_size=7))
def test_law_10_fifo_grows_with_liquidity(given_queue: tuple[list[Row], list[int]], more: list[int]) -> None:
    obligations, balances = given_queue
    richer = [balance + extra for balance, extra in zip(balances, more, strict=True)]

    before, after = (
        liquidity.fifo(Queue.of(*columns(obligations), balances=money)) for money in (balances, richer)
    )

    assert (after | ~before).all()


@LAW
@given(queues, st.randoms(use_true_random=False))
def test_law_10_fifo_is_the_one_maximal_prefix_whatever_is_removed_first(
    given_queue: tuple[list[Row], list[int]], chance: random.Random
) -> None:
    obligations, balances = given_queue

    found = liquidity.fifo(Queue.of(*columns(obligations), balances=balances)).tolist()

    assert found == fifo_by_chance(obligations, balances, chance)
    queued: set[int] = set()
    for (payer, _, _), moves in zip(obligations, found, strict=True):
        assert not (moves and payer in queued)
        if not moves:
            queued.add(payer)


def fifo_by_chance(obligations: list[Row], balances: list[int], chance: random.Random) -> list[bool]:
    """Remove the last payment of a short participant, whichever comes by chance, until nobody is short."""
    settled = [True] * len(obligations)
    while True:
        net = nets(row for row, moves in zip(obligations, settled, strict=True) if moves)
        short = [who for who, balance in enumerate(balances) if balance + net.get(who, 0) < 0]
        if not short:
            return settled
        who = chance.choice(short)
        last = max(at for at, row in enumerate(obligations) if row[0] == who and settled[at])
        settled[last] = False


def columns(obligations: list[Row]) -> list[list[int]]:
    """Return payers, payees and amounts."""
    return [[row[place] for row in obligations] for place in range(3)]


def test_bilateral_positions_agree_with_the_residual() -> None:
    pairs = pairs_of([(1, 2, 9), (2, 1, 4), (2, 3, 5), (3, 2, 5)])
    positions = bilateral.net(pairs)

    assert positions.directions == ["Debit", "Neutral"]
    assert positions.ratio_bps.tolist() == [6153, 10_000]
    assert positions.counts.tolist() == [2, 2]
    assert (
        rows(bilateral.residual(positions))
        == rows(modes.net(pairs, mode="bilateral").residual)
        == [(1, 2, 5)]
    )
