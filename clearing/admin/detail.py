"""What a window's page shows beneath its fields: runs, checkpoints, results, positions, orders, events."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from clearing import operations, queries
from clearing.models import AtomicOperation, ClearingWindow, NettingResult, WindowMetrics
from clearing.queries import CurrencyResult, CurrencyTraffic, WindowResult
from clearing.states import OperationType
from settlement.admin.base import amount, badge, moment, percent

RUNS_MAX = 10
ROWS_MAX = 200


def of(window: ClearingWindow) -> dict[str, Any]:
    """Collect the page's context in a bounded number of queries, however large the window."""
    runs = list(
        window.operations.filter(operation_type=OperationType.WINDOW_CLEARING)
        .prefetch_related("checkpoints")
        .order_by("-created_at")[:RUNS_MAX]
    )
    is_netted = bool(runs) and NettingResult.objects.filter(operation=runs[0]).exists()
    result = queries.result(window) if is_netted else None
    traffic = [] if is_netted else queries.traffic(window)
    return {
        "window": window,
        "status": badge(window.status),
        "figures": _figures(window, result, traffic),
        "runs": [_run(run) for run in runs],
        "results": _results(result) if result else [],
        "traffic": [
            {
                "row": row,
                "count": f"{row.obligations_count:,}",
                "gross": amount(row.gross_minor, row.currency),
            }
            for row in traffic
        ],
        "positions": _positions(window),
        "instructions": _instructions(window),
        "is_held": any(operations.is_held(run) for run in runs[:1]),
        "rows_max": ROWS_MAX,
        "events": [
            {"row": event, "occurred": moment(event.occurred_at), "published": moment(event.published_at)}
            for event in window.events.order_by("sequence")
        ],
    }


def _figures(
    window: ClearingWindow, result: WindowResult | None, traffic: list[CurrencyTraffic]
) -> list[tuple[str, str]]:
    """Name the few numbers that an operator looks for first."""
    counted: Sequence[CurrencyResult | CurrencyTraffic] = result.currencies if result else traffic
    figures = [
        ("opened (UTC)", f"{window.opens_at:%d %b %H:%M}"),
        ("cutoff (UTC)", f"{window.cutoff_at:%d %b %H:%M}"),
        ("obligations", f"{sum(row.obligations_count for row in counted):,}"),
    ]
    if result is not None:
        figures.append(("instructions", f"{result.instructions_count:,}"))
        figures.append(("efficiency", percent(result.efficiency_bps)))
    metrics = WindowMetrics.objects.filter(window=window).first()
    if metrics is not None:
        figures.append(("closing took", f"{metrics.close_ms:,} ms"))
        figures.append(("clearing took", f"{metrics.processing_ms:,} ms"))
    return figures


def _run(run: AtomicOperation) -> dict[str, Any]:
    checkpoints = sorted(run.checkpoints.all(), key=lambda checkpoint: checkpoint.position)
    return {
        "row": run,
        "status": badge(run.status),
        "started": moment(run.started_at),
        "ended": moment(run.completed_at),
        "final": moment(run.final_at),
        "took": _took(run.started_at, run.completed_at),
        "checkpoints": [
            {
                "row": checkpoint,
                "status": badge(checkpoint.status),
                "started": moment(checkpoint.started_at),
                "applied": moment(checkpoint.applied_at),
                "undone": moment(checkpoint.undone_at),
                "took": _took(checkpoint.started_at, checkpoint.applied_at),
            }
            for checkpoint in checkpoints
        ],
    }


def _results(result: WindowResult) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "count": f"{row.obligations_count:,}",
            "gross": amount(row.gross_minor, row.currency),
            "net": amount(row.net_minor, row.currency),
            "saved": amount(row.saved_minor, row.currency),
            "efficiency": percent(row.efficiency_bps),
            "is_optimal": row.net_minor == row.bound_minor,
        }
        for row in result.currencies
    ]


def _positions(window: ClearingWindow) -> list[dict[str, Any]]:
    """List one position more than is shown, so that the page knows of the rest."""
    return [
        {
            "row": row,
            "credit": amount(row.credit_minor, row.currency.code),
            "debit": amount(row.debit_minor, row.currency.code),
            "net": amount(row.net_minor, row.currency.code),
        }
        for row in queries.positions(window).multilateral[: ROWS_MAX + 1]
    ]


def _instructions(window: ClearingWindow) -> list[dict[str, Any]]:
    """List one instruction more than is shown."""
    return [
        {
            "row": row,
            "amount": amount(row.amount_minor, row.currency.code),
            "status": badge(row.status),
            "settled": moment(row.settled_at),
        }
        for row in queries.instructions(window)[: ROWS_MAX + 1]
    ]


def _took(since: datetime | None, until: datetime | None) -> str:
    if since is None or until is None:
        return "–"
    return f"{(until - since) / timedelta(milliseconds=1):,.0f} ms"
