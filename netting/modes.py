"""
Net one currency in one mode, with a certificate that proves the result.

    outcome = modes.net(pairs, mode=Mode.CONSERVATIVE)
    faults = outcome.faults()      # asks the independent checker; nothing wrong: proven
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from netting import bilateral, conservative, multilateral, potentials
from netting.certificate import Certificate, verify
from netting.measures import Measures
from netting.model import INT64_MAX, Flows, Ints, Mode, Pairs, Positions, exact_sum

CLOSED_FORM: Final = "closed form"
CLOSED_FORM_VERSION: Final = "1"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """
    The result of one currency.

    Attributes:
        left: per pair of ``pairs``, what still moves from payer to payee; zero throughout in
            multilateral mode, where the net positions move instead.
        names: the participants as digests spell them.
        positions: one per participant, zeros included; the same in every mode.
    """

    mode: Mode
    pairs: Pairs
    left: Ints
    positions: Positions
    certificate: Certificate
    names: Sequence[str]

    @property
    def residual(self) -> Flows:
        """What is left of the obligations, per payer and payee; empty in multilateral mode."""
        open_rows = np.flatnonzero(self.left)
        payer, payee = self.pairs.payer[open_rows], self.pairs.payee[open_rows]
        amounts = self.left[open_rows]
        if self.pairs.weights is not None and len(open_rows):
            new = np.concatenate(([True], (np.diff(payer) != 0) | (np.diff(payee) != 0)))
            starts = np.flatnonzero(new)
            payer, payee, amounts = payer[starts], payee[starts], np.add.reduceat(amounts, starts)
        return Flows(self.pairs.ids[payer], self.pairs.ids[payee], amounts)

    @property
    def measures(self) -> Measures:
        """Gross, net and bound of this result."""
        bound = self.positions.bound
        net = bound if self.mode is Mode.MULTILATERAL else exact_sum(self.left)
        return Measures(gross=self.pairs.gross, net=net, bound=bound)

    def faults(self) -> list[str]:
        """Ask the independent checker; an empty list means the result is proven."""
        return verify(self.certificate, self.names, input_columns(self.pairs), self.left, self.positions.net)


def net(pairs: Pairs, *, mode: Mode | str) -> Outcome:
    """
    Net *pairs* and issue the certificate.

    Raises:
        ValueError: there is no such mode.
        SolverFailed: conservative mode found no optimum.
    """
    mode = Mode(mode)
    positions = multilateral.net(pairs)
    solver, version = CLOSED_FORM, CLOSED_FORM_VERSION
    if mode is Mode.CONSERVATIVE:
        solver, version = conservative.SOLVER, conservative.VERSION
        left, prices, primal, dual = _conservative(pairs)
    elif mode is Mode.MULTILATERAL:
        left, prices = np.zeros(len(pairs), np.int64), (positions.net > 0).astype(np.int64)
        primal = dual = positions.bound
    else:
        set_off = bilateral.set_off(pairs) if mode is Mode.BILATERAL else np.zeros(len(pairs), np.int64)
        left, prices = pairs.gross_minor - set_off, np.empty(0, np.int64)
        primal = dual = exact_sum(left)
    names = participant_names(pairs)
    certificate = Certificate(
        mode=mode.value,
        solver=solver,
        version=version,
        input_digest=_digest("input", names, input_columns(pairs)),
        result_digest=_digest(f"result {mode.value}", names, (positions.net, left)),
        primal=primal,
        dual=dual,
        potentials=prices,
    )
    return Outcome(mode, pairs, left, positions, certificate, names)


def participant_names(pairs: Pairs) -> Sequence[str]:
    """Return the participants as digests spell them: their names, or their ids in decimal."""
    return pairs.names if pairs.names is not None else tuple(map(str, pairs.ids.tolist()))


def _conservative(pairs: Pairs) -> tuple[Ints, Ints, int, int]:
    """Return what is left per pair, the potentials, and the primal and dual value."""
    components = conservative.components(pairs)
    set_off = conservative.circulation(pairs, components)
    prices = potentials.of_circulation(pairs, set_off, components)
    left = pairs.gross_minor - set_off
    weights = 1 if pairs.weights is None else pairs.weights
    worth = np.minimum(weights, prices[pairs.payee] - prices[pairs.payer])
    return left, prices, _dot(left, weights, pairs.gross), _dot(pairs.gross_minor, worth, pairs.gross)


def _dot(amounts: Ints, factors: Ints | int, gross: int) -> int:
    """Return the sum of amount x factor, exact at any size; the amounts add up to *gross* at most."""
    if isinstance(factors, int):
        return int(amounts.sum()) * factors
    if max(int(factors.max(initial=0)), -int(factors.min(initial=0))) * gross <= INT64_MAX:
        return int(np.dot(amounts, factors))
    return sum(map(int.__mul__, amounts.tolist(), factors.tolist()))


def input_columns(pairs: Pairs) -> Sequence[Ints]:
    """Return the columns that identify the input; counts do not change what is netted."""
    columns = (pairs.payer, pairs.payee, pairs.gross_minor)
    return columns if pairs.weights is None else (*columns, pairs.weights)


def _digest(title: str, names: Sequence[str], columns: Sequence[Ints]) -> str:
    """
    Return the SHA-256 over a title line, a line per participant, an empty line, and the columns.

    Columns are signed 64-bit little-endian integers, one column after another in canonical order.
    """
    digest = hashlib.sha256("\n".join((f"netting {title}", *names, "", "")).encode())
    for column in columns:
        digest.update(np.ascontiguousarray(column, "<i8").data)
    return digest.hexdigest()
