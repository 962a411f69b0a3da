"""Obligations waiting for money, and the money there is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from netting.errors import PairsInvalid, SumOutOfRange
from netting.model import INT64_MAX, Ints, Mask, checked, exact_sum, int_array


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """
    Obligations of one currency in order of submission, and what each participant may spend.

    ``payer`` and ``payee`` are places in ``available``, which is balance plus cap, never below zero.
    """

    payer: Ints
    payee: Ints
    amounts: Ints
    available: Ints

    @classmethod
    def of(cls, payer: Any, payee: Any, amounts: Any, *, balances: Any, caps: Any = None) -> "Queue":
        """
        Check the columns.

        Args:
            balances: what each participant has, by place.
            caps: how far below zero each may end; nobody may when left out.

        Raises:
            PairsInvalid: shapes, types, a place that is not there, an obligation to oneself, or a
                participant below its cap from the start.
            SumOutOfRange: gross and balances together do not fit 64 bits.
        """
        payers, payees, gross = checked(payer, payee, amounts)
        available = int_array(balances)
        if caps is not None:
            allowed = int_array(caps)
            if len(allowed) != len(available) or np.any(allowed < 0):
                raise PairsInvalid("caps are not one per participant, zero or above")
            available = available + allowed
        places = np.concatenate((payers, payees))
        if len(places) and (places.min() < 0 or places.max() >= len(available)):
            raise PairsInvalid("a participant has no balance")
        if np.any(available < 0):
            raise PairsInvalid("a participant is below its cap")
        if 2 * int(gross.sum()) + exact_sum(available) > INT64_MAX:
            raise SumOutOfRange("gross amounts and balances")
        return cls(payers, payees, gross, available)

    def __len__(self) -> int:
        return len(self.amounts)

    def closing(self, settled: Mask) -> Ints:
        """Return what each participant may still spend once *settled* have moved."""
        closing = self.available.copy()
        np.subtract.at(closing, self.payer[settled], self.amounts[settled])
        np.add.at(closing, self.payee[settled], self.amounts[settled])
        return closing
