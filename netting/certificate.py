"""
The independent checker: is a netting result correct and the best there is? Proven, not believed.

It shares no code with what it checks and solves nothing: it only adds up. Alone, over files:

    python -m netting.certificate OBLIGATIONS.csv RESULT.json     # exit 0 proven, 1 refused

The bound is one no result can go below, whatever the potentials p: in conservative mode the weighted
gross less the sum of amount x max(0, weight - (p(payee) - p(payer))); in multilateral mode the sum of
the nets with p = 1; in bilateral mode the differences of pairs; in gross mode the gross.
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from netting.money import EXPONENTS

PRICED = ("conservative", "multilateral")  # modes whose proof needs potentials


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What comes with every result: ``primal`` moves, ``dual`` is the bound; equal means optimal."""

    mode: str
    solver: str
    version: str
    input_digest: str
    result_digest: str
    primal: int
    dual: int
    potentials: Any  # int64 per participant, or none where the mode needs none


def verify(claim: Certificate, names: Sequence[str], pairs: Sequence[Any], left: Any, net: Any) -> list[str]:
    """
    Return what is wrong with *claim*; nothing means it is proven.

    Args:
        names: of the participants, in order.
        pairs: columns payer and payee (places in *names*), amount and, if weighted, weight; int64 all.
        left: what is still owed per pair; zero in multilateral mode. net: per participant.
    """
    payer, payee, amounts = pairs[:3]
    weights = pairs[3] if len(pairs) > 3 and claim.mode == "conservative" else np.ones(1, np.int64)
    sizes = len({len(left), *map(len, pairs)}) == 1 and len(net) == len(names)
    if not sizes or len(claim.potentials) != len(names) * (claim.mode in PRICED):
        return ["the parts of the result differ in length"]
    if _sha("netting input", names, pairs) != claim.input_digest:
        return ["the input is not the one that was certified"]
    if _sha(f"netting result {claim.mode}", names, (net, left)) != claim.result_digest:
        return ["the result is not the one that was certified"]
    if np.any(left < 0) or np.any(left > amounts):
        return ["an obligation grew or flipped"]
    if _sum(amounts) >= 2**63 or np.any(claim.potentials > 2**61) or np.any(claim.potentials < -(2**61)):
        return ["the figures leave the range that can be checked"]
    faults = []
    moves_nets = claim.mode == "multilateral" and not np.any(left)
    for flows in (amounts,) if moves_nets else (amounts, left):
        moved = np.zeros(len(names), np.int64)
        np.add.at(moved, payee, flows)
        np.subtract.at(moved, payer, flows)
        if np.any(moved != net):
            faults.append("net positions are not those of the obligations")
    primal = _sum(np.maximum(net, 0)) if moves_nets else _sum(left, weights)
    dual = _bound(claim, pairs, weights, net)
    if (primal, dual) != (claim.primal, claim.dual):
        faults.append(f"{primal} moves and {dual} is the bound, not {claim.primal} and {claim.dual}")
    if primal != dual:
        faults.append(f"{primal} moves where {dual} may do: not proven optimal")
    return faults


def _bound(claim: Certificate, pairs: Sequence[Any], weights: Any, net: Any) -> int:
    payer, payee, amounts = pairs[:3]
    if claim.mode == "conservative":
        gain = np.maximum(0, weights - (claim.potentials[payee] - claim.potentials[payer]))
        return _sum(amounts, weights) - _sum(amounts, gain)
    if claim.mode == "multilateral":
        return _sum(net[claim.potentials == 1])
    if claim.mode == "bilateral":
        ends = np.minimum(payer, payee) * (1 << 31) + np.maximum(payer, payee)
        _, row = np.unique(ends, return_inverse=True)
        owed = np.zeros(len(row), np.int64)
        np.add.at(owed, row, np.where(payer < payee, amounts, -amounts))
        return _sum(np.abs(owed))
    return _sum(amounts)


def _sum(amounts: Any, factors: Any = None) -> int:
    """Add up, exactly: where 64 bits might not do, with Python's integers."""
    factors = np.ones(1, np.int64) if factors is None else factors
    largest = np.abs(amounts).max(initial=0).item() * np.abs(factors).max(initial=0).item()
    if largest * len(amounts) < 2**63:
        return int((amounts * factors).sum())
    return sum(map(int.__mul__, amounts.tolist(), np.broadcast_to(factors, amounts.shape).tolist()))


def _sha(title: str, names: Sequence[str], columns: Sequence[Any]) -> str:
    text = "\n".join((title, *names, "", ""))
    return hashlib.sha256(text.encode() + b"".join(c.astype("<i8").tobytes() for c in columns)).hexdigest()


def check_part(part: dict[str, Any], rows: list[dict[str, str]]) -> list[str]:
    """Check one currency of what ``python -m netting`` printed against the rows of its input."""
    places = EXPONENTS[part["currency"]]
    owed, paid = Counter[tuple[str, str]](), Counter[str]()
    for row in rows:
        owed[row["payer"], row["payee"]] += int(Decimal(row["amount"]).scaleb(places))
    pairs, names = sorted(owed), sorted({name for pair in owed for name in pair})
    left = {(r["payer"], r["payee"]): int(Decimal(r["amount"]).scaleb(places)) for r in part["residual"]}
    nets = {r["participant"]: int(Decimal(r["net"]).scaleb(places)) for r in part["positions"]}
    for leg in part["transfers"]:
        paid[leg["payee"]] += int(Decimal(leg["amount"]).scaleb(places))
        paid[leg["payer"]] -= int(Decimal(leg["amount"]).scaleb(places))
    claim = dict(part["certificate"])
    strangers = [left.keys() - owed.keys(), nets.keys() - set(names), paid.keys() - {*names, "AGENT"}]
    if any(strangers) or any(paid[name] != nets.get(name, 0) for name in names):
        return ["the transfers, positions or residual are not of these obligations"]
    for key in ("primal", "dual"):
        claim[key] = int(Decimal(claim[key]).scaleb(places))
    claim["potentials"] = np.array([claim["potentials"][n] for n in names if claim["potentials"]], np.int64)
    place = {name: number for number, name in enumerate(names)}
    columns = [[place[pair[side]] for pair in pairs] for side in (0, 1)]
    columns += [[owed[pair] for pair in pairs], [left.get(pair, 0) for pair in pairs]]
    arrays = [*columns, [nets.get(name, 0) for name in names]]
    *table, rest, net = (np.array(column, np.int64) for column in arrays)
    del claim["optimal"]
    return verify(Certificate(**claim), names, table, rest, net)


if __name__ == "__main__":
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as csv_file, open(sys.argv[2]) as json_file:
        obligations, parts = list(csv.DictReader(csv_file)), json.load(json_file)
    ok = {row["currency"] for row in obligations} == {part["currency"] for part in parts}
    for part in parts:
        wrong = check_part(part, [row for row in obligations if row["currency"] == part["currency"]])
        ok = ok and not wrong
        sys.stdout.write(f"{part['currency']}: {'; '.join(wrong) or 'proven'}\n")
    sys.exit(0 if ok else 1)
