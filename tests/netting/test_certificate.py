"""The checker refuses whatever is not proven."""

import ast
import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netting import certificate, modes, potentials
from netting.model import Ints, Mode, Pairs
from netting.modes import Outcome
from tests.netting.networks import LAW, Row, networks, pairs_of

RING = [(1, 2, 5), (2, 3, 10), (3, 1, 20)]


def recertified(
    outcome: Outcome, *, left: Ints | None = None, net: Ints | None = None, **changes: Any
) -> list[str]:
    """Check the outcome with changes, its digest of the result made right again by a careful forger."""
    pairs = outcome.pairs
    left = outcome.left if left is None else left
    net = outcome.positions.net if net is None else net
    names = modes.participant_names(pairs)
    text = f"result {outcome.mode.value}\n{outcome.certificate.input_digest}\n\n"
    width = np.int32 if pairs.gross_minor.max(initial=0) < 2**31 else np.int64
    forged = hashlib.sha256(text.encode() + net.tobytes() + left.astype(width).tobytes()).hexdigest()
    claim = dataclasses.replace(outcome.certificate, **{"result_digest": forged, **changes})
    columns = (pairs.payer, pairs.payee, pairs.gross_minor)
    return certificate.verify(claim, names, columns, left, net)


@pytest.fixture
def ring() -> Outcome:
    return modes.net(pairs_of(RING), mode="conservative")


def test_the_honest_result_is_proven(ring: Outcome) -> None:
    assert recertified(ring) == []


def test_a_result_that_moves_too_much_is_not_proven(ring: Outcome) -> None:
    faults = recertified(ring, left=ring.left + 1, primal=23)

    assert faults == ["23 moves where 20 may do: not proven optimal"]


def test_a_bound_made_up_is_refused(ring: Outcome) -> None:
    faults = recertified(ring, left=ring.left + 1, primal=23, dual=23)

    assert len(faults) == 2
    assert faults[0] == "23 moves and 20 is the bound, not 23 and 23"


@pytest.mark.parametrize("left", [[-1, 4, 14], [6, 11, 21]])
def test_an_obligation_that_grew_or_flipped_is_refused(ring: Outcome, left: list[int]) -> None:
    assert recertified(ring, left=np.array(left, np.int64)) == ["an obligation grew or flipped"]


def test_a_changed_position_is_refused(ring: Outcome) -> None:
    shifted = ring.positions.net + np.array([1, -1, 0])

    assert "net positions are not those of the obligations" in recertified(ring, net=shifted)


def test_a_residual_that_changes_positions_is_refused(ring: Outcome) -> None:
    assert recertified(ring, left=np.array([0, 5, 14], np.int64)) != []


def test_potentials_of_another_network_prove_nothing(ring: Outcome) -> None:
    assert recertified(ring, potentials=np.zeros(3, np.int64)) != []
    assert recertified(ring, potentials=np.full(3, 2**62)) == [
        "the figures leave the range that can be checked"
    ]
    assert recertified(ring, potentials=np.zeros(2, np.int64)) == ["the parts of the result differ in length"]


def test_another_input_or_result_does_not_match_its_digest(ring: Outcome) -> None:
    assert recertified(ring, input_digest="0" * 64) == ["the input is not the one that was certified"]
    assert recertified(ring, result_digest="0" * 64) == ["the result is not the one that was certified"]


@pytest.mark.parametrize("mode", [Mode.BILATERAL, Mode.GROSS])
def test_set_off_left_out_is_refused_in_closed_form_modes(mode: Mode) -> None:
    outcome = modes.net(pairs_of([(1, 2, 5), (2, 1, 3)]), mode=mode)
    other = np.array([3, 1], np.int64) if mode is Mode.BILATERAL else np.array([2, 0], np.int64)

    assert outcome.faults() == []
    assert recertified(outcome, left=other, primal=int(other.sum())) != []


@pytest.mark.parametrize("prices", [[0, 0, 0], [0, 1, 0], [1, 1, 1]])
def test_receivers_left_out_are_no_bound_in_multilateral_mode(prices: list[int]) -> None:
    outcome = modes.net(pairs_of(RING), mode="multilateral")

    assert outcome.certificate.potentials.tolist() == [1, 0, 0]
    assert recertified(outcome, potentials=np.array(prices, np.int64)) != []


@LAW
@given(networks, st.data())
def test_no_other_circulation_is_ever_proven(obligations: list[Row], data: st.DataObject) -> None:
    outcome = modes.net(pairs_of(obligations), mode="conservative")
    size = len(outcome.left)
    change = np.array(data.draw(st.lists(st.integers(-2, 2), min_size=size, max_size=size)), np.int64)
    left = outcome.left + change

    faults = recertified(outcome, left=left, primal=sum(left.tolist()))

    assert bool(faults) == bool(change.sum() != 0 or not keeps(outcome.pairs, left, outcome.positions.net))


def keeps(pairs: Pairs, left: Ints, net: Ints) -> bool:
    """Tell whether *left* shrinks obligations only and keeps the nets."""
    if (left < 0).any() or (left > pairs.gross_minor).any():
        return False
    found = [0] * len(net)
    for payer, payee, amount in zip(pairs.payer.tolist(), pairs.payee.tolist(), left.tolist(), strict=True):
        found[payee] += amount
        found[payer] -= amount
    wanted: list[int] = net.tolist()
    return found == wanted


def test_the_checker_adds_exactly_where_64_bits_do_not_do() -> None:
    weight = 1_000_000
    pairs = pairs_of([(1, 2, 2**61), (2, 1, 2**61 - 1)], [weight, weight])

    outcome = modes.net(pairs, mode="conservative")

    assert outcome.certificate.primal == weight
    assert outcome.faults() == []


def test_a_weighted_total_beyond_64_bits_is_checked_exactly() -> None:
    outcome = modes.net(pairs_of([(1, 2, 2**62), (2, 3, 2**61)], [1_000_000, 999_999]), mode="conservative")

    assert outcome.certificate.primal == 2**62 * 1_000_000 + 2**61 * 999_999
    assert outcome.faults() == []


def test_prices_along_a_long_circle_take_one_pass() -> None:
    size = 30_000
    amounts = np.arange(10, 10 + size)
    pairs = Pairs.of(np.arange(size), (np.arange(size) + 1) % size, amounts)
    around = np.full(size, 10)

    prices = potentials.of_circulation(pairs, around, np.zeros(size, np.int64))

    rise = prices[pairs.payee] - prices[pairs.payer]
    assert (pairs.gross_minor * np.maximum(0, 1 - rise)).sum() == around.sum()


@pytest.mark.parametrize(
    ("weights", "prices", "bound"),
    [(None, [0, 0, 0], 0), (None, [2, 0, 1], 20), (None, [0, 1, 2], -25), ([3, 1, 1], [0, 3, 4], -55)],
)
def test_the_dual_is_what_the_potentials_prove_and_not_what_was_found(
    weights: list[int] | None, prices: list[int], bound: int
) -> None:
    pairs = pairs_of(RING, weights)

    assert potentials.bound(pairs, np.array(prices)) == bound


def test_potentials_of_a_flow_that_is_not_optimal_do_not_exist() -> None:
    pairs = pairs_of(RING)

    with pytest.raises(AssertionError, match="not optimal"):
        potentials.of_circulation(pairs, np.zeros(3, np.int64), np.zeros(3, np.int64))


def test_the_checker_is_short_and_shares_no_code_with_the_solver() -> None:
    source = Path(certificate.__file__).read_text()
    tree = list(ast.walk(ast.parse(source)))
    imported = {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}

    assert len(source.splitlines()) < 150
    assert {name for name in imported if name.startswith("netting")} == {"netting.money"}
    assert "ortools" not in source


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The ring in two currencies, and what the command line made of it."""
    obligations, result = tmp_path / "ring.csv", tmp_path / "result.json"
    lines = [f"P{a},P{b},{code},{value}" for a, b, value in RING for code in ("USD", "JPY")]
    obligations.write_text("\n".join(["payer,payee,currency,amount", *lines]))
    done = run("netting", str(obligations), "--mode", "conservative", "--transfers", "direct")
    result.write_text(done.stdout)
    return obligations, result


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )


def test_files_are_proven_from_the_command_line(files: tuple[Path, Path]) -> None:
    done = run("netting.certificate", *map(str, files))

    assert (done.returncode, done.stdout) == (0, "JPY: proven\nUSD: proven\n")


def residual_shrunk(part: dict[str, Any]) -> None:
    part["residual"][0]["amount"] = "4.00"


def transfer_redirected(part: dict[str, Any]) -> None:
    part["transfers"][0]["payee"] = part["transfers"][0]["payer"]


def participant_invented(part: dict[str, Any]) -> None:
    part["positions"].append({"participant": "P9", "net": "1.00"})


def obligation_invented(part: dict[str, Any]) -> None:
    part["residual"].append({"payer": "P2", "payee": "P1", "amount": "1.00"})


def bound_lowered(part: dict[str, Any]) -> None:
    part["certificate"]["dual"] = "19.00"


def currency_dropped(part: dict[str, Any]) -> None:
    part["currency"] = "EUR"


@pytest.mark.parametrize(
    "tamper",
    [
        residual_shrunk,
        transfer_redirected,
        participant_invented,
        obligation_invented,
        bound_lowered,
        currency_dropped,
    ],
)
def test_tampered_files_are_refused(
    files: tuple[Path, Path], tamper: Callable[[dict[str, Any]], None]
) -> None:
    obligations, result = files
    parts = json.loads(result.read_text())
    tamper(parts[1])
    result.write_text(json.dumps(parts))

    done = run("netting.certificate", str(obligations), str(result))

    assert done.returncode == 1
    assert "USD: proven" not in done.stdout


def test_a_currency_left_out_of_the_result_is_refused(files: tuple[Path, Path]) -> None:
    obligations, result = files
    result.write_text(json.dumps(json.loads(result.read_text())[:1]))

    done = run("netting.certificate", str(obligations), str(result))

    assert (done.returncode, done.stdout) == (1, "JPY: proven\n")


def test_another_file_of_obligations_is_refused(files: tuple[Path, Path]) -> None:
    obligations, result = files
    obligations.write_text(obligations.read_text().replace("P1,P2,USD,5", "P1,P2,USD,6"))

    done = run("netting.certificate", str(obligations), str(result))

    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "JPY: proven")
