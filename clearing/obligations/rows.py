"""Read obligations from CSV lines: header ``reference,payer,payee,currency,amount`` and optional columns."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from clearing.obligations.items import Submission
from clearing.obligations.screen import Fault
from clearing_project.errors import Invalid

REQUIRED = ("reference", "payer", "payee", "currency", "amount")
OPTIONAL = ("region", "due_date", "not_before", "priority", "link")
PRIORITY_DIGITS_MAX = 9
OTHER_SEPARATORS = ";\t|"


class CsvHeaderInvalid(Invalid):
    """The first line does not name the columns of an obligation file."""

    code = "csv_header_invalid"
    fields = ("reason",)
    message = "The CSV header is invalid: {reason}."


class CsvNotUtf8(Invalid):
    """The file is not UTF-8 text."""

    code = "csv_not_utf8"
    message = "The CSV is not UTF-8 text."


@dataclass(frozen=True, slots=True)
class Row:
    """One data line: its number (the first is 1), its cells, and what they say or what is wrong."""

    line: int
    cells: list[str]
    region: str | None
    submission: Submission | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class CsvFile:
    """An obligation file: its header, and its rows read as they are asked for."""

    header: list[str]
    rows: Iterator[Row]


def read(lines: Iterable[str]) -> CsvFile:
    """
    Read the header now and the rows lazily, so that memory does not grow with the file.

    Raises:
        CsvHeaderInvalid: columns are missing, unknown or doubled.
        CsvNotUtf8: also while rows are read.
    """
    reader = csv.reader(_unmarked(lines), strict=True)
    try:
        header = next(reader, [])
    except UnicodeDecodeError as garbage:
        raise CsvNotUtf8 from garbage
    except csv.Error as broken:
        raise CsvHeaderInvalid(str(broken)) from broken
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    if len(header) == 1 and any(mark in header[0] for mark in OTHER_SEPARATORS):
        raise CsvHeaderInvalid("its columns are separated by something else than commas")
    if missing or unknown or len(set(header)) < len(header):
        raise CsvHeaderInvalid(
            f"missing {', '.join(missing)}" if missing else f"unknown or doubled {', '.join(unknown)}"
        )
    return CsvFile(header, _rows(reader, header))


def _unmarked(lines: Iterable[str]) -> Iterator[str]:
    """Take the byte order mark off the first line, where it would hide the quote after it."""
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix("\ufeff")


def _rows(reader: "Iterator[list[str]]", header: list[str]) -> Iterator[Row]:
    line = 0
    while True:
        line += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as garbage:
            raise CsvNotUtf8 from garbage
        except csv.Error as broken:
            yield Row(line, [], None, None, Fault("csv_line_invalid", f"The line cannot be read: {broken}."))
            continue
        if not cells:
            line -= 1
            continue  # an empty line says nothing
        yield _row(line, cells, header)


def _row(line: int, cells: list[str], header: list[str]) -> Row:
    if len(cells) != len(header):
        fault = Fault("csv_line_invalid", f"The line has {len(cells)} fields, the header {len(header)}.")
        return Row(line, cells, None, None, fault)
    named = dict(zip(header, cells, strict=True))
    try:
        submission = Submission(
            **{name: named[name] for name in REQUIRED},
            due_date=_day(named, "due_date"),
            not_before=named.get("not_before") or None,
            priority=_priority(named.get("priority", "")),
            link=named.get("link") or None,
        )
    except Fault as fault:
        return Row(line, cells, None, None, fault)
    return Row(line, cells, named.get("region") or None, submission, None)


def _day(named: dict[str, str], name: str) -> date | None:
    text = named.get(name, "")
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Fault("date_invalid", f"{name} is not a date like 2026-01-31.", column=name) from None


def _priority(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > PRIORITY_DIGITS_MAX:
        raise Fault("priority_out_of_range", "A priority is a whole number.")
    return int(text)
