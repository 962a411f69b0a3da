"""Read what the console shows: a handful of queries, none of which grows with the obligations."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Q, Sum

from clearing import queries
from clearing.models import AtomicOperation, ClearingWindow, NettingResult, WindowEvent
from clearing.states import FINAL_WINDOW, LIVE_OPERATION, OperationStatus, OperationType, WindowStatus
from netting.measures import share_bps
from settlement.admin.base import amount, badge, percent
from settlement.models import SettlementAccount
from settlement.states import ParticipantKind

COUNTED_MAX = 100_000
LIVE_MAX = 20
ENDED_MAX = 8
ENDED = (WindowStatus.ROLLED_BACK, *FINAL_WINDOW)


def now() -> dict[str, Any]:
    """Collect the page's context."""
    return {
        "windows": _windows(),
        "operations": _live_operations(),
        "results": _last_results(),
        "totals": _totals(),
        "events_waiting": WindowEvent.objects.filter(published_at=None).count(),
        "rollbacks_failed": AtomicOperation.objects.filter(status=OperationStatus.ROLLBACK_FAILED).count(),
    }


def _windows() -> list[dict[str, Any]]:
    """Windows that have not ended, by region."""
    rows = list(ClearingWindow.objects.exclude(status__in=ENDED).order_by("region", "pk")[:LIVE_MAX])
    counts = queries.bounded_counts([row.pk for row in rows], counted_max=COUNTED_MAX)
    return [
        {"row": row, "status": badge(row.status), "obligations": _bounded(counts.get(row.pk, 0))}
        for row in rows
    ]


def _live_operations() -> list[dict[str, Any]]:
    """Clearing runs underway, each with its checkpoints in order."""
    runs = (
        AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING)
        .filter(
            Q(status__in=LIVE_OPERATION)
            | Q(status=OperationStatus.COMMITTED) & ~Q(window__status__in=FINAL_WINDOW)
        )
        .select_related("window")
        .prefetch_related("checkpoints")
        .order_by("-created_at")[:LIVE_MAX]
    )
    return [{"row": run, "status": badge(run.status), "checkpoints": _progress(run)} for run in runs]


def _progress(run: AtomicOperation) -> list[dict[str, str]]:
    steps = sorted(run.checkpoints.all(), key=lambda checkpoint: checkpoint.position)
    return [{"name": step.name.replace("_", " "), "status": step.status} for step in steps]


def _last_results() -> list[dict[str, Any]]:
    """The windows that ended last, with what clearing them gave or why it gave nothing."""
    windows = list(
        ClearingWindow.objects.filter(status__in=ENDED)
        .select_related("metrics")
        .order_by("-closed_at")[:ENDED_MAX]
    )
    runs = (
        AtomicOperation.objects.filter(window__in=windows, operation_type=OperationType.WINDOW_CLEARING)
        .prefetch_related("checkpoints")
        .order_by("created_at")
    )
    latest = {run.window_id: run for run in runs}
    return [_result(window, latest.get(window.pk)) for window in windows]


def _result(window: ClearingWindow, run: AtomicOperation | None) -> dict[str, Any]:
    metrics = getattr(window, "metrics", None)
    return {
        "row": window,
        "run": run,
        "status": badge(window.status),
        "obligations": f"{metrics.obligations_count:,}" if metrics else "",
        "instructions": f"{metrics.instructions_count:,}" if metrics else "",
        "took": f"{metrics.processing_ms:,} ms" if metrics else "",
        "efficiency": percent(metrics.efficiency_bps) if metrics else "–",
        "checkpoints": _progress(run) if run else [],
    }


def _totals() -> list[dict[str, Any]]:
    """Per currency: what was cleared since the beginning, and what members hold now."""
    cleared = {
        row["currency__code"]: row
        for row in NettingResult.objects.filter(operation__status=OperationStatus.COMMITTED)
        .values("currency__code")
        .order_by("currency__code")
        .annotate(
            many=Sum("obligations_count"),
            windows=Count("operation_id", distinct=True),
            gross=Sum("gross_minor"),
            net=Sum("net_minor"),
        )
    }
    held = {
        row["currency__code"]: row
        for row in SettlementAccount.objects.filter(participant__kind=ParticipantKind.MEMBER)
        .values("currency__code")
        .annotate(balance=Sum("balance_minor"), reserved=Sum("reserved_minor"))
    }
    return [_total(code, cleared.get(code), held.get(code)) for code in sorted({*cleared, *held})]


def _total(code: str, cleared: Mapping[str, Any] | None, held: Mapping[str, Any] | None) -> dict[str, Any]:
    gross, net = (int(cleared["gross"]), int(cleared["net"])) if cleared else (0, 0)
    return {
        "currency": code,
        "obligations": f"{int(cleared['many']):,}" if cleared else "0",
        "gross": amount(gross, code),
        "net": amount(net, code),
        "efficiency": percent(share_bps(gross - net, gross)) if gross else "–",
        "balance": amount(int(held["balance"]) if held else 0, code),
        "reserved": amount(int(held["reserved"]) if held else 0, code),
    }


def _bounded(count: int) -> str:
    return f"{count:,}" if count <= COUNTED_MAX else f"over {COUNTED_MAX:,}"
