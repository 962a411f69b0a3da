"""
Split positions into the most groups that each sum to zero.

A group of k positions needs k - 1 transfers, and no fewer unless it splits further; so n positions in g
groups need n - g. The most groups are found by a dynamic programme over subsets: exact, exponential.
"""

from itertools import pairwise

import numpy as np

from netting.model import Ints, Mask


def zero_sum_groups(nets: list[int]) -> list[list[int]]:
    """
    Return the places of *nets* in the largest number of zero-sum groups.

    *nets* sum to zero, none is zero, and the positive ones sum to less than 2**63. Of several best
    splits always the same is taken. 2**(n-1) states: 60 ms and 10 MB for n = 20.

    The last position may stand last in the last group of any split, so the programme runs over the
    others only: best(S) = the most zero-sum prefixes on any way of adding the members of S one by one
    = max over i in S of best(S - i), plus one if S sums to zero.
    """
    if not nets:
        return []
    assert sum(nets) == 0
    free = len(nets) - 1
    sums = np.zeros(1, np.int64)  # of every subset, by its bit mask; no subset leaves 64 bits
    for net in nets[:free]:
        sums = np.concatenate((sums, sums + net))
    closes = sums == 0
    if np.count_nonzero(closes) == 1:  # none but the empty set
        return [list(range(len(nets)))]
    return _read_back(_most_prefixes(closes, free), closes, free)


def _most_prefixes(closes: Mask, free: int) -> Ints:
    """Fill best(S) for every mask S, subsets of equal size together."""
    masks = np.arange(1 << free, dtype=np.int32)
    sizes = np.bitwise_count(masks)
    by_size = np.argsort(sizes, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(sizes, minlength=free + 1)).tolist()
    best = np.zeros(1 << free, np.int8)
    for start, end in pairwise(ends):
        layer = by_size[start:end]
        most = np.zeros(len(layer), np.int8)
        for bit in range(free):
            np.maximum(most, best[layer & ~np.int32(1 << bit)], out=most)
        best[layer] = most + closes[layer]
    return best.astype(np.int64)


def _read_back(best: Ints, closes: Mask, free: int) -> list[list[int]]:
    """Walk from the full set to the empty one, closing a group at every zero-sum mask passed."""
    groups, group, mask = [], [free], (1 << free) - 1
    while mask:
        if closes[mask]:
            groups.append(sorted(group))
            group = []
        before = int(best[mask]) - int(closes[mask])
        bit = next(bit for bit in range(free) if mask >> bit & 1 and best[mask & ~(1 << bit)] == before)
        group.append(bit)
        mask &= ~(1 << bit)
    groups.append(sorted(group))
    return groups
