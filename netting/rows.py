"""
Read obligations and balances from CSV lines. Every fault is collected, with its line and code.

Reads whatever yields lines; opening files is left to the caller.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import accumulate
from operator import itemgetter
from typing import Final, Protocol

import numpy as np

from netting.errors import NettingError, SumOutOfRange
from netting.model import INT64_MAX, Ints, Pairs
from netting.money import parse_minor
from netting.queues import Queue
from netting.weights import of_age, of_priority

OBLIGATION_COLUMNS: Final = ("payer", "payee", "currency", "amount")
BALANCE_COLUMNS: Final = ("participant", "currency", "balance")
NAME_MAX: Final = 255
RESERVED: Final = "AGENT"  # the settlement agent's code in transfers


class Reader(Protocol):
    """What ``csv.reader`` returns: rows, and the line it has come to."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file; printed as ``FILE:LINE: code: message``."""

    line: int
    code: str
    message: str


class FileInvalid(Exception):
    """The file has faults; nothing of it is used."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Scale:
    """What an obligation's weight is taken from."""

    column: str
    weigh: Callable[[str], int]


def by_priority() -> Scale:
    """Weigh by the column ``priority``; empty is 0."""
    return Scale("priority", of_priority)


def by_age(cutoff: datetime) -> Scale:
    """Weigh by whole days from the column ``submitted_at`` to *cutoff*."""
    return Scale("submitted_at", partial(of_age, cutoff=cutoff))


@dataclass(slots=True)
class Book:
    """The obligations of one currency, in order of the file; payers and payees are participants' places."""

    payers: list[int] = field(default_factory=list)
    payees: list[int] = field(default_factory=list)
    amounts: list[int] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)  # empty where nothing is weighed


@dataclass(frozen=True, slots=True)
class Obligations:
    """A file's obligations by currency. ``names`` are the participants in order of first mention."""

    books: dict[str, Book]
    names: list[str]

    def pairs(self, currency: str) -> Pairs:
        """Return the pairs of *currency*, its participants numbered in order of their names."""
        book = self.books[currency]
        places = np.array([book.payers, book.payees], np.int64)
        present = np.unique(places).tolist()
        names = sorted(self.names[place] for place in present)
        number = {name: place for place, name in enumerate(names)}
        rank: Ints = np.zeros(len(self.names), np.int64)
        rank[present] = [number[self.names[place]] for place in present]
        return Pairs.of(
            rank[places[0]], rank[places[1]], book.amounts, weights=book.weights or None, names=names
        )

    def queue(self, currency: str, balances: dict[tuple[str, str], int]) -> tuple[Queue, list[str]]:
        """
        Return the queue of *currency* and its participants, zero where *balances* has none.

        Raises:
            FileInvalid: amounts and balances do not fit 64 bits together.
        """
        book = self.books[currency]
        available = [balances.get((name, currency), 0) for name in self.names]
        try:
            return Queue.of(book.payers, book.payees, book.amounts, balances=available), self.names
        except SumOutOfRange as error:
            reason = f"twice the amounts of {currency} and its balances exceed 64 bits together"
            raise FileInvalid([Fault(0, error.code, reason)]) from error


def read_obligations(lines: Iterable[str], *, scale: Scale | None = None) -> Obligations:
    """
    Read ``reference,payer,payee,currency,amount``; columns in any order, others are ignored.

    Without a reference column the number of the data line is the reference.

    Args:
        scale: weigh each obligation; the file must have the scale's column.

    Raises:
        FileInvalid: with every fault of the file.

    1.5 us a line.
    """
    intake = _Intake()
    required = OBLIGATION_COLUMNS if scale is None else (*OBLIGATION_COLUMNS, scale.column)
    reader = csv.reader(lines, strict=True)
    try:
        header = _header(reader, required, intake.faults)
        if header:
            intake.line = reader.line_num
            intake.take(reader, header, scale)
    except csv.Error as error:
        intake.faults.append(Fault(intake.line + 1, "line_unreadable", str(error)))
    if not intake.faults:
        intake.faults += _sums_out_of_range(intake.books)
    if intake.faults:
        raise FileInvalid(intake.faults)
    return Obligations(intake.books, list(intake.places))


def read_balances(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """
    Read ``participant,currency,balance`` into minor units by (participant, currency).

    Raises:
        FileInvalid: with every fault of the file.
    """
    balances: dict[tuple[str, str], int] = {}
    faults: list[Fault] = []
    line = 0
    reader = csv.reader(lines, strict=True)
    try:
        header = _header(reader, BALANCE_COLUMNS, faults)
        line = reader.line_num
        for row in reader if header else ():
            begins, line = line + 1, reader.line_num
            if row:
                try:
                    who, currency, minor = _balance(row, header)
                    if (who, currency) in balances:
                        raise RowInvalid("balance_duplicate", f"{who} has a balance in {currency} already")
                    balances[who, currency] = minor
                except NettingError as error:
                    faults.append(Fault(begins, error.code, str(error)))
    except csv.Error as error:
        faults.append(Fault(line + 1, "line_unreadable", str(error)))
    if faults:
        raise FileInvalid(faults)
    return balances


class RowInvalid(NettingError):
    """A line that is no obligation or balance; its code says why."""

    fields = ("code", "reason")
    message = "{reason}"

    @property
    def code(self) -> str:  # type: ignore[override]  # one class for the codes of a line
        """The first value is the code."""
        return str(self.args[0])


class _Intake:
    """Takes rows in; what it cannot take becomes a fault."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self.places: dict[str, int] = {}
        self.references: set[str] = set()
        self.faults: list[Fault] = []
        self.line = 0  # the last one read in full

    def take(self, reader: Reader, header: list[str], scale: Scale | None) -> None:
        """Read to the end of the file."""
        width, places = len(header), self.places
        weighed = None if scale is None else header.index(scale.column)
        pick = itemgetter(*(header.index(name) for name in OBLIGATION_COLUMNS))
        named = header.index("reference") if "reference" in header else None
        for row in reader:
            line, self.line = self.line + 1, reader.line_num  # a quoted field may go on over several
            try:
                if len(row) != width:
                    if row:
                        raise RowInvalid("fields_mismatch", f"{len(row)} fields where the header has {width}")
                    continue  # an empty line
                payer, payee, currency, amount = pick(row)
                minor = parse_minor(amount, currency)
                if payer not in places or payee not in places:
                    self._meet(payer, payee)
                if payer == payee:
                    raise RowInvalid("same_payer_and_payee", f"{payer} cannot owe itself")
                if named is None:
                    reference = str(line - 1)
                else:
                    reference = row[named]
                    self._check_reference(reference)
                weight = None if scale is None or weighed is None else scale.weigh(row[weighed])
                book = self.books.get(currency)
                if book is None:
                    book = self.books[currency] = Book()
                book.payers.append(places[payer])
                book.payees.append(places[payee])
                book.amounts.append(minor)
                book.references.append(reference)
                book.lines.append(line)
                if weight is not None:
                    book.weights.append(weight)
            except NettingError as error:
                self.faults.append(Fault(line, error.code, str(error)))

    def _meet(self, *names: str) -> None:
        """Give each name not yet known its place."""
        for name in names:
            if name not in self.places:
                self.places[_participant(name)] = len(self.places)

    def _check_reference(self, reference: str) -> None:
        if not reference or not reference.isprintable():
            raise RowInvalid("reference_invalid", f"{reference!r} is not a reference")
        if reference in self.references:
            raise RowInvalid("reference_duplicate", f"{reference} is there already")
        self.references.add(reference)


def _header(reader: Reader, required: tuple[str, ...], faults: list[Fault]) -> list[str]:
    """Return the header's names, or nothing and the faults."""
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing:
        faults.append(Fault(1, "column_missing", f"the header lacks {', '.join(missing)}"))
    if twice:
        faults.append(Fault(1, "column_duplicate", f"the header repeats {', '.join(twice)}"))
    return [] if faults else header


def _balance(row: list[str], header: list[str]) -> tuple[str, str, int]:
    """Return participant, currency and minor units of one line."""
    if len(row) != len(header):
        raise RowInvalid("fields_mismatch", f"{len(row)} fields where the header has {len(header)}")
    who, currency, balance = (row[header.index(name)] for name in BALANCE_COLUMNS)
    return _participant(who), currency, parse_minor(balance, currency, zero_ok=True)


def _participant(name: str) -> str:
    """Return *name* if a participant may be called so."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > NAME_MAX:
        raise RowInvalid("participant_invalid", f"{name[:NAME_MAX]!r} is not a participant's code")
    if name == RESERVED:
        raise RowInvalid("participant_invalid", f"{RESERVED} is the settlement agent, not a participant")
    return name


def _sums_out_of_range(books: dict[str, Book]) -> list[Fault]:
    """Name the line at which a currency's sum leaves 64 bits, if it does."""
    faults = []
    for currency, book in books.items():
        if sum(book.amounts) > INT64_MAX:
            sums = accumulate(book.amounts)
            line = next(line for line, total in zip(book.lines, sums, strict=True) if total > INT64_MAX)
            faults.append(Fault(line, "sum_out_of_range", f"the sum of {currency} exceeds 64 bits here"))
    return faults
