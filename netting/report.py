"""The JSON of ``python -m netting``: one object per currency, amounts as decimal strings."""

import json
from typing import Any, Final

from netting import transfers
from netting.model import Flows, Mode, Positions
from netting.modes import Outcome, net
from netting.money import format_minor
from netting.rows import RESERVED, Obligations

TRANSFERS: Final = {"agent": transfers.agent, "direct": transfers.direct}


def netting(obligations: Obligations, *, mode: Mode, legs: str | None) -> list[dict[str, Any]]:
    """
    Net every currency and return its figures, sorted by currency.

    Args:
        legs: ``agent`` or ``direct``: how the net positions are settled. Left out, each mode does
            as it promises: multilateral settles through the agent, the others move their residual.
    """
    parts = []
    for currency in sorted(obligations.books):
        outcome = net(obligations.pairs(currency), mode=mode)
        parts.append(_part(outcome, currency, len(obligations.books[currency].amounts), legs))
    return parts


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
        return "[\n" + ",\n".join(json.dumps(part, ensure_ascii=False) for part in parts) + "\n]\n"
    return json.dumps(parts, ensure_ascii=False) + "\n"
