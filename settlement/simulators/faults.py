"""What a simulator does wrong, and to whom: drawn from a seed and the order itself, so it can be repeated."""

import random
from collections.abc import Callable, Mapping

from clearing_project.errors import Invalid

Choose = Callable[[str], str]


class FaultsInvalid(Invalid):
    """The faults cannot be read."""

    code = "faults_invalid"
    fields = ("faults", "known")
    message = "{faults!r} is no list of MODE=SHARE with shares that add up to at most 1; modes are {known}."


def parse(text: str, *, known: tuple[str, ...]) -> dict[str, float]:
    """
    Read ``MODE=SHARE,MODE=SHARE``; the shares of all orders, such as ``late=0.25``.

    Raises:
        FaultsInvalid
    """
    shares: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        mode, _, share = part.strip().partition("=")
        try:
            shares[mode] = float(share)
        except ValueError:
            raise FaultsInvalid(text, ", ".join(known)) from None
    if not set(shares) <= set(known) or sum(shares.values()) > 1 or any(each < 0 for each in shares.values()):
        raise FaultsInvalid(text, ", ".join(known))
    return shares


def seeded(seed: int, shares: Mapping[str, float]) -> Choose:
    """Choose a mode for an order, by what the order says: the same whenever it comes; empty: no fault."""

    def choose(order: str) -> str:
        drawn = random.Random(f"{seed}/{order}").random()  # noqa: S311 - a simulation # nosec B311
        for mode, share in shares.items():
            drawn -= share
            if drawn < 0:
                return mode
        return ""

    return choose
