"""
Write the sample day: participants, prefunding and two files of obligations.

    python docs/sample_day/generate.py [FOLDER]

The same seed gives the same bytes: only ``Random.random`` is drawn from (Python promises its sequence),
every other distribution is derived from it here, and money is counted in minor units. The README beside
this file explains the model and its parameters.
"""

import csv
import math
import sys
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import NormalDist

SEED = 20250303

CORE_CORE, CORE_PERIPHERY = 0.40, 0.52  # shares of the obligations; the rest is periphery to periphery
HOME_WEIGHT = 4  # a participant is this much busier in the currency of its own country
SIGMA = 1.3  # of the log-normal body
TAIL_SHARE, TAIL_START, TAIL_ALPHA = 0.06, 20, 1.5  # Pareto tail, starting at TAIL_START medians
ROUND_SHARE = 0.35  # of the amounts have two significant digits
RETURN_SHARE, RETURN_SPREAD = 0.40, 0.15  # answered by one the other way, smaller or larger by up to so much
MARGIN_PERCENT = 125  # prefunding over the largest net debit
HOME_MEDIANS = 100  # least balance in the own currency, in median amounts
SHORT, SHORT_CURRENCY, SHORTFALL_MINOR = "CORVPL20XXX", "USD", 12_500_000_00
SHORT_PAYMENTS = 4  # large obligations that take SHORT below zero


@dataclass(frozen=True)
class Participant:
    code: str
    name: str
    country: str
    size: int


@dataclass(frozen=True)
class Currency:
    """*median* is in major units; *rows* and *rows_short* count obligations in the two files."""

    code: str
    exponent: int
    median: int
    rows: int
    rows_short: int
    home: str

    @property
    def unit(self) -> int:
        """Minor units in one major unit."""
        return int(10**self.exponent)

    @property
    def median_minor(self) -> int:
        """The median amount in minor units."""
        return self.median * self.unit


@dataclass(frozen=True)
class Obligation:
    payer: str
    payee: str
    currency: str
    amount_minor: int


CURRENCIES = (
    Currency("USD", 2, 85_000, 2_200, 160, "US"),
    Currency("EUR", 2, 80_000, 1_600, 120, "DE FR NL IT ES IE FI"),
    Currency("GBP", 2, 60_000, 900, 80, "GB"),
    Currency("JPY", 0, 9_000_000, 800, 70, "JP"),
    Currency("AED", 2, 300_000, 520, 60, "AE"),
    Currency("BHD", 3, 30_000, 380, 50, "BH"),
)
BY_CODE = {currency.code: currency for currency in CURRENCIES}

CORE = (
    Participant("HALYUS30", "Halyard National Bank", "US", 30),
    Participant("RHENDE50XXX", "Rhenau Kreditbank AG", "DE", 26),
    Participant("TYNBGB20", "Tynebridge Bank plc", "GB", 22),
    Participant("KOHRJP40XXX", "Kohara Trust Bank, Ltd.", "JP", 20),
    Participant("FALJAE20", "Falaj Commercial Bank PJSC", "AE", 14),
    Participant("DILPBH20", "Dilmun Pearl Bank B.S.C.", "BH", 12),
)
PERIPHERY = (
    Participant("BRKVUS40XXX", "Brookvale Savings Bank", "US", 10),
    Participant("CHTLFR20", "Banque du Chatelard", "FR", 10),
    Participant("OVRMNL20XXX", "Overmeer Bank N.V.", "NL", 9),
    Participant("AKITJP30", "Akitsu Shinkin Bank", "JP", 9),
    Participant("MRLNSG20XXX", "Merlion Straits Bank Ltd", "SG", 9),
    Participant("VCTRHK30", "Victoria Peak Banking Corporation", "HK", 8),
    Participant("ALPNCH20XXX", "Alpenrose Privatbank AG", "CH", 8),
    Participant("MRNAAE30", "Marina Gulf Bank PJSC", "AE", 7),
    Participant("PDNAIT20XXX", "Banca Padana Riunita S.p.A.", "IT", 7),
    Participant("MNYRES20", "Banco Monteyerro S.A.", "ES", 7),
    Participant("CDRWUS60", "Cedar & Wren Trust Company", "US", 6),
    Participant("LNHLGB30XXX", "Lanehill Building Society", "GB", 6),
    Participant("MPLRCA20", "Maple Ridge Bank of Canada West", "CA", 6),
    Participant("WTTLAU20XXX", "Wattlebird Bank Ltd", "AU", 5),
    Participant("SHMLBH30", "Shamal Investment Bank B.S.C.", "BH", 5),
    Participant("CORVPL20XXX", "Bank Corvus S.A.", "PL", 5),
    Participant("KRSNIN20", "Krishnavani Bank Ltd", "IN", 5),
    Participant("HNBTKR20XXX", "Hanbit Savings Bank", "KR", 4),
    Participant("JCRDBR20", "Banco Jacaranda do Sul S.A.", "BR", 4),
    Participant("NJDPSA20XXX", "Najd Palm Bank", "SA", 4),
    Participant("SKRGSE20", "Skargard Sparbank AB", "SE", 4),
    Participant("LFFYIE20XXX", "Liffeyside Bank DAC", "IE", 3),
    Participant("SAIMFI20", "Saimaa Osuuspankki Oyj", "FI", 3),
    Participant("AGVAMX20XXX", "Banco Agaveral S.A.", "MX", 3),
    Participant("PRTAZA20", "Protea Mutual Bank Ltd", "ZA", 3),
    Participant("TMKNNZ20XXX", "Tamakani Bank Ltd", "NZ", 2),
)


class Draws:
    """Everything random, from one seeded source."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random  # noqa: S311 -- reproducible on purpose

    def chance(self, share: float) -> bool:
        """Be true in *share* of the draws."""
        return self.random() < share

    def one_of(self, members: Sequence[Participant], currency: Currency) -> Participant:
        """Draw a participant by size, busier in its home currency."""
        home = currency.home.split()
        totals = list(accumulate(m.size * (HOME_WEIGHT if m.country in home else 1) for m in members))
        return members[bisect(totals, self.random() * totals[-1])]

    def pair(self, currency: Currency) -> tuple[str, str]:
        """Draw a payer and a payee: core with core, core with periphery, or periphery with periphery."""
        kind = self.random()
        left = CORE if kind < CORE_CORE + CORE_PERIPHERY else PERIPHERY
        right = CORE if kind < CORE_CORE else PERIPHERY
        first, second = self.one_of(left, currency), self.one_of(right, currency)
        while first == second:
            second = self.one_of(right, currency)
        return (first.code, second.code) if self.chance(0.5) else (second.code, first.code)

    def amount_minor(self, currency: Currency) -> int:
        """Draw a log-normal amount with a Pareto tail, some of them rounded as people round."""
        uniform = 1 - self.random()  # in (0, 1]
        medians: float
        if self.chance(TAIL_SHARE):
            medians = TAIL_START * uniform ** (-1 / TAIL_ALPHA)
        else:
            medians = math.exp(SIGMA * NormalDist().inv_cdf(min(uniform, 1 - 2**-53)))
        amount_minor = max(1, round(medians * currency.median_minor))
        if self.chance(ROUND_SHARE):
            amount_minor = rounded_up(amount_minor, digits=2)
        return amount_minor

    def near(self, amount_minor: int) -> int:
        """Draw an amount like *amount_minor*: what comes back when a deposit or a swap is rolled over."""
        return max(1, round(amount_minor * (1 + RETURN_SPREAD * (2 * self.random() - 1))))

    def shuffled(self, rows: Iterable[Obligation]) -> list[Obligation]:
        """Mix the currencies as a day does."""
        return [row for _, row in sorted(((self.random(), row) for row in rows), key=lambda pair: pair[0])]


def rounded_up(value: int, *, digits: int) -> int:
    """Round *value* up to so many significant digits."""
    unit = int(10 ** max(0, len(str(value)) - digits))
    return -(-value // unit) * unit


def draw(draws: Draws, counts: dict[str, int]) -> Iterator[Obligation]:
    """Draw as many obligations per currency as *counts* says; some are answered by one the other way."""
    for code, count in counts.items():
        left = count
        while left:
            payer, payee = draws.pair(BY_CODE[code])
            amount_minor = draws.amount_minor(BY_CODE[code])
            yield Obligation(payer, payee, code, amount_minor)
            left -= 1
            if left and draws.chance(RETURN_SHARE):
                yield Obligation(payee, payer, code, draws.near(amount_minor))
                left -= 1


def nets(obligations: Iterable[Obligation]) -> dict[tuple[str, str], int]:
    """Add up what each participant receives (+) or pays (-) per currency."""
    net: dict[tuple[str, str], int] = defaultdict(int)
    for row in obligations:
        net[row.payer, row.currency] -= row.amount_minor
        net[row.payee, row.currency] += row.amount_minor
    return net


def prefunding(day: Sequence[Obligation], second: Sequence[Obligation]) -> dict[tuple[str, str], int]:
    """
    Fund every account for its largest net debit: after either file alone and after both.

    The one account that is to fall short is funded for the day alone. An account that never owes net
    holds nothing, except in its own currency, where it keeps at least HOME_MEDIANS median amounts.
    """
    first, then = nets(day), nets(second)
    balances = {}
    for participant in CORE + PERIPHERY:
        for currency in CURRENCIES:
            key = (participant.code, currency.code)
            needs = [-first[key], -then[key], -first[key] - then[key]]
            need = needs[0] if key == (SHORT, SHORT_CURRENCY) else max(needs)
            at_home = participant.country in currency.home.split()
            floor = HOME_MEDIANS if at_home else int(need > 0)
            wanted = max(need * MARGIN_PERCENT // 100, floor * currency.median_minor)
            balances[key] = rounded_up(wanted, digits=2)
    return balances


def second_file(draws: Draws, day: Sequence[Obligation]) -> list[Obligation]:
    """Draw the file that must fail: SHORT ends SHORTFALL_MINOR below zero once the day has settled."""
    rows = list(draw(draws, {currency.code: currency.rows_short for currency in CURRENCIES}))
    key = (SHORT, SHORT_CURRENCY)
    left_minor = prefunding(day, rows)[key] + nets(day)[key] + nets(rows)[key]
    part_minor, rest_minor = divmod(left_minor + SHORTFALL_MINOR, SHORT_PAYMENTS)
    parts = [part_minor] * (SHORT_PAYMENTS - 1) + [part_minor + rest_minor]
    rows += [
        Obligation(SHORT, payee.code, SHORT_CURRENCY, part) for payee, part in zip(CORE, parts, strict=False)
    ]
    return draws.shuffled(rows)


def decimal(amount_minor: int, currency: str) -> str:
    """Write an amount in major units with exactly the currency's decimals."""
    whole, part = divmod(amount_minor, BY_CODE[currency].unit)
    exponent = BY_CODE[currency].exponent
    return f"{whole}.{part:0{exponent}}" if exponent else str(whole)


def write(path: Path, header: str, rows: Iterable[Sequence[str]]) -> None:
    """Write one CSV file with Unix line ends."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def write_obligations(path: Path, rows: Iterable[Obligation], *, prefix: str) -> None:
    """Write obligations with references *prefix*-000001 and on."""
    write(
        path,
        "reference,payer,payee,currency,amount",
        (
            (f"{prefix}-{n:06}", r.payer, r.payee, r.currency, decimal(r.amount_minor, r.currency))
            for n, r in enumerate(rows, start=1)
        ),
    )


def main(folder: Path) -> None:
    """Draw everything from SEED and write the four files into *folder*."""
    draws = Draws(SEED)
    day = draws.shuffled(draw(draws, {currency.code: currency.rows for currency in CURRENCIES}))
    second = second_file(draws, day)
    balances = prefunding(day, second)

    members = ((p.code, p.name, p.country) for p in CORE + PERIPHERY)
    write(folder / "participants.csv", "code,name,country", members)
    write(
        folder / "balances.csv",
        "participant,currency,balance",
        ((code, currency, decimal(minor, currency)) for (code, currency), minor in balances.items()),
    )
    write_obligations(folder / "obligations.csv", day, prefix="DAY1")
    write_obligations(folder / "obligations_short.csv", second, prefix="DAY2")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
