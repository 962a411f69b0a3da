"""
Which obligations a set-off discharges, and by how much: first in, first discharged.

An amount set off belongs to a group of obligations: the pair in bilateral and conservative mode, the
payer in multilateral mode (there a payer's net position is settled and the rest of what it owes is set
off). Within its group each obligation takes what it can in order; what is left of it is settled by the
group's instruction. The two parts always add up to the obligation.

In SQL, over the same order: ``greatest(0, least(amount, set_off - (running_sum - amount)))`` with
``running_sum = sum(amount) OVER (PARTITION BY group ORDER BY due_date, id)``.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from netting.model import Ints, Pairs, Positions, int_array


def allocate(amounts: Ints, *, starts: Ints, set_off: Ints) -> Ints:
    """
    Return how much of each obligation is set off.

    Args:
        amounts: group by group, in order of discharge within each; above zero.
        starts: where each group begins, rising from 0; none is empty.
        set_off: per group; at most the group's sum.

    O(m). The sum of *amounts* must fit 64 bits.
    """
    if len(amounts) == 0:
        return amounts.copy()
    assert len(starts) == len(set_off)
    assert np.all(set_off <= np.add.reduceat(amounts, starts)), "more is set off than is owed"
    before = np.cumsum(amounts) - amounts
    lengths = np.diff(starts, append=len(amounts))
    available = np.repeat(set_off + before[starts], lengths) - before
    set_off_each: Ints = np.clip(available, 0, amounts)
    return set_off_each


def grouped(amounts: Any, *, keys: Sequence[Hashable]) -> tuple[Ints, Ints]:
    """Return *amounts* and where each run of equal *keys* begins; rows of one group stand together."""
    starts = [at for at, key in enumerate(keys) if at == 0 or key != keys[at - 1]]
    return int_array(amounts), np.array(starts, np.int64)


def by_weight(pairs: Pairs, left: Ints) -> Ints | None:
    """
    Return what is left of each row of weighted *pairs*, given what is *left* of the pair it belongs to.

    Of one pair the heaviest is set off first; every optimum does so, or a unit could change places.

    Args:
        left: per row, what is left of its payer and payee altogether.

    Returns:
        None if more is left of a pair than was owed, or less than nothing.
    """
    if len(pairs) == 0:
        return left
    new = (np.diff(pairs.payer, prepend=-1) != 0) | (np.diff(pairs.payee, prepend=-1) != 0)
    starts = np.flatnonzero(new)
    set_off = np.add.reduceat(pairs.gross_minor, starts) - left[starts]
    if np.any(set_off < 0) or np.any(left < 0):
        return None
    return pairs.gross_minor - allocate(pairs.gross_minor, starts=starts, set_off=set_off)


def by_payer(positions: Positions) -> Ints:
    """Return how much of each participant's debit is set off in multilateral mode: all but its net debit."""
    return np.minimum(positions.debit, positions.credit)


def by_pair(pairs: Pairs, left: Ints) -> Ints:
    """Return how much of each pair is set off, given what is *left* of it."""
    return pairs.gross_minor - left
