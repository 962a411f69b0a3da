"""
Net a file, or find what a file's obligations can settle within balances; no database, no Django.

    python -m netting FILE.csv --mode bilateral|multilateral|conservative|gross [--transfers agent|direct]
    python -m netting FILE.csv --liquidity BALANCES.csv --order fifo|value|count [--seconds N]

Prints JSON. Bad input: a line per fault on stderr, ``FILE:LINE: code: message``, nothing on stdout, exit 2.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from netting import report, rows
from netting.liquidity import SECONDS, Order
from netting.model import Mode

Read = TypeVar("Read")


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    gc.disable()  # millions of small objects and no circles: looking for those would take half the time
    asked = _parser().parse_args(arguments)
    with _solvers_kept_quiet():
        text = _answer(asked)
    if text is None:
        return 2
    sys.stdout.write(text)
    return 0


def _answer(asked: argparse.Namespace) -> str | None:
    """Return the JSON asked for, or nothing once the faults are printed."""
    obligations = _read(asked.file, rows.read_obligations)
    if asked.mode:
        if obligations is None:
            return None
        return report.dump(report.netting(obligations, mode=Mode(asked.mode), legs=asked.transfers))
    balances = _read(asked.liquidity, rows.read_balances)
    if obligations is None or balances is None:
        return None
    order = Order(asked.order)
    return report.dump(report.liquidity(obligations, balances, order=order, seconds=asked.seconds))


@contextmanager
def _solvers_kept_quiet() -> Iterator[None]:
    """Send what a solver prints from C (HiGHS does, past its own settings) to stderr: stdout is JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _read(path: str, reader: Callable[[Iterable[str]], Read]) -> Read | None:
    """Read the file at *path*, or print its faults."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
            return reader(lines)
    except OSError as error:
        faults = [rows.Fault(0, "file_unreadable", error.strerror or str(error))]
    except rows.FileInvalid as refused:
        faults = refused.faults
    for fault in faults:
        print(f"{path}:{fault.line}: {fault.code}: {fault.message}", file=sys.stderr)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m netting", description="Net obligations from a CSV.")
    parser.add_argument("file", help="CSV with header reference,payer,payee,currency,amount")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--mode", choices=[mode.value for mode in Mode], help="how obligations are set off")
    what.add_argument(
        "--liquidity", metavar="BALANCES.csv", help="settle within participant,currency,balance"
    )
    parser.add_argument("--transfers", choices=sorted(report.TRANSFERS), help="how net positions are settled")
    orders = [order.value for order in Order]
    parser.add_argument("--order", choices=orders, default="fifo", help="what the choice is made by")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what the search may take")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
