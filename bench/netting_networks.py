"""Networks of obligations as they occur, drawn from a fixed seed: who owes whom, and how much."""

from collections.abc import Callable
from typing import Final

import numpy as np

from netting.model import Ints

Network = tuple[Ints, Ints, Ints]  # payers, payees, amounts


def core_periphery(size: int, *, seed: int = 1) -> Network:
    """Banks: a tenth of them, the core, are an end of most obligations; the others mostly owe the core."""
    chance, people = np.random.default_rng(seed), _people(size)
    core = max(people // 10, 2)
    kind = chance.random(size)
    payers, payees = chance.integers(0, people, size), chance.integers(0, people, size)
    from_core, to_core = kind < 0.8, (kind < 0.6) | (kind > 0.85)
    payers[from_core] = chance.integers(0, core, int(from_core.sum()))
    payees[to_core] = chance.integers(0, core, int(to_core.sum()))
    return _finished(payers, payees, people, chance)


def scale_free(size: int, *, seed: int = 2) -> Network:
    """Payment systems: a participant's obligations follow a power law, as payer and as payee apart."""
    chance, people = np.random.default_rng(seed), _people(size)
    share = 1 / np.arange(1, people + 1) ** 0.9
    share /= share.sum()
    payers = chance.choice(people, size, p=share)
    payees = chance.permutation(people)[chance.choice(people, size, p=share)]
    return _finished(payers, payees, people, chance)


def reciprocal(size: int, *, seed: int = 3) -> Network:
    """Derivatives and foreign exchange: most pairs trade both ways."""
    chance, people = np.random.default_rng(seed), _people(size)
    half = size // 2
    payers, payees = chance.integers(0, people, half), chance.integers(0, people, half)
    back = chance.random(half) < 0.8
    others = chance.integers(0, people, size - half), chance.integers(0, people, size - half)
    again = np.resize(back, size - half)
    return _finished(
        np.concatenate((payers, np.where(again, np.resize(payees, size - half), others[0]))),
        np.concatenate((payees, np.where(again, np.resize(payers, size - half), others[1]))),
        people,
        chance,
    )


def trade_credit(size: int, *, seed: int = 4) -> Network:
    """Firms: each owes its suppliers, chains are long, and one obligation in eight runs back up."""
    chance, people = np.random.default_rng(seed), max(size // 8, 20)
    layers = 8
    place = chance.integers(0, people, size)
    reach = np.where(chance.random(size) < 0.125, -1, 1) * (people // layers)
    payees = (place + reach + chance.integers(0, people // layers, size)) % people
    downhill = payees > place
    keep = downhill | (chance.random(size) < 0.125)
    payers, payees = np.where(keep, place, payees), np.where(keep, payees, place)
    return _finished(payers, payees, people, chance)


KINDS: Final[dict[str, Callable[[int], Network]]] = {
    "core-periphery": core_periphery,
    "scale-free": scale_free,
    "reciprocal": reciprocal,
    "trade credit": trade_credit,
}


def _people(size: int) -> int:
    """Return how many participants share *size* obligations: 200 for 10,000, 2,000 for a million."""
    return max(int(2 * size**0.5), 10)


def _finished(payers: Ints, payees: Ints, people: int, chance: np.random.Generator) -> Network:
    """Turn self-loops into obligations to the next participant, and draw lognormal amounts."""
    payees = np.where(payers == payees, (payees + 1) % people, payees)
    amounts = np.exp(chance.normal(11, 1.6, len(payers))).astype(np.int64) + 1
    return payers, payees, amounts
