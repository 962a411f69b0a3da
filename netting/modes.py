"""
Net one currency in one mode, with a certificate that proves the result.

    outcome = modes.net(pairs, mode=Mode.CONSERVATIVE)
    faults = outcome.faults()      # asks the independent checker; nothing wrong: proven
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from netting import bilateral, conservative, multilateral, potentials
from netting.certificate import Certificate, verify
from netting.measures import Measures
from netting.model import Flows, Ints, Mode, Pairs, Positions, exact_sum, weighted

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
        left, prices = _conservative(pairs)
        primal, dual = weighted(pairs, left), potentials.bound(pairs, prices)
    elif mode is Mode.MULTILATERAL:
        left, prices = np.zeros(len(pairs), np.int64), (positions.net > 0).astype(np.int64)
        primal = dual = positions.bound
    else:
        set_off = bilateral.set_off(pairs) if mode is Mode.BILATERAL else np.zeros(len(pairs), np.int64)
        left, prices = pairs.gross_minor - set_off, np.empty(0, np.int64)
        primal = dual = exact_sum(left)
    names = participant_names(pairs)
    input_digest, result_digest = _digests(pairs, names, mode, positions.net, left)
    certificate = Certificate(
        mode=mode.value,
        solver=solver,
        version=version,
        input_digest=input_digest,
        result_digest=result_digest,
        primal=primal,
        dual=dual,
        potentials=prices,
    )
    return Outcome(mode, pairs, left, positions, certificate, names)


def participant_names(pairs: Pairs) -> Sequence[str]:
    """Return the participants as digests spell them: their names, or their ids in decimal."""
    return pairs.names if pairs.names is not None else tuple(map(str, pairs.ids.tolist()))


def _conservative(pairs: Pairs) -> tuple[Ints, Ints]:
    """Return what is left per pair, and the potentials."""
    components = conservative.components(pairs)
    set_off = conservative.circulation(pairs, components)
    prices = potentials.of_circulation(pairs, set_off, components)
    return pairs.gross_minor - set_off, prices


def input_columns(pairs: Pairs) -> Sequence[Ints]:
    """Return the columns that identify the input; counts do not change what is netted."""
    columns = (pairs.payer, pairs.payee, pairs.gross_minor)
    return columns if pairs.weights is None else (*columns, pairs.weights)


def _digests(pairs: Pairs, names: Sequence[str], mode: Mode, net: Ints, left: Ints) -> tuple[str, str]:
    """
    Return the digests of the input, and of the result together with the digest of its input.

    Columns are signed little-endian integers: places of participants of 32 bits, net positions and weights of
    64, amounts of 32 if the largest fits, else of 64. The line of sizes keeps apart what else reads alike.
    """
    payer, payee, gross, *weights = input_columns(pairs)
    width = "<i4" if int(gross.max(initial=0)) < 2**31 else "<i8"
    sizes = f"{len(names)} participants, {len(pairs)} pairs, {3 + len(weights)} columns, {width}"
    columns = [payer.astype("<i4"), payee.astype("<i4"), gross.astype(width), *weights]
    of_input = _digest(["input", sizes, *names], columns)
    return of_input, _digest([f"result {mode.value}", of_input], [net, left.astype(width)])


def _digest(lines: Sequence[str], columns: Sequence[npt.NDArray[np.signedinteger[Any]]]) -> str:
    """Return the SHA-256 over *lines*, an empty line, and the columns one after another."""
    digest = hashlib.sha256("\n".join((*lines, "", "")).encode())
    for column in columns:
        digest.update(column.data)
    return digest.hexdigest()
