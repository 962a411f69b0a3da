"""
Multilateral netting: one net position per participant.

Moves L = sum of the positive net positions, the least any settlement of them can move. Every payer
pays and every receiver receives exactly its net, so counterparties change and an agent stands between.
"""

from typing import Any

import numpy as np

from netting.model import Ints, Pairs, Positions, checked, dense_high, index


def net(pairs: Pairs) -> Positions:
    """Return the net position of every participant of *pairs*, sorted by id. O(m), exact."""
    return Positions(pairs.ids, *totals(pairs.payer, pairs.payee, pairs.gross_minor, len(pairs.ids)))


def positions(payers: Any, payees: Any, amounts: Any) -> Positions:
    """
    Return net positions straight from rows, neither sorted nor merged: a few passes over memory.

    Raises:
        PairsInvalid, SumOutOfRange: as ``Pairs.of``.
    """
    payer_ids, payee_ids, gross = checked(payers, payees, amounts)
    high = dense_high(payer_ids, payee_ids) if len(gross) else None
    if high is not None:  # ids serve as places; whoever owes or is owed nothing is not there
        debit, credit = totals(payer_ids, payee_ids, gross, high + 1)
        (ids,) = (debit | credit).nonzero()
        gapless = slice(ids[0], None)
        rows = gapless if high - ids[0] < len(ids) else ids
        return Positions(ids, debit[rows], credit[rows])
    ids, payer, payee = index(payer_ids, payee_ids)
    return Positions(ids, *totals(payer, payee, gross, len(ids)))


def totals(payer: Ints, payee: Ints, amounts: Ints, participants: int) -> tuple[Ints, Ints]:
    """
    Add *amounts* by payer and by payee; both are places from 0 to *participants* - 1.

    ``np.add.at`` stays in int64. ``np.bincount(weights=)`` would be shorter and wrong: it adds doubles,
    which drop a cent from 2**53 on. Nothing wraps while the gross fits 64 bits, which ``Pairs`` holds.
    """
    debit, credit = np.zeros((2, participants), np.int64)
    np.add.at(debit, payer, amounts)
    np.add.at(credit, payee, amounts)
    return debit, credit
