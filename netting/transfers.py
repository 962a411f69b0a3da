"""
Turn net positions into transfers. The total is always L, the sum of the positive positions.

- ``agent``: one leg per non-zero position against the settlement agent.
- ``direct``: payers to receivers, no agent. The fewest transfers possible when at most 20 positions
  are not zero, otherwise at most one less than there are positions.

Source of "n less the most zero-sum groups": T. Verhoeff, *Settling multiple debts efficiently*, 2004.
"""

import heapq
from collections import defaultdict
from typing import Final

import numpy as np

from netting.fewest import zero_sum_groups
from netting.model import Flows, Positions

AGENT: Final = -1  # stands for the settlement agent among participant ids
EXACT_POSITIONS_MAX: Final = 20
TRIPLES_MAX: Final = 500  # triples are sought pair by pair


def agent(positions: Positions) -> Flows:
    """
    Return one leg per non-zero position: payers to ``AGENT``, ``AGENT`` to receivers.

    Payers' legs come first, each half sorted by participant: money is in before it goes out. The
    legs of each half total L.
    """
    net = positions.net
    pays, receives = positions.participants[net < 0], positions.participants[net > 0]
    return Flows(
        np.concatenate((pays, np.full(len(receives), AGENT))),
        np.concatenate((np.full(len(pays), AGENT), receives)),
        np.concatenate((-net[net < 0], net[net > 0])),
    )


def direct(positions: Positions) -> Flows:
    """
    Return transfers from payers to receivers, sorted by payer and payee.

    Opposite positions that cancel out are settled first, which never costs a transfer: merging the
    groups two such positions belong to leaves as many groups. If at most 20 positions remain the rest is
    split into the most zero-sum groups, and the number of transfers is provably the least. Beyond that,
    triples that cancel out are peeled off and what remains goes largest to largest: at most n - 1.

    O(2**n n) for n up to 20; O(n**2) up to 500; O(n log n) above.
    """
    net = positions.net
    open_ids, open_nets = positions.participants[net != 0].tolist(), net[net != 0].tolist()
    rest = dict(zip(open_ids, open_nets, strict=True))
    rows = _peel_pairs(rest)
    if EXACT_POSITIONS_MAX < len(rest) <= TRIPLES_MAX:
        rows += _peel_triples(rest)
    members = list(rest.items())
    if len(rest) <= EXACT_POSITIONS_MAX:
        for group in zero_sum_groups([net for _, net in members]):
            rows += _largest_first([members[place] for place in group])
    else:
        rows += _largest_first(members)
    rows.sort()
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return Flows(*(np.ascontiguousarray(columns[:, place]) for place in range(3)))


def _largest_first(members: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Pair the largest payer with the largest receiver until all are zero: len - 1 transfers at most."""
    pays = [(net, who) for who, net in members if net < 0]
    receives = [(-net, who) for who, net in members if net > 0]
    heapq.heapify(pays)
    heapq.heapify(receives)
    rows = []
    while pays:
        owes, payer = heapq.heappop(pays)
        owed, payee = heapq.heappop(receives)
        amount = min(-owes, -owed)
        rows.append((payer, payee, amount))
        if -owes > amount:
            heapq.heappush(pays, (owes + amount, payer))
        if -owed > amount:
            heapq.heappush(receives, (owed + amount, payee))
    return rows


def _peel_pairs(rest: dict[int, int]) -> list[tuple[int, int, int]]:
    """Settle each payer with a receiver of the same amount: one transfer closes two positions."""
    receivers: defaultdict[int, list[int]] = defaultdict(list)
    for who, net in sorted(rest.items(), reverse=True):
        if net > 0:
            receivers[net].append(who)
    rows = []
    for who, net in sorted(rest.items()):
        if net < 0 and receivers[-net]:
            payee = receivers[-net].pop()
            rows.append((who, payee, -net))
            del rest[who], rest[payee]
    return rows


def _peel_triples(rest: dict[int, int]) -> list[tuple[int, int, int]]:
    """Settle two positions against a third that equals their sum: two transfers close three positions."""
    holders: defaultdict[int, set[int]] = defaultdict(set)
    for who, net in rest.items():
        holders[net].add(who)
    order = sorted(rest)
    rows = []
    for place, first in enumerate(order):
        for second in order[place + 1 :]:
            if first not in rest:
                break
            wanted = -rest[first] - rest.get(second, -rest[first])
            if wanted and rest[second] * wanted < 0 and rest[first] * wanted < 0 and holders.get(wanted):
                trio = [(who, rest.pop(who)) for who in (first, second, min(holders[wanted]))]
                for who, net in trio:
                    holders[net].remove(who)
                rows += _largest_first(trio)
    return rows
