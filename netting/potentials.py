"""
Dual prices of a maximum circulation: the proof that no circulation sets off more.

Give each participant a potential p. Whatever the potentials, no circulation can be worth more than
the sum of amount x max(0, weight - (p(payee) - p(payer))): around a circle the differences of p cancel.
Potentials for which that sum equals what was set off prove it the most there is.
"""

import numpy as np

from netting.model import Ints, Pairs


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
    labels = _longest_paths(pairs, set_off, inner)
    if inner.all():
        return labels
    weight_max = 1 if pairs.weights is None else int(pairs.weights.max())
    step = int(labels.max()) + weight_max
    across = components[pairs.payee[~inner]] - components[pairs.payer[~inner]]
    rank = components if across.min() > 0 else components.max() - components
    assert np.all(across > 0) or np.all(across < 0), "components are not in topological order"
    return labels + rank * step


def _longest_paths(pairs: Pairs, set_off: Ints, inner: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
    """Raise labels from zero until no inner pair is violated; only what changed is looked at again."""
    participants = len(pairs.ids)
    weights = np.ones(len(pairs), np.int64) if pairs.weights is None else pairs.weights
    left = inner & (set_off < pairs.gross_minor)
    used = inner & (set_off > 0)
    forward = _Arcs(pairs.payer[left], pairs.payee[left], weights[left], participants)
    order = _by_place(pairs.payee[used], participants)
    backward = _Arcs(pairs.payee[used][order], pairs.payer[used][order], -weights[used][order], participants)
    labels = np.zeros(participants, np.int64)
    changed = np.arange(participants)
    for _ in range(participants + 1):
        heads, raised = (
            np.concatenate(both)
            for both in zip(forward.relax(changed, labels), backward.relax(changed, labels), strict=True)
        )
        if len(heads) == 0:
            return labels
        np.maximum.at(labels, heads, raised)
        changed = np.unique(heads)
    raise AssertionError("the circulation is not the greatest: a circle of gain is left")


class _Arcs:
    """Arcs sorted by their start, so that those of a few participants are found without a scan."""

    def __init__(self, tails: Ints, heads: Ints, gains: Ints, participants: int) -> None:
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
