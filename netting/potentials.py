"""
Dual prices of a maximum circulation: the proof that no circulation sets off more.

Give each participant a potential p. Whatever the potentials, no circulation can be worth more than
the sum of amount x max(0, weight - (p(payee) - p(payer))): around a circle the differences of p cancel.
Potentials for which that sum equals what was set off prove it the most there is.
"""

import numpy as np

from netting.model import Ints, Mask, Pairs


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
    weights = np.ones(len(pairs), np.int64) if pairs.weights is None else pairs.weights
    labels = longest_paths(
        pairs.payer,
        pairs.payee,
        weights=weights,
        left=inner & (set_off < pairs.gross_minor),
        used=inner & (set_off > 0),
        participants=len(pairs.ids),
    )
    if inner.all():
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

    O(n m) at worst, a few dozen passes in practice. The flow must be optimal, or no labels exist.
    """
    forward = _Arcs(tails[left], heads[left], weights[left], participants)
    backward = _Arcs(heads[used], tails[used], -weights[used], participants)
    labels = np.zeros(participants, np.int64)
    changed = np.arange(participants)
    for _ in range(participants + 1):
        heads_up, raised_up = forward.relax(changed, labels)
        heads_down, raised_down = backward.relax(changed, labels)
        reached = np.concatenate((heads_up, heads_down))
        if len(reached) == 0:
            return labels
        np.maximum.at(labels, reached, np.concatenate((raised_up, raised_down)))
        changed = np.unique(reached)
    raise AssertionError("the flow is not optimal: a circle of gain is left")


class _Arcs:
    """Arcs held sorted by their start, so that those of a few participants are found without a scan."""

    def __init__(self, tails: Ints, heads: Ints, gains: Ints, participants: int) -> None:
        if np.any(tails[1:] < tails[:-1]):
            order = _by_place(tails, participants)
            tails, heads, gains = tails[order], heads[order], gains[order]
        self.heads, self.gains, self.tails = heads, gains, tails
        self.starts = np.searchsorted(tails, np.arange(participants + 1))

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
