"""
Bilateral netting: per pair of participants, the difference of what they owe each other.

Closed form and certain: of each pair the smaller side is set off in full. Counterparties stay.
"""

from dataclasses import dataclass

import numpy as np

from netting import discharge
from netting.model import Flows, Ints, Pairs

DEBIT = "Debit"  # a owes b
CREDIT = "Credit"  # b owes a
NEUTRAL = "Neutral"


@dataclass(frozen=True, slots=True, eq=False)
class BilateralPositions:
    """
    One row per unordered pair a < b, sorted by (a, b).

    ``a_owes`` and ``b_owes`` are the gross amounts each way, ``counts`` the obligations of both.
    """

    a: Ints
    b: Ints
    a_owes: Ints
    b_owes: Ints
    counts: Ints

    def __len__(self) -> int:
        return len(self.a)

    @property
    def net(self) -> Ints:
        """What a owes b after set-off; below zero, what b owes a."""
        return self.a_owes - self.b_owes

    @property
    def directions(self) -> list[str]:
        """``Debit`` where a owes b, ``Credit`` where b owes a, ``Neutral`` where nothing is left."""
        names = (NEUTRAL, DEBIT, CREDIT)
        return [names[sign] for sign in np.sign(self.net).tolist()]

    @property
    def ratio_bps(self) -> Ints:
        """The share of the pair's gross that is set off, in basis points, rounded down."""
        gross = self.a_owes + self.b_owes
        return floor_bps(gross - np.abs(self.net), gross)


def net(pairs: Pairs) -> BilateralPositions:
    """Fold *pairs* both ways into one row per two participants. O(m log m)."""
    return _fold(pairs)[0]


def set_off(pairs: Pairs) -> Ints:
    """
    Return how much of each pair is set off: the smaller of the two sides.

    Where a pair has several weights, the heaviest goes first.
    """
    positions, row = _fold(pairs)
    both = np.minimum(positions.a_owes, positions.b_owes)[row]
    if pairs.weights is None:
        return both
    new = (np.diff(pairs.payer, prepend=-1) != 0) | (np.diff(pairs.payee, prepend=-1) != 0)
    starts = np.flatnonzero(new)
    return discharge.allocate(pairs.gross_minor, starts=starts, set_off=both[starts])


def _fold(pairs: Pairs) -> tuple[BilateralPositions, Ints]:
    """Return the positions, and for each pair the row it went to."""
    forward = pairs.payer < pairs.payee
    a = np.where(forward, pairs.payer, pairs.payee)
    b = np.where(forward, pairs.payee, pairs.payer)
    key = a * len(pairs.ids) + b
    keys, row = np.unique(key, return_inverse=True)
    a_owes, b_owes, counts = (np.zeros(len(keys), np.int64) for _ in range(3))
    np.add.at(a_owes, row[forward], pairs.gross_minor[forward])
    np.add.at(b_owes, row[~forward], pairs.gross_minor[~forward])
    np.add.at(counts, row, pairs.counts)
    a, b = np.divmod(keys, max(len(pairs.ids), 1))
    return BilateralPositions(pairs.ids[a], pairs.ids[b], a_owes, b_owes, counts), row


def residual(positions: BilateralPositions) -> Flows:
    """Return what still moves, payer to payee, sorted; pairs that cancel out are left out."""
    owed = positions.net
    payers = np.where(owed > 0, positions.a, positions.b)[owed != 0]
    payees = np.where(owed > 0, positions.b, positions.a)[owed != 0]
    amounts = np.abs(owed[owed != 0])
    order = np.lexsort((payees, payers))
    return Flows(payers[order], payees[order], amounts[order])


def floor_bps(part: Ints, whole: Ints) -> Ints:
    """Return 10,000 x *part* // *whole* row by row, exact where the product would leave 64 bits."""
    small = part < 2**63 // 10_000
    bps = np.where(small, part, 0) * 10_000 // whole
    for row in np.flatnonzero(~small).tolist():
        bps[row] = int(part[row]) * 10_000 // int(whole[row])
    return bps
