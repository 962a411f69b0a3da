"""
Prometheus figures, read from the tables at each scrape: right after a restart, the same from every process.

Durations and counts come from what the engine recorded, so nothing is lost with a process and nothing
is counted twice.
"""

from collections.abc import Iterator
from datetime import datetime

import redis
from django.db.models import Count, F, Max, Min
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from clearing import measured
from clearing.models import (
    AtomicOperation,
    ClearingWindow,
    NettingResult,
    ObligationPull,
    WindowEvent,
    WindowMetrics,
)
from clearing.states import FINAL_WINDOW, LIVE_OPERATION, OperationStatus, PullStatus
from clearing_project import counts
from settlement.models import Execution, SettlementInstruction
from settlement.states import ExecutionStatus, InstructionStatus

DURATION_BUCKETS_MS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)


def exposition() -> bytes:
    """Return all figures in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(TableCollector(at=timezone.now()))
    return generate_latest(registry)


class TableCollector(Collector):
    """Figures as of one moment."""

    def __init__(self, *, at: datetime) -> None:
        self.at = at

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: names need no query at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from _windows()
        yield from _operations()
        yield _instructions()
        yield from _outside()
        yield _efficiency()
        yield from self._ages()
        yield from measured.ages(self.at)
        yield from measured.durations()
        yield from measured.intake()
        yield from measured.queues()
        yield _beat(self.at)

    def _ages(self) -> Iterator[Metric]:
        """How old the oldest thing is that has not ended: what an alert watches."""
        name = "deltran_clearing_oldest_{}_age_seconds"
        windows = GaugeMetricFamily(
            name.format("window"), "Age of the oldest window past cutoff that is not final", labels=["status"]
        )
        past = ClearingWindow.objects.exclude(status__in=FINAL_WINDOW).filter(cutoff_at__lt=self.at)
        for status, since in past.values_list("status").annotate(Min("cutoff_at")).order_by("status"):
            windows.add_metric([status], (self.at - since).total_seconds())
        yield windows
        for label, oldest in (
            ("operation", AtomicOperation.objects.filter(status__in=LIVE_OPERATION)),
            (
                "instruction",
                SettlementInstruction.objects.filter(
                    status__in=(InstructionStatus.PENDING, InstructionStatus.IN_PROGRESS)
                ),
            ),
        ):
            since = oldest.aggregate(since=Min("created_at"))["since"]
            age = (self.at - since).total_seconds() if since else 0.0
            yield GaugeMetricFamily(
                name.format(label), f"Age of the oldest live {label}", value=max(0.0, age)
            )
        pulls = ObligationPull.objects.filter(status=PullStatus.PENDING)
        since = pulls.aggregate(since=Min("window__closing_at"))["since"]
        yield GaugeMetricFamily(
            name.format("pull"),
            "How long the oldest window has been waiting for the obligation engine",
            value=max(0.0, (self.at - since).total_seconds()) if since else 0.0,
        )
        waiting = WindowEvent.objects.filter(published_at=None)
        oldest_event = waiting.aggregate(since=Min("occurred_at"), count=Count("id"))
        lag = (self.at - oldest_event["since"]).total_seconds() if oldest_event["since"] else 0.0
        yield GaugeMetricFamily(
            "deltran_clearing_outbox_lag_seconds", "Age of the oldest unpublished event", value=max(0.0, lag)
        )
        yield GaugeMetricFamily(
            "deltran_clearing_outbox_events", "Events not published yet", value=oldest_event["count"]
        )


def _windows() -> Iterator[Metric]:
    windows = CounterMetricFamily(
        "deltran_clearing_windows", "Windows by region and status", labels=["region", "status"]
    )
    counted = ClearingWindow.objects.values_list("region", "status").annotate(Count("id"))
    for region, status, count in counted.order_by("region", "status"):
        windows.add_metric([region, status], count)
    yield windows
    emergencies = CounterMetricFamily(
        "deltran_clearing_emergency_windows", "Windows in emergency mode", labels=["region", "status"]
    )
    hurried = counted.filter(emergency_mode=True)
    for region, status, count in hurried.order_by("region", "status"):
        emergencies.add_metric([region, status], count)
    yield emergencies
    durations = HistogramMetricFamily(
        "deltran_clearing_window_duration_seconds",
        "From the first checkpoint to the money moved, per completed window",
        labels=["region"],
    )
    seen: dict[str, list[int]] = {}
    for region, took_ms in WindowMetrics.objects.values_list("window__region", "processing_ms"):
        seen.setdefault(region, []).append(took_ms)
    for region, every_ms in sorted(seen.items()):
        buckets = [
            (str(bound / 1000), sum(took_ms <= bound for took_ms in every_ms))
            for bound in DURATION_BUCKETS_MS
        ]
        durations.add_metric([region], [*buckets, ("+Inf", len(every_ms))], sum_value=sum(every_ms) / 1000)
    yield durations


def _operations() -> Iterator[Metric]:
    operations = CounterMetricFamily(
        "deltran_atomic_operations",
        "Atomic operations by type and status",
        labels=["operation_type", "status"],
    )
    counted = AtomicOperation.objects.values_list("operation_type", "status").annotate(Count("id"))
    for operation_type, status, count in counted.order_by("operation_type", "status"):
        operations.add_metric([operation_type, status], count)
    yield operations
    yield GaugeMetricFamily(
        "deltran_clearing_rollbacks_failed",
        "Operations whose rollback failed and that wait for repair: alarm above zero",
        value=AtomicOperation.objects.filter(status=OperationStatus.ROLLBACK_FAILED).count(),
    )
    errors = CounterMetricFamily("deltran_clearing_errors", "Failed runs by error code", labels=["code"])
    failed = AtomicOperation.objects.exclude(error_code="").values_list("error_code")
    for code, count in failed.annotate(Count("id")).order_by("error_code"):
        errors.add_metric([code], count)
    yield errors


def _instructions() -> Metric:
    family = CounterMetricFamily(
        "deltran_settlement_instructions",
        "Settlement instructions by type and status",
        labels=["instruction_type", "status"],
    )
    counted = SettlementInstruction.objects.values_list("instruction_type", "status").annotate(Count("id"))
    for kind, status, count in counted.order_by("instruction_type", "status"):
        family.add_metric([kind, status], count)
    return family


def _beat(at: datetime) -> Metric:
    family = GaugeMetricFamily(
        "deltran_clearing_beat_age_seconds",
        "Since Beat's last tick reached a worker; absent if none ever did",
    )
    try:
        last = counts.last_beat()
    except redis.RedisError:
        last = None
    if last is not None:
        family.add_metric([], max(0.0, at.timestamp() - last))
    return family


def _outside() -> Iterator[Metric]:
    """What the settlement engine has been asked: every status is shown, so that an alert sees a zero."""
    family = GaugeMetricFamily(
        "deltran_settlement_executions", "Attempts at the settlement engine by status", labels=["status"]
    )
    found = dict(Execution.objects.order_by().values_list("status").annotate(Count("id")))
    for status in ExecutionStatus:
        family.add_metric([status.value], found.get(status.value, 0))
    yield family
    yield GaugeMetricFamily(
        "deltran_settlement_contradictions",
        "Executions of which the engine says something else than before",
        value=Execution.objects.filter(contradicted_at__isnull=False).count(),
    )


def _efficiency() -> Metric:
    family = GaugeMetricFamily(
        "deltran_netting_efficiency_percent",
        "1 - net/gross of the region's latest completed window, per currency",
        labels=["region", "currency"],
    )
    latest = WindowMetrics.objects.values("window__region").annotate(latest=Max("window_id"))
    rows = NettingResult.objects.filter(
        operation__window_id__in=[row["latest"] for row in latest], operation__final_at__isnull=False
    ).annotate(region=F("operation__window__region"), code=F("currency__code"))
    for row in rows.order_by("region", "code").values("region", "code", "efficiency_bps"):
        family.add_metric([row["region"], row["code"]], row["efficiency_bps"] / 100)
    return family
