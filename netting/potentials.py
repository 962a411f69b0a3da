"""
Dual prices of a maximum circulation: the proof that no circulation sets off more.

Give each participant a potential p. Whatever the potentials, no circulation can be worth more than
the sum of amount x max(0, weight - (p(payee) - p(payer))): around a circle the differences of p cancel.
Potentials for which that sum equals what was set off prove it the most there is.
"""

from collections import deque
from itertools import pairwise
from typing import Final

import numpy as np

from netting.model import Ints, Mask, Pairs

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
    inner = components[pairs.payer] == components[pairs.payee]
    whole = bool(inner.all())
    left, used = set_off < pairs.gross_minor, set_off > 0
    weights = np.ones(len(pairs), np.int64) if pairs.weights is None else pairs.weights
    labels = longest_paths(
        pairs.payer,
        pairs.payee,
        weights=weights,
        left=left if whole else inner & left,
        used=used,
        participants=len(pairs.ids),
    )
    if whole:
        return labels
    step = int(labels.max()) + int(weights.max())
    across = components[pairs.payee[~inner]] - components[pairs.payer[~inner]]
    rank = components if across.min() > 0 else components.max() - components
    assert np.all(across > 0) or np.all(across < 0), "components are not in topological order"
    return labels + rank * step


def longest_paths(
    tails: Ints, heads: Ints, *, weights: Ints, left: Mask, used: Mask, participants: int
) -> Ints:
    """
    Raise labels from zero until no arc is violated; only what changed is looked at again.

    Args:
        left: arcs with room for more flow: the head's label must reach the tail's plus the weight.
        used: arcs with flow: the tail's label must reach the head's less the weight.

    A few dozen passes over arrays do, unless paths are very long: then arc by arc, sources first, where a
    path of any length takes one pass. The flow must be optimal, or no labels exist. O(n m) at worst.
    """
    forward = _Arcs(tails[left], heads[left], weights[left], participants)
    backward = _Arcs(heads[used], tails[used], -weights[used], participants)
    labels = np.zeros(participants, np.int64)
    changed = np.arange(participants)
    for _ in range(PASSES_MAX):
        heads_up, raised_up = forward.relax(changed, labels)
        heads_down, raised_down = backward.relax(changed, labels)
        reached = np.concatenate((heads_up, heads_down))
        if len(reached) == 0:
            return labels
        before = labels.copy()
        np.maximum.at(labels, reached, np.concatenate((raised_up, raised_down)))
        changed = np.flatnonzero(labels != before)
    return _one_by_one(forward, backward, participants)


def _one_by_one(forward: "_Arcs", backward: "_Arcs", participants: int) -> Ints:
    """
    Raise labels along the left arcs, sources first, and then wherever an arc still asks for it.

    Left arcs of positive weight form no circle; those that do, of weight zero, are left to the second part.
    """
    ups, downs = forward.by_tail(), backward.by_tail()
    labels = [0] * participants
    waits = np.bincount(forward.heads, minlength=participants).tolist()
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


class _Arcs:
    """Arcs held sorted by their start, so that those of a few participants are found without a scan."""

    def __init__(self, tails: Ints, heads: Ints, gains: Ints, participants: int) -> None:
        if np.any(tails[1:] < tails[:-1]):
            order = _by_place(tails, participants)
            tails, heads, gains = tails[order], heads[order], gains[order]
        self.heads, self.gains, self.tails = heads, gains, tails
        self.starts = np.searchsorted(tails, np.arange(participants + 1))

    def by_tail(self) -> list[list[tuple[int, int]]]:
        """Return (head, gain) of each participant's arcs."""
        arcs = list(zip(self.heads.tolist(), self.gains.tolist(), strict=True))
        starts = self.starts.tolist()
        return [arcs[start:end] for start, end in pairwise(starts)]

    def relax(self, changed: Ints, labels: Ints) -> tuple[Ints, Ints]:
        """Return heads that arcs out of *changed* would raise, and to what."""
        if len(changed) * 4 >= len(labels):
            tails, heads, gains = self.tails, self.heads, self.gains
        else:
            lengths = self.starts[changed + 1] - self.starts[changed]
            ends = np.cumsum(lengths)
            arcs = np.arange(ends[-1]) + np.repeat(self.starts[changed] - ends + lengths, lengths)
            tails, heads, gains = self.tails[arcs], self.heads[arcs], self.gains[arcs]
        raised = labels[tails] + gains
        better = raised > labels[heads]
        return heads[better], raised[better]


def _by_place(places: Ints, participants: int) -> Ints:
    """Return the stable order of *places*; 16-bit keys are sorted by radix, ten times faster."""
    narrow = places.astype(np.uint16) if participants <= 2**16 else places
    return np.argsort(narrow, kind="stable")
