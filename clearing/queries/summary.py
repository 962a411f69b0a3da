"""The whole engine in a few counts, read from its tables."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Min, Sum

from clearing import operations
from clearing.models import ClearingWindow, WindowEvent, WindowMetrics
from settlement.models import SettlementInstruction


@dataclass(frozen=True, slots=True)
class Summary:
    """
    Counts by status; a status that does not occur is left out.

    Attributes:
        efficiency_bps: of completed windows, weighted by obligations; None while there is none.
        oldest_unpublished_seconds: how long the first event of the outbox has been waiting.
    """

    windows: dict[str, int]
    operations: dict[str, dict[str, int]]
    instructions: dict[str, int]
    obligations_cleared: int
    efficiency_bps: int | None
    events_unpublished: int
    oldest_unpublished_seconds: float | None


def summary(*, at: datetime) -> Summary:
    """Count windows, operations, instructions and what is still to be published."""
    cleared = WindowMetrics.objects.aggregate(
        obligations=Sum("obligations_count"), weighted=Sum(F("efficiency_bps") * F("obligations_count"))
    )
    waiting = WindowEvent.objects.filter(published_at=None).aggregate(
        many=Count("id"), oldest=Min("occurred_at")
    )
    obligations = cleared["obligations"] or 0
    oldest: datetime | None = waiting["oldest"]
    return Summary(
        windows=_by_status(ClearingWindow),
        operations=operations.statistics(),
        instructions=_by_status(SettlementInstruction),
        obligations_cleared=obligations,
        efficiency_bps=int(cleared["weighted"]) // obligations if obligations else None,
        events_unpublished=waiting["many"],
        oldest_unpublished_seconds=None if oldest is None else max(0.0, (at - oldest).total_seconds()),
    )


def _by_status(table: type[ClearingWindow] | type[SettlementInstruction]) -> dict[str, int]:
    rows = table._default_manager.order_by("status").values_list("status").annotate(Count("pk"))
    return dict(rows)
