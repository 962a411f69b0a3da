"""
What netting reads and writes: pairs in, positions and flows out. One currency at a time.

Every array is int64; amounts are minor units. Participants are integer ids; names, where there are
any, follow the order of the ids. ``Pairs.of`` brings any input into canonical order, so that equal
input in any order gives equal output to the byte.

    pairs = Pairs.of(payers, payees, gross_minor, counts)     # from one GROUP BY, or row by row
    outcome = modes.net(pairs, mode="conservative")           # positions, residual, certificate
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from netting.errors import PairsInvalid, SumOutOfRange

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

INT64: Final = np.dtype(np.int64)
INT64_MAX: Final = 2**63 - 1
WEIGHT_MAX: Final = 1_000_000  # keeps cost times nodes within the solver's range


class Mode(StrEnum):
    """How obligations are set off against each other."""

    GROSS = "gross"
    BILATERAL = "bilateral"
    MULTILATERAL = "multilateral"
    CONSERVATIVE = "conservative"


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Amounts from payer to payee, by participant id, sorted by payer and payee."""

    payers: Ints
    payees: Ints
    amounts: Ints

    def __len__(self) -> int:
        return len(self.amounts)

    @property
    def total(self) -> int:
        """The sum, exact at any size."""
        return exact_sum(self.amounts)

    @classmethod
    def none(cls) -> "Flows":
        """No flow at all."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty)


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """
    One row per participant, sorted by id: what it owes (*debit*), is owed (*credit*), and *net*.

    ``net`` = credit - debit: above zero it receives, below it pays. The nets sum to zero.
    """

    participants: Ints
    debit: Ints
    credit: Ints

    @property
    def net(self) -> Ints:
        """Credit less debit, per participant."""
        return self.credit - self.debit

    @property
    def bound(self) -> int:
        """L, the sum of the positive nets: no settlement of these positions moves less."""
        net = self.net
        return exact_sum(net[net > 0])

    @classmethod
    def of(cls, participants: Any, debit: Any, credit: Any) -> "Positions":
        """
        Take totals added up elsewhere (one GROUPING SETS pass), in any order.

        Raises:
            PairsInvalid: unequal lengths, negative totals, doubled participants, or nets that do not
                sum to zero.
            SumOutOfRange: the gross does not fit 64 bits.
        """
        ids, owes, owed = int_array(participants), int_array(debit), int_array(credit)
        if not len(ids) == len(owes) == len(owed):
            raise PairsInvalid("participants, debit and credit differ in length")
        if len(ids) and min(owes.min(), owed.min()) < 0:
            raise PairsInvalid("a total is below zero")
        order = np.argsort(ids, kind="stable")
        if np.any(ids[order][1:] == ids[order][:-1]):
            raise PairsInvalid("a participant comes twice")
        if exact_sum(owes) != exact_sum(owed):
            raise PairsInvalid("debits and credits do not balance")
        if exact_sum(owes) > INT64_MAX:
            raise SumOutOfRange("gross amounts")
        return cls(ids[order], owes[order], owed[order])


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """
    Gross amounts per (payer, payee), or per (payer, payee, weight), in canonical order.

    ``payer`` and ``payee`` are places in ``ids``; ``payers`` and ``payees`` are the ids themselves.
    Made by ``of``, never by hand.
    """

    ids: Ints
    payer: Ints
    payee: Ints
    gross_minor: Ints
    counts: Ints
    weights: Ints | None
    names: tuple[str, ...] | None
    gross: int

    def __len__(self) -> int:
        return len(self.gross_minor)

    @property
    def payers(self) -> Ints:
        """The payer's id, per pair."""
        return self.ids[self.payer]

    @property
    def payees(self) -> Ints:
        """The payee's id, per pair."""
        return self.ids[self.payee]

    @classmethod
    def of(
        cls,
        payers: Any,
        payees: Any,
        gross_minor: Any,
        counts: Any = None,
        *,
        weights: Any = None,
        names: Sequence[str] | None = None,
    ) -> "Pairs":
        """
        Check, sort and merge rows of (payer, payee, amount[, count]); any order, may be empty.

        Args:
            payers, payees: participant ids, any int64.
            gross_minor: above zero.
            counts: how many obligations a row stands for; one each when left out.
            weights: 1 to 1,000,000: how much a unit set off is worth in conservative mode. Rows of
                one pair with different weights stay apart.
            names: one per distinct id, in order of the ids; they replace the ids in digests.

        Raises:
            PairsInvalid: shapes, types, an amount or weight out of bounds, or a payer that pays itself.
            SumOutOfRange: the gross does not fit 64 bits.

        O(m) when already sorted, else O(m log m).
        """
        payer_ids, payee_ids, gross = checked(payers, payees, gross_minor)
        many = np.ones(len(gross), np.int64) if counts is None else int_array(counts)
        weight = None if weights is None else int_array(weights)
        _check_extras(len(gross), many, weight)
        ids, payer, payee = index(payer_ids, payee_ids)
        if names is not None and (len(names) != len(ids) or len(set(names)) != len(names)):
            raise PairsInvalid("names are not one per participant")
        merged = _merge(payer, payee, gross, many, weight, participants=len(ids))
        return cls(ids, *merged, None if names is None else tuple(names), int(gross.sum()))


def weighted(pairs: Pairs, amounts: Ints) -> int:
    """Return the sum of amount x weight over *pairs*, of amounts within the gross; exact at any size."""
    if pairs.weights is None:
        return int(amounts.sum())
    if int(pairs.weights.max(initial=0)) * pairs.gross <= INT64_MAX:
        return int(np.dot(amounts, pairs.weights))
    return sum(map(int.__mul__, amounts.tolist(), pairs.weights.tolist()))


def exact_sum(values: Ints) -> int:
    """Add int64 *values* even beyond 64 bits: there, high and low halves apart, neither of which can wrap."""
    if len(values) == 0 or max(abs(int(values.max())), abs(int(values.min()))) <= INT64_MAX // len(values):
        return int(values.sum())
    high = int((values >> 32).sum())
    return (high << 32) + int((values & 0xFFFFFFFF).sum())


def int_array(values: Any) -> Ints:
    """Return *values* as one-dimensional int64, refusing what would change on the way."""
    array = np.asarray(values)
    if array.dtype == INT64 and array.ndim == 1 and array.flags.c_contiguous:
        return array
    if array.ndim != 1:
        raise PairsInvalid("an array is not one-dimensional")
    if len(array) and (array.dtype.kind not in "iu" or array.dtype == np.uint64):
        raise PairsInvalid(f"an array of {array.dtype} is not of 64-bit integers")
    return np.ascontiguousarray(array, np.int64)


def index(payers: Ints, payees: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the sorted distinct ids, and each side's places in them. O(m) for ids that are small."""
    if len(payers) == 0:
        return np.empty(0, np.int64), payers, payees
    high = dense_high(payers, payees)
    if high is None:
        ids, places = np.unique(np.concatenate((payers, payees)), return_inverse=True)
        return ids, places[: len(payers)], places[len(payers) :]
    seen = np.zeros(high + 1, np.bool_)
    seen[payers] = True
    seen[payees] = True
    ids = np.flatnonzero(seen)
    if len(ids) == len(seen):
        return ids, payers, payees
    places = np.cumsum(seen) - 1
    return ids, places[payers], places[payees]


def dense_high(payers: Ints, payees: Ints) -> int | None:
    """Return the highest id of some rows if a table over all ids is no larger than they are, else None."""
    high = max(_highest(payers), _highest(payees))
    return high if high <= 4 * len(payers) + 1_024 else None


def checked(payers: Any, payees: Any, amounts: Any) -> tuple[Ints, Ints, Ints]:
    """Return the columns as int64, refusing rows that are not obligations or whose gross leaves 64 bits."""
    payer_ids, payee_ids, gross = int_array(payers), int_array(payees), int_array(amounts)
    if not len(payer_ids) == len(payee_ids) == len(gross):
        raise PairsInvalid("the arrays differ in length")
    if len(gross) == 0:
        return payer_ids, payee_ids, gross
    most = _highest(gross)
    if most > INT64_MAX or np.count_nonzero(gross) < len(gross):
        raise PairsInvalid("an amount is not above zero")
    if np.count_nonzero(payer_ids == payee_ids):
        raise PairsInvalid("a participant owes itself")
    if most > INT64_MAX // len(gross) and exact_sum(gross) > INT64_MAX:
        raise SumOutOfRange("gross amounts")
    return payer_ids, payee_ids, gross


def _highest(figures: Ints) -> int:
    """Return the highest figure read as unsigned: what is below zero is above every limit, in one pass."""
    # few rows take less time than the calls: ``reduce`` is ``max`` without its detour through Python
    return int(np.maximum.reduce(figures.view(np.uint64)))


def _check_extras(rows: int, counts: Ints, weights: Ints | None) -> None:
    """Refuse counts and weights that do not fit the rows."""
    if len(counts) != rows or (weights is not None and len(weights) != rows):
        raise PairsInvalid("the arrays differ in length")
    if rows and counts.min() <= 0:
        raise PairsInvalid("a count is not above zero")
    if exact_sum(counts) > INT64_MAX:
        raise SumOutOfRange("counts")
    if rows and weights is not None and (weights.min() < 1 or weights.max() > WEIGHT_MAX):
        raise PairsInvalid(f"a weight is not within 1 to {WEIGHT_MAX}")


def _merge(
    payer: Ints, payee: Ints, gross: Ints, counts: Ints, weights: Ints | None, *, participants: int
) -> tuple[Ints, Ints, Ints, Ints, Ints | None]:
    """Sort by payer, payee and falling weight, and add up rows that share all three."""
    key = payer * participants + payee
    if weights is None:
        if np.all(key[1:] > key[:-1]):
            return payer, payee, gross, counts, None
        order = np.argsort(key, kind="stable")
        key = key[order]
        new = np.concatenate(([True], key[1:] != key[:-1]))
    else:
        order = np.lexsort((-weights, key))
        key, weights = key[order], weights[order]
        new = np.concatenate(([True], (key[1:] != key[:-1]) | (weights[1:] != weights[:-1])))
    starts = np.flatnonzero(new) if len(key) else np.empty(0, np.int64)
    if len(starts) == 0:
        return payer, payee, gross, counts, weights
    return (
        payer[order[starts]],
        payee[order[starts]],
        np.add.reduceat(gross[order], starts),
        np.add.reduceat(counts[order], starts),
        None if weights is None else weights[starts],
    )
