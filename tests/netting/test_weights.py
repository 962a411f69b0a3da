"""Weights in conservative mode: what a unit set off is worth, and that the most of it is set off."""

import csv
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netting import __main__ as command
from netting import certificate, discharge, modes, report, weights
from netting import rows as csv_rows
from netting.model import Mode, Pairs
from tests.netting.networks import LAW, Row, least_left, nets, networks, pairs_of, rows, rows_of

CUTOFF = datetime(2026, 2, 1, tzinfo=UTC)
HEADER = "payer,payee,currency,amount,priority,submitted_at"
Weighed = tuple[list[Row], list[int]]


def with_weights(
    obligations: st.SearchStrategy[list[Row]], *, largest: int = 100
) -> st.SearchStrategy[Weighed]:
    """Return a strategy of obligations and a weight for each."""
    return obligations.flatmap(
        lambda found: st.tuples(
            st.just(found), st.lists(st.integers(1, largest), min_size=len(found), max_size=len(found))
        )
    )


tiny = with_weights(
    st.integers(2, 5).flatmap(lambda people: rows_of(people, amount=range(1, 4), max_size=6)), largest=5
)
weighed = with_weights(networks)


def lines_of(given_rows: Weighed) -> list[str]:
    """Return CSV lines with a priority, and an age of as many days at the cutoff."""
    return [
        f"P{payer},P{payee},JPY,{amount},{weight - 1},{(CUTOFF - timedelta(days=weight - 1)).isoformat()}"
        for (payer, payee, amount), weight in zip(*given_rows, strict=True)
    ]


def netted(lines: list[str], by: str) -> list[dict[str, Any]]:
    scale = csv_rows.by_priority() if by == "priority" else csv_rows.by_age(CUTOFF)
    read = csv_rows.read_obligations([HEADER, *lines], scale=scale)
    told = {"weights": by, "cutoff": CUTOFF.isoformat() if by == "age" else None}
    return report.netting(read, mode=Mode.CONSERVATIVE, legs=None, weighed=told)


@LAW
@given(tiny)
def test_no_way_to_shrink_obligations_leaves_less_weight(given_rows: Weighed) -> None:
    obligations, chosen = given_rows

    outcome = modes.net(pairs_of(obligations, chosen), mode="conservative")

    assert outcome.certificate.primal == least_left(obligations, chosen)
    assert outcome.faults() == []


@LAW
@given(networks, st.integers(1, 1_000_000))
def test_equal_weights_set_off_what_no_weights_do(obligations: list[Row], weight: int) -> None:
    plain = modes.net(pairs_of(obligations), mode="conservative")

    outcome = modes.net(pairs_of(obligations, [weight] * len(obligations)), mode="conservative")

    assert outcome.left.tolist() == plain.left.tolist()
    assert outcome.certificate.primal == weight * plain.certificate.primal
    assert outcome.certificate.potentials.tolist() == (weight * plain.certificate.potentials).tolist()
    assert outcome.faults() == []


@LAW
@given(weighed)
def test_weights_change_no_net_position_and_make_nothing_grow(given_rows: Weighed) -> None:
    obligations, chosen = given_rows

    outcome = modes.net(pairs_of(obligations, chosen), mode="conservative")

    assert nets(rows(outcome.residual)) == nets(obligations)
    assert (outcome.left >= 0).all()
    assert (outcome.left <= outcome.pairs.gross_minor).all()
    assert outcome.measures.gross >= outcome.measures.net >= outcome.measures.bound


@LAW
@given(weighed)
def test_of_a_pair_the_heaviest_is_set_off_first_and_the_parts_add_up(given_rows: Weighed) -> None:
    obligations, chosen = given_rows
    outcome = modes.net(pairs_of(obligations, chosen), mode="conservative")
    residual = Counter({(payer, payee): left for payer, payee, left in rows(outcome.residual)})
    ordered = sorted(
        zip(obligations, chosen, strict=True), key=lambda each: (each[0][0], each[0][1], -each[1])
    )

    amounts, starts = discharge.grouped(
        [row[2] for row, _ in ordered], keys=[(row[0], row[1]) for row, _ in ordered]
    )
    gross = np.add.reduceat(amounts, starts) if len(amounts) else amounts
    pairs = [ordered[start][0][:2] for start in starts.tolist()]
    left = np.array([residual[pair] for pair in pairs], np.int64)
    parts = discharge.allocate(amounts, starts=starts, set_off=gross - left).tolist()

    found: Counter[tuple[int, int, int]] = Counter()
    for (row, weight), part in zip(ordered, parts, strict=True):
        assert 0 <= part <= row[2]
        found[row[0], row[1], weight] += part
    assert found == Counter(dict(zip(arcs(outcome.pairs), set_off(outcome), strict=True)))


def arcs(pairs: Pairs) -> list[tuple[int, int, int]]:
    """Return payer, payee and weight of each row."""
    assert pairs.weights is not None
    return list(zip(pairs.payers.tolist(), pairs.payees.tolist(), pairs.weights.tolist(), strict=True))


def set_off(outcome: modes.Outcome) -> list[int]:
    """Return what the circulation set off, row by row."""
    found: list[int] = discharge.by_pair(outcome.pairs, outcome.left).tolist()
    return found


@pytest.mark.parametrize("by", ["priority", "age"])
@LAW
@given(given_rows=weighed, chance=st.randoms(use_true_random=False))
def test_files_are_proven_and_their_order_does_not_matter_to_the_byte(
    by: str, given_rows: Weighed, chance: random.Random
) -> None:
    lines = lines_of(given_rows)

    parts = netted(lines, by)

    table = list(csv.DictReader([HEADER, *lines]))
    assert all(certificate.check_part(part, table) == [] for part in json.loads(report.dump(parts)))
    assert report.dump(netted(chance.sample(lines, len(lines)), by)) == report.dump(parts)


@pytest.mark.parametrize(
    ("column", "text"), [("priority", "40"), ("priority", ""), ("submitted_at", "2026-01-15T00:00:00Z")]
)
def test_a_result_is_not_proven_for_other_weights(column: str, text: str) -> None:
    by = "priority" if column == "priority" else "age"
    lines = lines_of(([(1, 2, 5), (2, 1, 3), (2, 3, 2)], [7, 8, 9]))
    (part,) = netted(lines, by)
    table = list(csv.DictReader([HEADER, *lines]))
    assert certificate.check_part(part, table) == []

    table[0][column] = text

    assert certificate.check_part(part, table) == ["the input is not the one that was certified"]


@pytest.mark.parametrize(
    ("submitted", "weight"),
    [
        ("2026-02-01T00:00:00Z", 1),
        ("2026-01-31T00:00:01Z", 1),
        ("2026-01-31T00:00:00Z", 2),
        ("2026-01-31T04:00:00+04:00", 2),
        ("2025-02-01T00:00:00+00:00", 366),
        ("2026-02-07T00:00:00Z", 1),
    ],
)
def test_an_age_is_counted_in_whole_days_before_the_cutoff(submitted: str, weight: int) -> None:
    assert weights.of_age(submitted, cutoff=CUTOFF) == weight


def test_a_weight_beyond_the_limit_is_refused() -> None:
    oldest = "0001-01-01T00:00:00Z"

    assert weights.of_age(oldest, cutoff=datetime(2738, 11, 28, tzinfo=UTC)) == 1_000_000
    with pytest.raises(weights.WeightOutOfRange, match="1000000 days"):
        weights.of_age(oldest, cutoff=datetime(2738, 11, 29, tzinfo=UTC))


@pytest.mark.parametrize(
    ("by", "line", "code"),
    [
        ("priority", "A,B,JPY,1,100,", "priority_out_of_range"),
        ("priority", "A,B,JPY,1,-1,", "priority_out_of_range"),
        ("priority", "A,B,JPY,1,1.5,", "priority_out_of_range"),
        ("age", "A,B,JPY,1,,2026-01-01", "moment_invalid"),
        ("age", "A,B,JPY,1,,yesterday", "moment_invalid"),
        ("age", "A,B,JPY,1,,", "moment_invalid"),
    ],
)
def test_what_cannot_be_weighed_is_a_fault_of_its_line(
    by: str, line: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"{HEADER}\n{line}\n")
    cutoff = ("--cutoff", CUTOFF.isoformat()) if by == "age" else ()

    assert command.main([str(file), "--mode", "conservative", "--weights", by, *cutoff]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"{file}:2: {code}: ")


def test_a_file_without_the_column_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bare.csv"
    file.write_text("payer,payee,currency,amount\nA,B,JPY,1\n")

    assert command.main([str(file), "--mode", "conservative", "--weights", "priority"]) == 2
    assert capsys.readouterr().err == f"{file}:1: column_missing: the header lacks priority\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--mode", "multilateral", "--weights", "priority"),
        ("--mode", "bilateral", "--weights", "age", "--cutoff", "2026-02-01T00:00:00Z"),
        ("--mode", "conservative", "--weights", "age"),
        ("--mode", "conservative", "--weights", "age", "--cutoff", "2026-02-01"),
        ("--mode", "conservative", "--weights", "priority", "--cutoff", "2026-02-01T00:00:00Z"),
        ("--mode", "conservative", "--weights", "none"),
    ],
)
def test_weights_that_would_be_ignored_are_refused(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.csv"
    file.write_text(f"{HEADER}\nA,B,JPY,1,,2026-01-01T00:00:00Z\n")

    with pytest.raises(SystemExit) as ended:
        command.main([str(file), *arguments])

    assert (ended.value.code, capsys.readouterr().out) == (2, "")


def test_weights_are_told_in_the_certificate_and_nowhere_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "two.csv"
    file.write_text("\n".join([HEADER, *lines_of(([(1, 2, 5), (2, 1, 3)], [4, 2]))]))
    plain, by_priority, by_age = (
        printed(file, *how, capsys=capsys)["certificate"]
        for how in ((), ("--weights", "priority"), ("--weights", "age", "--cutoff", "2026-02-01T00:00:00Z"))
    )

    assert plain.keys().isdisjoint({"weights", "cutoff"})
    assert (by_priority["weights"], "cutoff" in by_priority) == ("priority", False)
    assert (by_age["weights"], by_age["cutoff"]) == ("age", "2026-02-01T00:00:00Z")
    assert (plain["primal"], by_priority["primal"], by_age["primal"]) == ("2", "8", "8")


def printed(file: Path, *how: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert command.main([str(file), "--mode", "conservative", *how]) == 0
    (part,) = json.loads(capsys.readouterr().out)
    return part
