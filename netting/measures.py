"""
What netting achieved: gross, what still moves, the provable bound, and the shares between them.

Shares in basis points are integers rounded down: a figure shown is never better than the truth, and a
threshold of 5,000 is met by one half exactly. With nothing owed nothing is saved: 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measures:
    """
    Figures of one currency, in minor units.

    Attributes:
        gross: the sum of all obligations.
        net: what still moves under the mode.
        bound: L, the least any settlement of the same net positions moves.
    """

    gross: int
    net: int
    bound: int

    def __post_init__(self) -> None:
        assert 0 <= self.bound <= self.net <= self.gross, self

    @property
    def saved(self) -> int:
        """What need not move."""
        return self.gross - self.net

    @property
    def efficiency_bps(self) -> int:
        """1 - net/gross, in basis points, rounded down."""
        return share_bps(self.saved, self.gross)

    @property
    def bound_bps(self) -> int:
        """1 - bound/gross: the efficiency nothing can exceed, in basis points, rounded down."""
        return share_bps(self.gross - self.bound, self.gross)

    @property
    def efficiency(self) -> float:
        """1 - net/gross as the nearest double, for the wire; decide with ``efficiency_bps``."""
        return self.saved / self.gross if self.gross else 0.0

    def meets(self, efficiency_min_bps: int) -> bool:
        """Tell whether the efficiency is at least *efficiency_min_bps*; exact, nothing rounded."""
        return self.saved * 10_000 >= efficiency_min_bps * self.gross


def share_bps(part: int, whole: int) -> int:
    """Return *part* of *whole* in basis points, rounded down; 0 of nothing."""
    return part * 10_000 // whole if whole else 0


def combined(parts: Iterable[Measures]) -> Measures:
    """
    Add up measures of one unit: the regions of one currency, or currencies converted beforehand.

    Amounts of different currencies do not add; for a mixed window use ``worst``.
    """
    every = list(parts)
    return Measures(
        gross=sum(part.gross for part in every),
        net=sum(part.net for part in every),
        bound=sum(part.bound for part in every),
    )


def worst(parts: Iterable[Measures]) -> Measures | None:
    """Return the measures of the least efficient currency that owes anything, or None for none."""
    owing = [part for part in parts if part.gross]
    return min(owing, key=lambda part: (part.efficiency_bps, part.saved)) if owing else None
