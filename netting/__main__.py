"""
Net a file, or find what a file's obligations can settle within balances; no database, no Django.

    python -m netting FILE.csv --mode bilateral|multilateral|conservative|gross [--transfers agent|direct]
    python -m netting FILE.csv --mode conservative --weights priority|age [--cutoff 2026-01-31T12:00:00Z]
    python -m netting FILE.csv --liquidity BALANCES.csv --order fifo|value|count [--seconds N]

Prints JSON. Bad input: a line per fault on stderr, ``FILE:LINE: code: message``, nothing on stdout, exit 2.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from netting import report, rows
from netting.liquidity import SECONDS, Order
from netting.model import Mode
from netting.weights import MomentInvalid, Weights, moment

Read = TypeVar("Read")


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    gc.disable()  # millions of small objects and no circles: looking for those would take half the time
    asked = _asked(arguments)
    with _solvers_kept_quiet():
        text = _answer(asked)
    if text is None:
        return 2
    sys.stdout.write(text)
    return 0


def _answer(asked: argparse.Namespace) -> str | None:
    """Return the JSON asked for, or nothing once the faults are printed."""
    obligations = _read(asked.file, partial(rows.read_obligations, scale=_scale(asked)))
    if asked.mode:
        if obligations is None:
            return None
        weighed = {"weights": asked.weights, "cutoff": asked.cutoff} if asked.weights else {}
        parts = report.netting(obligations, mode=Mode(asked.mode), legs=asked.transfers, weighed=weighed)
        return report.dump(parts)
    balances = _read(asked.liquidity, rows.read_balances)
    if obligations is None or balances is None:
        return None
    order, seconds = Order(asked.order or Order.FIFO), SECONDS if asked.seconds is None else asked.seconds
    try:
        return report.dump(report.liquidity(obligations, balances, order=order, seconds=seconds))
    except rows.FileInvalid as refused:
        _tell(asked.liquidity, refused.faults)
        return None


def _scale(asked: argparse.Namespace) -> rows.Scale | None:
    """Return what obligations are weighed by."""
    if not asked.weights:
        return None
    return rows.by_age(moment(asked.cutoff)) if asked.weights == Weights.AGE else rows.by_priority()


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
    _tell(path, faults)
    return None


def _tell(path: str, faults: Iterable[rows.Fault]) -> None:
    """Print a line per fault; those of a file as a whole have line 0."""
    for fault in faults:
        print(f"{path}:{fault.line}: {fault.code}: {fault.message}", file=sys.stderr)


def _asked(arguments: list[str]) -> argparse.Namespace:
    """Return what is asked for; what makes no sense ends the command with exit code 2."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.mode and (asked.order or asked.seconds is not None):
        parser.error("--order and --seconds need --liquidity")
    if asked.liquidity and asked.transfers:
        parser.error("--transfers needs --mode")
    if asked.seconds is not None and not asked.seconds >= 0:
        parser.error("--seconds: zero or above")
    if asked.weights and asked.mode != Mode.CONSERVATIVE:
        parser.error("--weights needs --mode conservative: no other mode chooses what to set off")
    if (asked.weights == Weights.AGE) != bool(asked.cutoff):
        parser.error("--weights age and --cutoff need each other")
    try:
        moment(asked.cutoff or "2000-01-01T00:00:00Z")
    except MomentInvalid as wrong:
        parser.error(f"--cutoff: {wrong}")
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m netting", description="Net obligations from a CSV.", allow_abbrev=False
    )
    parser.add_argument("file", help="CSV with header reference,payer,payee,currency,amount")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--mode", choices=[mode.value for mode in Mode], help="how obligations are set off")
    what.add_argument(
        "--liquidity", metavar="BALANCES.csv", help="settle within participant,currency,balance"
    )
    parser.add_argument("--transfers", choices=sorted(report.TRANSFERS), help="how net positions are settled")
    kinds = [Weights.PRIORITY.value, Weights.AGE.value]
    parser.add_argument(
        "--weights", choices=kinds, help="what a unit set off is worth; conservative mode only"
    )
    parser.add_argument("--cutoff", metavar="MOMENT", help="the moment at which the ages are taken")
    orders = [order.value for order in Order]
    parser.add_argument("--order", choices=orders, help="what the choice is made by; fifo if left out")
    parser.add_argument("--seconds", type=float, help=f"what the search may take; {SECONDS:g} if left out")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
