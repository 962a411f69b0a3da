"""The JSON of ``python -m netting``: one object per currency, amounts as decimal strings."""

import json
from collections.abc import Mapping
from typing import Any, Final

from netting import transfers
from netting.liquidity import Order, Settlement, settle
from netting.model import Flows, Mode, Positions
from netting.modes import Outcome, net
from netting.money import format_minor
from netting.rows import RESERVED, Obligations

TRANSFERS: Final = {"agent": transfers.agent, "direct": transfers.direct}


def netting(
    obligations: Obligations, *, mode: Mode, legs: str | None, weighed: Mapping[str, str | None] | None = None
) -> list[dict[str, Any]]:
    """
    Net every currency and return its figures, sorted by currency.

    Args:
        legs: ``agent`` or ``direct``: how the net positions are settled. Left out, each mode does
            as it promises: multilateral settles through the agent, the others move their residual.
        weighed: how the obligations were weighed, for the certificate: whoever checks it weighs them again.
    """
    parts = []
    for currency in sorted(obligations.books):
        outcome = net(obligations.pairs(currency), mode=mode)
        part = _part(outcome, currency, len(obligations.books[currency].amounts), legs)
        part["certificate"] |= {name: value for name, value in (weighed or {}).items() if value}
        parts.append(part)
    return parts


def liquidity(
    obligations: Obligations, balances: dict[tuple[str, str], int], *, order: Order, seconds: float
) -> dict[str, Any]:
    """
    Choose what settles, each currency on its own, and return the figures of the whole file.

    ``value`` and ``bound`` are empty where the file holds several currencies, whose amounts do not
    add; ``by_currency`` has them, and ``ratio`` is that of the currency furthest from its bound, or by count,
    which does add, that of the whole file. References come in order of the file.
    """
    rows: list[tuple[int, str, bool]] = []
    closing = dict(balances)
    parts = []
    for currency, book in sorted(obligations.books.items()):
        queue, names = obligations.queue(currency, balances)
        settlement = settle(queue, order=order, seconds=seconds / len(obligations.books))
        rows += zip(book.lines, book.references, settlement.settled.tolist(), strict=True)
        left = queue.closing(settlement.settled).tolist()
        closing |= {(name, currency): amount for name, amount in zip(names, left, strict=True)}
        parts.append(_settled(settlement, currency))
    rows.sort()
    alone = parts[0] if len(parts) == 1 else {"value": "", "bound": ""}
    count, count_bound = (sum(part[name] for part in parts) for name in ("count", "count_bound"))
    ratio = min((part["ratio"] for part in parts), default=1.0)
    if order is Order.COUNT and count_bound:
        ratio = count / count_bound
    return {
        "settled": [reference for _, reference, moves in rows if moves],
        "queued": [reference for _, reference, moves in rows if not moves],
        "value": alone["value"],
        "count": count,
        "bound": alone["bound"],
        "count_bound": count_bound,
        "ratio": ratio,
        "exact": all(part["exact"] for part in parts),
        "order": order.value,
        "closing": [
            {"participant": who, "currency": currency, "balance": format_minor(amount, currency)}
            for (who, currency), amount in sorted(closing.items())
        ],
        "by_currency": parts,
    }


def _settled(settlement: Settlement, currency: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "value": format_minor(settlement.value, currency),
        "count": settlement.count,
        "bound": format_minor(settlement.value_bound, currency),
        "count_bound": settlement.count_bound,
        "ratio": settlement.ratio,
        "exact": settlement.exact,
    }


def _part(outcome: Outcome, currency: str, count: int, legs: str | None) -> dict[str, Any]:
    """Return one currency's object."""
    names = outcome.pairs.names
    assert names is not None
    by_id = dict(zip(outcome.pairs.ids.tolist(), names, strict=True)) | {transfers.AGENT: RESERVED}
    residual = _flows(outcome.residual, by_id, currency)
    if legs is None and outcome.mode is not Mode.MULTILATERAL:
        moved = residual
    else:
        moved = _flows(TRANSFERS[legs or "agent"](outcome.positions), by_id, currency)
    figures, certificate = outcome.measures, outcome.certificate
    return {
        "currency": currency,
        "obligations": count,
        "gross": format_minor(figures.gross, currency),
        "net": format_minor(figures.net, currency),
        "bound": format_minor(figures.bound, currency),
        "efficiency": figures.efficiency,
        "positions": _positions(outcome.positions, by_id, currency),
        "residual": residual,
        "transfers": moved,
        "certificate": {
            "optimal": not outcome.faults(),
            "primal": format_minor(certificate.primal, currency),
            "dual": format_minor(certificate.dual, currency),
            "input_digest": certificate.input_digest,
            "result_digest": certificate.result_digest,
            "mode": certificate.mode,
            "solver": certificate.solver,
            "version": certificate.version,
            "potentials": dict(zip(names, certificate.potentials.tolist(), strict=False)),
        },
    }


def _positions(positions: Positions, by_id: dict[int, str], currency: str) -> list[dict[str, str]]:
    rows = zip(positions.participants.tolist(), positions.net.tolist(), strict=True)
    return [{"participant": by_id[who], "net": format_minor(net, currency)} for who, net in rows if net]


def _flows(flows: Flows, by_id: dict[int, str], currency: str) -> list[dict[str, str]]:
    rows = zip(flows.payers.tolist(), flows.payees.tolist(), flows.amounts.tolist(), strict=True)
    return [
        {"payer": by_id[payer], "payee": by_id[payee], "amount": format_minor(amount, currency)}
        for payer, payee, amount in rows
    ]


def dump(parts: Any) -> str:
    """Return *parts* as JSON, a list's items on a line each; the same text for the same figures."""
    if isinstance(parts, list):
        return "[\n" + ",\n".join(json.dumps(part) for part in parts) + "\n]\n"
    return json.dumps(parts) + "\n"
