"""``python -m netting``, as its users call it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netting import __main__ as command

SAMPLE_DAY = Path(__file__).parents[2] / "docs" / "sample_day"
HEADER = "reference,payer,payee,currency,amount\n"
RING = HEADER + "R1,A,B,USD,5.00\nR2,B,C,USD,10\nR3,C,A,USD,20.0\n"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "netting", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def netted(file: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert command.main([str(file), *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    file = tmp_path / "ring.csv"
    file.write_text(RING)
    return file


def test_multilateral_json_is_as_fixed(ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (part,) = netted(ring, "--mode", "multilateral", "--transfers", "direct", capsys=capsys)

    certificate = part.pop("certificate")
    assert part == {
        "currency": "USD",
        "obligations": 3,
        "gross": "35.00",
        "net": "15.00",
        "bound": "15.00",
        "efficiency": pytest.approx(20 / 35),
        "positions": [
            {"participant": "A", "net": "15.00"},
            {"participant": "B", "net": "-5.00"},
            {"participant": "C", "net": "-10.00"},
        ],
        "residual": [],
        "transfers": [
            {"payer": "B", "payee": "A", "amount": "5.00"},
            {"payer": "C", "payee": "A", "amount": "10.00"},
        ],
    }
    assert certificate["optimal"] is True
    assert (certificate["primal"], certificate["dual"]) == ("15.00", "15.00")
    assert all(len(certificate[name]) == 64 for name in ("input_digest", "result_digest"))


def test_conservative_json_carries_the_residual(ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (part,) = netted(ring, "--mode", "conservative", capsys=capsys)

    assert (part["net"], part["bound"]) == ("20.00", "15.00")
    assert (
        part["residual"]
        == part["transfers"]
        == [
            {"payer": "B", "payee": "C", "amount": "5.00"},
            {"payer": "C", "payee": "A", "amount": "15.00"},
        ]
    )


def test_an_agent_stands_between_payers_and_receivers(ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked, by_default = (
        netted(ring, "--mode", "multilateral", *legs, capsys=capsys)[0]["transfers"]
        for legs in (("--transfers", "agent"), ())
    )

    assert (
        asked
        == by_default
        == [
            {"payer": "B", "payee": "AGENT", "amount": "5.00"},
            {"payer": "C", "payee": "AGENT", "amount": "10.00"},
            {"payer": "AGENT", "payee": "A", "amount": "15.00"},
        ]
    )


@pytest.mark.parametrize("mode", ["bilateral", "multilateral", "conservative", "gross"])
def test_the_sample_day_is_proven_in_every_mode(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    parts = netted(SAMPLE_DAY / "obligations.csv", "--mode", mode, capsys=capsys)

    assert [part["currency"] for part in parts] == sorted(part["currency"] for part in parts)
    assert len(parts) > 3
    assert all(part["certificate"]["optimal"] is True for part in parts)


@pytest.mark.parametrize("order", ["fifo", "value", "count"])
def test_the_sample_day_settles_within_its_balances(order: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, balances = SAMPLE_DAY / "obligations.csv", SAMPLE_DAY / "balances.csv"

    found = netted(file, "--liquidity", str(balances), "--order", order, "--seconds", "0", capsys=capsys)

    assert len(found["settled"]) == found["count"] <= found["count_bound"]
    assert found["value"] == found["bound"] == ""
    parts = found["by_currency"]
    assert all(0 <= part["ratio"] <= 1 and part["bound"] for part in parts)
    least = min(part["ratio"] for part in parts)
    assert found["ratio"] == (found["count"] / found["count_bound"] if order == "count" else least)
    assert all(not row["balance"].startswith("-") for row in found["closing"])
    assert len(found["settled"]) + len(found["queued"]) == len((file).read_text().splitlines()) - 1


def test_liquidity_json_is_as_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, balances = tmp_path / "queue.csv", tmp_path / "balances.csv"
    file.write_text("payer,payee,currency,amount\nA,B,JPY,10\nB,C,JPY,10\nC,A,JPY,10\nA,C,JPY,7\n")
    balances.write_text("participant,currency,balance\nA,JPY,0\nD,BHD,1.5\n")

    found = netted(file, "--liquidity", str(balances), "--order", "fifo", capsys=capsys)

    assert {name: found[name] for name in ("settled", "queued", "value", "count", "bound")} == {
        "settled": ["1", "2", "3"],
        "queued": ["4"],
        "value": "30",
        "count": 3,
        "bound": "30",
    }
    assert found["closing"] == [
        {"participant": "A", "currency": "JPY", "balance": "0"},
        {"participant": "B", "currency": "JPY", "balance": "0"},
        {"participant": "C", "currency": "JPY", "balance": "0"},
        {"participant": "D", "currency": "BHD", "balance": "1.500"},
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: column_missing:"),
        ("payer,payee,currency\n", "1: column_missing:"),
        ("payer,payee,currency,amount,payer\n", "1: column_duplicate:"),
        (HEADER + "R1,A,B,USD,1.001\n", "2: too_many_decimals:"),
        (HEADER + "R1,A,B,USD,1e3\n", "2: amount_invalid:"),
        (HEADER + "R1,A,B,USD,0\n", "2: amount_not_positive:"),
        (HEADER + "R1,A,B,USD,-5.00\n", "2: amount_not_positive:"),
        (HEADER + "R1,A,B,JPY,9223372036854775808\n", "2: amount_out_of_range:"),
        (HEADER + "R1,A,B,XXX,5\n", "2: unknown_currency:"),
        (HEADER + "R1,A,A,USD,5\n", "2: same_payer_and_payee:"),
        (HEADER + "R1,,B,USD,5\n", "2: participant_invalid:"),
        (HEADER + "R1, A,B,USD,5\n", "2: participant_invalid:"),
        (HEADER + "R1,AGENT,B,USD,5\n", "2: participant_invalid:"),
        (HEADER + "R1,A\xff\x00,B,USD,5\n", "2: participant_invalid:"),
        (HEADER + "R1,A,B,USD,5\n\nR1,A,C,USD,5\n", "4: reference_duplicate:"),
        (HEADER + ",A,B,USD,5\n", "2: reference_invalid:"),
        (HEADER + '"R\n1",A,B,USD,5\n', "2: reference_invalid:"),
        (HEADER + "R1,A,B,USD\n", "2: fields_mismatch:"),
        (HEADER + 'R1,A,B,USD,5\nR2,A,"B,USD,5\n', "3: line_unreadable:"),
        (HEADER + "R1,A,B,JPY,9223372036854775807\nR2,A,C,JPY,1\n", "3: sum_out_of_range:"),
    ],
)
def test_each_fault_is_named_by_file_line_and_code(
    text: str, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text, encoding="latin-1")

    assert command.main([str(file), "--mode", "multilateral"]) == 2

    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"{file}:{fault} ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("participant,currency\n", "1: column_missing:"),
        ("participant,currency,balance\nA,USD,-1\n", "2: amount_not_positive:"),
        ("participant,currency,balance\nA,USD,1\nA,USD,1\n", "3: balance_duplicate:"),
        ("participant,currency,balance\nA,USD\n", "2: fields_mismatch:"),
        ('participant,currency,balance\nA,USD,"1\n', "2: line_unreadable:"),
        ('participant,currency,balance\nA,"USD\n",1\n', "2: unknown_currency:"),
        ("participant,currency,balance\nA,USD,92233720368547758.07\n", "0: sum_out_of_range:"),
    ],
)
def test_faults_of_balances_are_named_too(
    ring: Path, text: str, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "balances.csv"
    file.write_text(text)

    assert command.main([str(ring), "--liquidity", str(file), "--order", "fifo"]) == 2

    printed = capfd.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(f"{file}:{fault} ")


def test_every_fault_of_a_file_is_printed_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(HEADER + "R1,A,B,USD,x\nR2,A,B,USD,1\nR3,A,A,USD,1\n")

    done = run(file, "--mode", "bilateral")

    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"{file}:2", "amount_invalid"],
        [f"{file}:4", "same_payer_and_payee"],
    ]


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    done = run(tmp_path / "none.csv", "--mode", "gross")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{tmp_path / 'none.csv'}:0: file_unreadable: ")


@pytest.mark.parametrize("arguments", [(), ("--mode", "sideways"), ("--mode", "gross", "--liquidity", "x")])
def test_a_command_that_makes_no_sense_is_refused(ring: Path, arguments: tuple[str, ...]) -> None:
    done = run(ring, *arguments)

    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--mode", "gross", "--order", "value"),
        ("--mode", "gross", "--seconds", "0"),
        ("--liquidity", "balances.csv", "--transfers", "agent"),
        ("--liquidity", "balances.csv", "--seconds", "-1"),
        ("--liquidity", "balances.csv", "--seconds", "nan"),
        ("--mod", "gross"),
    ],
)
def test_options_that_would_be_ignored_or_guessed_are_refused(
    ring: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(ring), *arguments])

    assert (ended.value.code, capsys.readouterr().out) == (2, "")


def test_without_references_a_line_s_number_is_that_on_which_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, balances = tmp_path / "queue.csv", tmp_path / "balances.csv"
    file.write_text('payer,payee,currency,amount,memo\nA,B,USD,1,"two\nlines"\nB,C,USD,1,\n')
    balances.write_text("participant,currency,balance\nA,USD,1\n")

    assert netted(file, "--liquidity", str(balances), capsys=capsys)["settled"] == ["1", "3"]


def test_a_file_without_obligations_nets_to_an_empty_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("\ufeff" + HEADER)

    assert netted(file, "--mode", "conservative", capsys=capsys) == []


def test_columns_may_stand_in_any_order_and_others_are_ignored(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    other.write_text(
        "due_date,amount,currency,payee,payer,region\r\n"
        '2026-01-01,20.00,USD,A,C,Europe\r\n,10.00,USD,"C",B,\r\n\r\n,5,USD,B,A,\r\n'
    )

    left, right = (netted(file, "--mode", "conservative", capsys=capsys) for file in (ring, other))

    assert left == right


def test_what_a_solver_prints_does_not_reach_stdout(ring: Path, tmp_path: Path) -> None:
    balances = tmp_path / "balances.csv"
    balances.write_text("participant,currency,balance\nA,USD,5\n")

    done = run(ring, "--liquidity", balances, "--order", "value")

    assert done.returncode == 0
    assert json.loads(done.stdout)["settled"] == ["R1"]
