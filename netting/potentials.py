"""
Dual prices of a maximum circulation: the proof that no circulation sets off more.

Give each participant a potential p. Whatever the potentials, no circulation can be worth more than
the sum of amount x max(0, weight - (p(payee) - p(payer))): around a circle the differences of p cancel.
Potentials for which that sum equals what was set off prove it the most there is.
"""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from netting.model import INT64_MAX, Ints, Mask, Pairs

SWEEPS_MAX: Final = 16
PASSES_MAX: Final = 200


def of_circulation(pairs: Pairs, set_off: Ints, components: Ints) -> Ints:
    """
    Return potentials, one per participant, that prove *set_off* a maximum circulation.

    They obey: p(payee) - p(payer) >= weight where something is left, <= weight where something was set
    off. They exist exactly when nothing more can be set off, and are longest paths over the rest: solved
    inside each strongly connected component by label correcting, then spread apart between components.

    Args:
        components: per participant, numbered so that obligations between two lead from the higher to
            the lower (or, throughout, the other way).
    """
    left, used = set_off < pairs.gross_minor, set_off > 0
    weights = 1 if pairs.weights is None else pairs.weights
    whole = int(components.max(initial=0)) == 0
    inner = None if whole else components[pairs.payer] == components[pairs.payee]
    labels = longest_paths(
        pairs.payer,
        pairs.payee,
        weights=weights,
        left=left if inner is None else inner & left,
        used=used,
        participants=len(pairs.ids),
    )
    if inner is None or inner.all():
        return labels
    step = int(labels.max()) + int(np.max(weights))
    across = components[pairs.payee[~inner]] - components[pairs.payer[~inner]]
    rank = components if across.min() > 0 else components.max() - components
    assert np.all(across > 0) or np.all(across < 0), "components are not in topological order"
    return labels + rank * step


def bound(pairs: Pairs, prices: Ints) -> int:
    """
    Return what these potentials prove to be left at least, by weight; exact at any size.

    It is the sum of amount x min(weight, p(payee) - p(payer)), whatever circulation was found.
    """
    if len(pairs) == 0:
        return 0
    worth = prices.take(pairs.payee)
    worth -= prices.take(pairs.payer)
    np.minimum(worth, 1 if pairs.weights is None else pairs.weights, out=worth)
    heaviest = 1 if pairs.weights is None else int(np.maximum.reduce(pairs.weights))
    spread = int(np.maximum.reduce(prices) - np.minimum.reduce(prices))
    if max(spread, heaviest) * pairs.gross <= INT64_MAX:
        return int(np.dot(pairs.gross_minor, worth))
    return sum(map(int.__mul__, pairs.gross_minor.tolist(), worth.tolist()))


def longest_paths(
    tails: Ints, heads: Ints, *, weights: Ints | int, left: Mask, used: Mask, participants: int
) -> Ints:
    """
    Raise labels from zero until no arc is violated: the least labels there are, in whatever order they rise.

    Args:
        weights: per arc, or one for all.
        left: arcs with room for more flow: the head's label must reach the tail's plus the weight.
        used: arcs with flow: the tail's label must reach the head's less the weight.

    A few sweeps over all arcs do on most networks; in the first nothing is high enough to be carried back.
    Then only what changed is looked at again; and if paths are very long, arc by arc, sources first, where a
    path of any length takes one pass. The flow must be optimal, or no labels exist. O(n m) at worst.
    """
    labels = np.zeros(participants, np.int64)
    forward, backward = np.flatnonzero(left), np.flatnonzero(used)
    ups = _Arcs(tails[forward], heads[forward], _of(weights, forward), participants)
    downs = _Arcs(heads[backward], tails[backward], _of(weights, backward, sign=-1), participants)
    ups.sweep(labels)
    for _ in range(SWEEPS_MAX):
        before = labels.copy()
        ups.sweep(labels)
        downs.sweep(labels)
        if not (labels != before).any():
            return labels
    changed = np.arange(participants)
    for _ in range(PASSES_MAX):
        heads_up, raised_up = ups.relax(changed, labels)
        heads_down, raised_down = downs.relax(changed, labels)
        reached = np.concatenate((heads_up, heads_down))
        if len(reached) == 0:
            return labels
        before = labels.copy()
        np.maximum.at(labels, reached, np.concatenate((raised_up, raised_down)))
        changed = np.flatnonzero(labels != before)
    return _one_by_one(ups, downs, participants)


def _one_by_one(forward: "_Arcs", backward: "_Arcs", participants: int) -> Ints:
    """
    Raise labels along the left arcs, sources first, and then wherever an arc still asks for it.

    Left arcs of positive weight form no circle; those that do, of weight zero, are left to the second part.
    """
    ups, downs = forward.lists(), backward.lists()
    labels = [0] * participants
    waits = np.bincount(forward.ends, minlength=participants).tolist()
    order = [who for who, count in enumerate(waits) if count == 0]
    for who in order:
        for head, gain in ups[who]:
            labels[head] = max(labels[head], labels[who] + gain)
            waits[head] -= 1
            if waits[head] == 0:
                order.append(head)
    queue = deque([*order, *(who for who, count in enumerate(waits) if count > 0)])
    queued = [True] * participants
    turns = 0
    while queue:
        turns += 1
        assert turns <= participants * (participants + 1), "the flow is not optimal: a circle of gain is left"
        who = queue.popleft()
        queued[who] = False
        for head, gain in (*ups[who], *downs[who]):
            if labels[who] + gain > labels[head]:
                labels[head] = labels[who] + gain
                if not queued[head]:
                    queue.append(head)
                    queued[head] = True
    return np.array(labels, np.int64)


@dataclass(eq=False)
class _Arcs:
    """Arcs from start to end, and what each adds to its start's label."""

    starts: Ints
    ends: Ints
    gains: Ints | int
    participants: int

    @cached_property
    def by_start(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Starts, ends and gains sorted by start, and where the arcs of each participant begin."""
        starts, ends = self.starts, self.ends
        gains = np.broadcast_to(np.asarray(self.gains, np.int64), starts.shape)
        if np.any(starts[1:] < starts[:-1]):
            order = _by_place(starts, self.participants)
            starts, ends, gains = starts[order], ends[order], gains[order]
        return starts, ends, gains, np.searchsorted(starts, np.arange(self.participants + 1))

    def sweep(self, labels: Ints) -> None:
        """Raise the labels of all ends by all arcs at once."""
        asked = labels.take(self.starts)
        asked += self.gains
        np.maximum.at(labels, self.ends, asked)

    def lists(self) -> list[list[tuple[int, int]]]:
        """Return (end, gain) of each participant's arcs."""
        _, ends, gains, begin = self.by_start
        arcs = list(zip(ends.tolist(), gains.tolist(), strict=True))
        return [arcs[first:last] for first, last in pairwise(begin.tolist())]

    def relax(self, changed: Ints, labels: Ints) -> tuple[Ints, Ints]:
        """Return ends that arcs out of *changed* would raise, and to what."""
        starts, ends, gains, begin = self.by_start
        if len(changed) * 4 < len(labels):
            lengths = begin[changed + 1] - begin[changed]
            stops = np.cumsum(lengths)
            arcs = np.arange(stops[-1]) + np.repeat(begin[changed] - stops + lengths, lengths)
            starts, ends, gains = starts[arcs], ends[arcs], gains[arcs]
        raised = labels[starts] + gains
        better = raised > labels[ends]
        return ends[better], raised[better]


def _of(weights: Ints | int, rows: Ints, *, sign: int = 1) -> Ints | int:
    """Return the weights of some rows; one for all stays one for all."""
    return sign * weights if isinstance(weights, int) else sign * weights[rows]


def _by_place(places: Ints, participants: int) -> Ints:
    """Return the stable order of *places*; 16-bit keys are sorted by radix, ten times faster."""
    narrow = places.astype(np.uint16) if participants <= 2**16 else places
    return np.argsort(narrow, kind="stable")
