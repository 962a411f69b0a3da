"""
What must be true between our tables and the book of the engine outside, once nothing is under way.

The book is what the engine remembers by: one JSON object a line, written before it answers. The engine of
these runs executes an order as often as it comes: what it executed once was never sent again in vain.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from django.db import connection

from netting import money

Entry = dict[str, Any]
SHOWN_MAX = 3

EXECUTIONS = """
    SELECT execution.id::text, execution.status, execution.sends, instruction.status, operation.final_at,
           payer.code, payee.code, instruction.amount_minor, currency.code
    FROM settlement_execution execution
    JOIN settlement_settlementinstruction instruction ON instruction.id = execution.instruction_id
    JOIN clearing_atomicoperation operation ON operation.id = instruction.batch_id
    JOIN settlement_participant payer ON payer.id = instruction.payer_id
    JOIN settlement_participant payee ON payee.id = instruction.payee_id
    JOIN settlement_currency currency ON currency.id = instruction.currency_id
    WHERE execution.rail = 'Engine'
"""


def length(book: Path) -> int:
    """Count the lines of the book: 0 if there is none yet."""
    return len(_read(book))


def modes(book: Path, *, since: int) -> dict[str, int]:
    """Count the orders that came after the first *since* lines by what the engine did wrong with them."""
    lines = _read(book)[since:]
    return dict(Counter(each["mode"] for each in lines if each["what"] == "received" and each["mode"]))


def broken(book: Path) -> list[str]:
    """Say where the engine's book and our tables disagree, or the book says that money moved twice."""
    lines, found = _read(book), list[str]()
    by_what = {
        what: [each for each in lines if each["what"] == what] for what in ("received", "executed", "failed")
    }
    executed = Counter(each["obligation_id"] for each in by_what["executed"])
    failed = {each["obligation_id"] for each in by_what["failed"]}
    ours = {row[0]: row[1:] for row in _rows()}
    _note(found, "an order was executed twice", [key for key, count in executed.items() if count > 1])
    _note(found, "an order that nobody here knows", {each["obligation_id"] for each in lines} - ours.keys())
    for each in by_what["received"] + by_what["executed"]:
        if each["obligation_id"] in ours:
            _note(
                found,
                "an order says other than its instruction",
                _differences(each, ours[each["obligation_id"]]),
            )
    known = {each["obligation_id"] for each in lines}
    for key, (status, sends, instruction, *_) in ours.items():
        told = f"execution {key} is {status}, its instruction {instruction}"
        if (status == "Completed") != (key in executed) or (key in executed and instruction != "Completed"):
            found.append(f"{told}; the engine executed it {executed[key]} times")
        if status == "Failed" and key not in failed:
            found.append(f"{told}; the engine does not say that it failed")
        if not sends and key in known:
            found.append(f"{told}; the engine has it, and it was never sent")
    return found


def _differences(entry: Entry, ours: tuple[Any, ...]) -> list[str]:
    *_, final_at, payer, payee, amount_minor, currency = ours
    expected = (payer, payee, money.format_minor(amount_minor, currency), currency)
    told = tuple(entry[name] for name in ("from_bank", "to_bank", "amount", "currency"))
    too_soon = final_at is None or entry["at"] < final_at.timestamp()
    return [f"{told} for {expected}, final at {final_at}"] if told != expected or too_soon else []


def _note(found: list[str], claim: str, offenders: Any) -> None:
    shown = sorted(offenders)
    if shown:
        found.append(f"{claim}: {len(shown)}, such as {'; '.join(shown[:SHOWN_MAX])}")


def _rows() -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(EXECUTIONS)
        return list(cursor.fetchall())


def _read(book: Path) -> list[Entry]:
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
