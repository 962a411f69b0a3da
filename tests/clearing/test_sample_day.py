"""The sample day is what its generator writes and does what its README says. Files only, no database."""

import csv
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest

from netting import money

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "sample_day"
DAY, SECOND = "obligations.csv", "obligations_short.csv"
FILES = ("participants.csv", "balances.csv", DAY, SECOND)
DECIMALS = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "AED": 2, "BHD": 3}
CORE = {"HALYUS30", "RHENDE50XXX", "TYNBGB20", "KOHRJP40XXX", "FALJAE20", "DILPBH20"}
SHORT = ("CORVPL20XXX", "USD")

Row = dict[str, str]
Key = tuple[str, str]  # participant, currency


def read(name: str) -> list[Row]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def nets(rows: Iterable[Row]) -> dict[Key, Decimal]:
    net: dict[Key, Decimal] = defaultdict(Decimal)
    for row in rows:
        net[row["payer"], row["currency"]] -= Decimal(row["amount"])
        net[row["payee"], row["currency"]] += Decimal(row["amount"])
    return net


def balances() -> dict[Key, Decimal]:
    return {(row["participant"], row["currency"]): Decimal(row["balance"]) for row in read("balances.csv")}


def after(*files: str) -> dict[Key, Decimal]:
    """What every account holds once *files* have settled."""
    moved = [nets(read(name)) for name in files]
    return {key: balance + sum(net[key] for net in moved) for key, balance in balances().items()}


def figures(name: str) -> dict[str, tuple[int, Decimal, Decimal, Decimal]]:
    """Count, gross, multilateral bound and efficiency per currency."""
    rows, found = read(name), {}
    for currency in DECIMALS:
        amounts = [Decimal(row["amount"]) for row in rows if row["currency"] == currency]
        bound = sum((net for (_, code), net in nets(rows).items() if code == currency and net > 0), Decimal())
        found[currency] = (len(amounts), sum(amounts, Decimal()), bound, 1 - bound / sum(amounts, Decimal()))
    return found


def test_the_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "generate.py", tmp_path], check=True)

    for name in FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_headers_are_the_published_ones() -> None:
    headers = {name: (FOLDER / name).read_text("utf-8").partition("\n")[0] for name in FILES}

    assert headers == {
        "participants.csv": "code,name,country",
        "balances.csv": "participant,currency,balance",
        DAY: "reference,payer,payee,currency,amount",
        SECOND: "reference,payer,payee,currency,amount",
    }


def test_participants_have_a_test_bic_of_their_own_country() -> None:
    rows = read("participants.csv")

    assert len(rows) >= 24
    for row in rows:
        # The eighth character 0 marks a test code rather than one in live use.
        assert re.fullmatch(r"[A-Z]{6}[A-Z0-9]0([A-Z0-9]{3})?", row["code"]), row
        assert row["code"][4:6] == row["country"]
        assert row["name"].strip() == row["name"] != ""
    for column in ("code", "name"):
        assert len({row[column] for row in rows}) == len(rows)
    assert len({row["country"] for row in rows}) >= 20


def test_every_participant_has_an_account_in_every_currency() -> None:
    codes = {row["code"] for row in read("participants.csv")}

    assert Counter(balances().keys()) == Counter((code, currency) for code in codes for currency in DECIMALS)
    assert len(read("balances.csv")) == len(codes) * len(DECIMALS)
    assert min(balances().values()) >= 0


@pytest.mark.parametrize(("name", "least", "most"), [(DAY, 6000, 7000), (SECOND, 300, 600)])
def test_obligations_are_between_two_known_participants(name: str, least: int, most: int) -> None:
    codes = {row["code"] for row in read("participants.csv")}
    rows = read(name)

    assert least <= len(rows) <= most
    assert all({row["payer"], row["payee"]} <= codes for row in rows)
    assert all(row["payer"] != row["payee"] for row in rows)
    assert {row["currency"] for row in rows} == set(DECIMALS)


def test_no_reference_is_used_twice_in_either_file_or_both() -> None:
    references = [row["reference"] for name in (DAY, SECOND) for row in read(name)]

    assert len(set(references)) == len(references)


@pytest.mark.parametrize(
    ("name", "column"), [(DAY, "amount"), (SECOND, "amount"), ("balances.csv", "balance")]
)
def test_amounts_carry_exactly_the_decimals_of_their_currency(name: str, column: str) -> None:
    for row in read(name):
        decimals = DECIMALS[row["currency"]]
        shape = rf"(0|[1-9]\d*)\.\d{{{decimals}}}" if decimals else r"(0|[1-9]\d*)"
        assert re.fullmatch(shape, row[column]), row
        assert column == "balance" or Decimal(row[column]) > 0, row


def test_amounts_read_as_the_engine_reads_money() -> None:
    assert {currency: money.exponent(currency) for currency in DECIMALS} == DECIMALS
    for row in read(DAY) + read(SECOND):
        amount_minor = money.parse_minor(row["amount"], row["currency"])
        assert money.format_minor(amount_minor, row["currency"]) == row["amount"]


@pytest.mark.parametrize("name", [DAY, SECOND])
def test_net_positions_sum_to_zero_in_every_currency(name: str) -> None:
    net = nets(read(name))

    for currency in DECIMALS:
        assert sum(value for (_, code), value in net.items() if code == currency) == 0


def test_the_day_settles_within_the_prefunding() -> None:
    assert min(after(DAY).values()) >= 0


@pytest.mark.parametrize(("files", "short_by"), [((DAY, SECOND), "12500000.00"), ((SECOND,), "9537456.69")])
def test_one_participant_alone_falls_short_in_the_second_file(files: tuple[str, ...], short_by: str) -> None:
    short = {key: -balance for key, balance in after(*files).items() if balance < 0}

    assert short == {SHORT: Decimal(short_by)}


def test_the_participant_that_falls_short_still_has_money_after_the_day() -> None:
    assert balances()[SHORT] > after(DAY)[SHORT] > 0


def test_the_core_takes_part_in_nine_of_ten_obligations_and_trades_with_everybody() -> None:
    rows = read(DAY)
    core_sides = Counter(len({row["payer"], row["payee"]} & CORE) for row in rows)
    pairs = {frozenset((row["payer"], row["payee"])) for row in rows}
    codes = {row["code"] for row in read("participants.csv")}

    assert 0.05 < core_sides[0] / len(rows) < 0.11
    assert 0.35 < core_sides[2] / len(rows) < 0.45
    assert all(frozenset((core, other)) in pairs for core in CORE for other in codes - {core})


@pytest.mark.parametrize("currency", DECIMALS)
def test_amounts_have_a_heavy_tail(currency: str) -> None:
    amounts = sorted(Decimal(row["amount"]) for row in read(DAY) if row["currency"] == currency)
    top_two_percent = amounts[-len(amounts) // 50 :]

    assert sum(amounts) / len(amounts) > 3 * median(amounts)
    assert sum(top_two_percent) > Decimal("0.25") * sum(amounts)  # the body alone: 0.226
    assert amounts[-1] > 100 * median(amounts)


@pytest.mark.parametrize("name", [DAY, SECOND])
def test_more_than_half_of_every_currency_nets_out(name: str) -> None:
    assert all(efficiency > Decimal("0.5") for _, _, _, efficiency in figures(name).values())


@pytest.mark.parametrize("name", [DAY, SECOND])
def test_the_readme_quotes_the_figures_of_the_files(name: str) -> None:
    text = (FOLDER / "README.md").read_text("utf-8")

    for currency, (count, gross, bound, efficiency) in figures(name).items():
        assert f"| {currency} | {count:,} | {gross:,} | {bound:,} | {efficiency:.2%} |" in text
