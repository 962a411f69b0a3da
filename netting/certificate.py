"""
The independent checker: is a netting result correct and the best there is? Proven, not believed.

It shares no code with what it checks and solves nothing: it only adds up. Over files, exit 0 if proven,
else 1: ``python -m netting.certificate OBLIGATIONS.csv RESULT.json``.

The bound, below which no result goes whatever the potentials p: conservative, the sum of amount x min(weight,
p(payee) - p(payer)); multilateral, of nets with p = 1; bilateral, of the pairs' differences; gross, of all.
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from netting.money import EXPONENTS

ONE = np.ones(1, np.int64)  # a weight for all


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
    payer, payee, amounts, *more = pairs
    weights = more[0] if more and claim.mode == "conservative" else ONE
    prices = len(names) if claim.mode in ("conservative", "multilateral") else 0
    if len({len(left), *map(len, pairs)}) > 1 or (len(net), len(claim.potentials)) != (len(names), prices):
        return ["the parts of the result differ in length"]
    if left.min(initial=0) < 0 or (left > amounts).any():
        return ["an obligation grew or flipped"]
    size = "<i4" if (most := int(amounts.max(initial=0))) < 2**31 else "<i8"
    sizes = f"{len(names)} participants, {len(amounts)} pairs, {len(pairs)} columns, {size}"
    columns = payer.astype("<i4"), payee.astype("<i4"), amounts.astype(size), *more
    if _sha(("input", sizes, *names), columns) != claim.input_digest:
        return ["the input is not the one that was certified"]
    if _sha((f"result {claim.mode}", claim.input_digest), (net, left.astype(size))) != claim.result_digest:
        return ["the result is not the one that was certified"]
    gross = _sum(amounts, ONE, most * len(amounts))
    if gross >= 2**63 or (claim.potentials > 2**61).any() or (claim.potentials < -(2**61)).any():
        return ["the figures leave the range that can be checked"]
    faults = []
    moves_nets = claim.mode == "multilateral" and not left.any()
    for flows in (amounts,) if moves_nets else (amounts, left):
        moved = -net
        np.add.at(moved, payee, flows)
        np.subtract.at(moved, payer, flows)
        if moved.any():
            faults.append("net positions are not those of the obligations")
    primal = _sum(np.maximum(net, 0), ONE, gross) if moves_nets else _sum(left, weights, gross)
    dual = _bound(claim, pairs, weights, net, gross)
    if (primal, dual) != (claim.primal, claim.dual):
        faults.append(f"{primal} moves and {dual} is the bound, not {claim.primal} and {claim.dual}")
    if primal != dual:
        faults.append(f"{primal} moves where {dual} may do: not proven optimal")
    return faults


def _bound(claim: Certificate, pairs: Sequence[Any], weights: Any, net: Any, gross: int) -> int:
    payer, payee, amounts = pairs[:3]
    if claim.mode == "conservative":
        return _sum(amounts, np.minimum(weights, claim.potentials[payee] - claim.potentials[payer]), gross)
    if claim.mode != "bilateral":
        return _sum(net[claim.potentials == 1], ONE, gross) if claim.mode == "multilateral" else gross
    _, row = np.unique(np.minimum(payer, payee) * 2**31 + np.maximum(payer, payee), return_inverse=True)
    owed = np.zeros(len(row), np.int64)
    np.add.at(owed, row, np.where(payer < payee, amounts, -amounts))
    return _sum(np.abs(owed), ONE, gross)


def _sum(amounts: Any, factors: Any, most: int) -> int:
    """Add up amounts of *most* together, exactly: where 64 bits might not do, with Python's integers."""
    if max(int(factors.max(initial=0)), -int(factors.min(initial=0))) * most < 2**63:
        return int(np.dot(amounts, factors) if len(factors) == len(amounts) else amounts.sum() * factors[0])
    return sum(map(int.__mul__, amounts.tolist(), np.broadcast_to(factors, amounts.shape).tolist()))


def _sha(lines: Sequence[str], columns: Sequence[Any]) -> str:
    return hashlib.sha256(b"".join(("\n".join((*lines, "", "")).encode(), *columns))).hexdigest()


def check_part(part: dict[str, Any], rows: list[dict[str, str]]) -> list[str]:
    """Check one currency of what ``python -m netting`` printed against the rows of its input."""
    claim, unit, moment = dict(part["certificate"]), 10 ** EXPONENTS[part["currency"]], datetime.fromisoformat
    by, cutoff, _ = (claim.pop(key, "") for key in ("weights", "cutoff", "optimal"))
    owed, left, paid = Counter[tuple[str, str, int]](), Counter[tuple[str, str]](), Counter[str]()
    for row in rows:
        weight = 1 + int(row["priority"] or 0) if by == "priority" else 1
        weight += max(0, (moment(cutoff) - moment(row["submitted_at"])).days) if by == "age" else 0
        owed[row["payer"], row["payee"], -weight] += int(Decimal(row["amount"]) * unit)
    for row in part["residual"]:
        left[row["payer"], row["payee"]] += int(Decimal(row["amount"]) * unit)
    for row in part["transfers"]:
        paid.update({row["payee"]: int(Decimal(row["amount"]) * unit)})
        paid.subtract({row["payer"]: int(Decimal(row["amount"]) * unit)})
    nets = {row["participant"]: int(Decimal(row["net"]) * unit) for row in part["positions"]}
    arcs, names = sorted(owed), sorted({name for arc in owed for name in arc[:2]})
    place, table = {name: number for number, name in enumerate(names)}, []
    for p, q, weight in reversed(arcs):  # of a pair the heaviest is set off first: the lightest is left
        kept = min(owed[p, q, weight], left[p, q])
        left[p, q] -= kept
        table.append((place[p], place[q], owed[p, q, weight], -weight, kept))
    strangers = any(left.values()) or nets.keys() - {*names} or paid.keys() - {*names, "AGENT"}
    if strangers or any(paid[name] != nets.get(name, 0) for name in names):
        return ["the transfers, positions or residual are not of these obligations"]
    columns = list(np.array(table[::-1], np.int64).reshape(-1, 5).T.copy())
    net = np.array([nets.get(name, 0) for name in names], np.int64)
    prices = np.array([claim["potentials"][name] for name in names if claim["potentials"]], np.int64)
    claim |= {"potentials": prices} | {key: int(Decimal(claim[key]) * unit) for key in ("primal", "dual")}
    return verify(Certificate(**claim), names, columns[: 4 if by else 3], columns[4], net)


if __name__ == "__main__":
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as csv_file, open(sys.argv[2]) as json_file:
        obligations, parts = list(csv.DictReader(csv_file)), json.load(json_file)
    ok = sorted(part["currency"] for part in parts) == sorted({row["currency"] for row in obligations})
    for part in parts:
        wrong = check_part(part, [row for row in obligations if row["currency"] == part["currency"]])
        ok = ok and not wrong
        sys.stdout.write(f"{part['currency']}: {'; '.join(wrong) or 'proven'}\n")
    sys.exit(0 if ok else 1)
