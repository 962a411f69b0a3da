"""What Prometheus is told of durations, ages and queues; ``metrics`` puts it together."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.db.models import F
from kombu import Connection
from kombu.exceptions import ChannelError
from kombu.exceptions import OperationalError as BrokerAway
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from clearing.models import AtomicOperation, Checkpoint, ClearingWindow
from clearing.obligations import tally
from clearing.states import FINAL_WINDOW, LIVE_OPERATION, OperationStatus, OperationType
from clearing_project import counts
from settlement.models import SettlementInstruction
from settlement.states import InstructionStatus

BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BROKER_SECONDS = 1
INSTRUCTIONS_MAX = 1000  # one scrape's share
UNSETTLED = (InstructionStatus.PENDING, InstructionStatus.IN_PROGRESS)


def ages(at: datetime) -> Iterator[Metric]:
    """Yield the age of what has not ended: every window, every operation, every instruction up to a bound."""
    windows = GaugeMetricFamily(
        "deltran_clearing_window_age_seconds",
        "Since the opening of each window that is not final",
        labels=["window_id", "region", "status"],
    )
    live = ClearingWindow.objects.exclude(status__in=FINAL_WINDOW).filter(opens_at__lte=at).order_by("id")
    for window in live:
        windows.add_metric([str(window.pk), window.region, window.status], _since(window.opens_at, at))
    yield windows
    operations = GaugeMetricFamily(
        "deltran_clearing_operation_age_seconds",
        "Since the start of each live operation",
        labels=["window_id", "operation_type", "status"],
    )
    for operation in AtomicOperation.objects.filter(status__in=LIVE_OPERATION).order_by("created_at", "id"):
        labels = [str(operation.window_id), operation.operation_type, operation.status]
        operations.add_metric(labels, _since(operation.created_at, at))
    yield operations
    instructions = GaugeMetricFamily(
        "deltran_settlement_instruction_age_seconds",
        "Of each instruction that is not final; of very many the oldest",
        labels=["instruction_id", "status"],
    )
    waiting = SettlementInstruction.objects.filter(status__in=UNSETTLED).order_by("created_at", "id")
    for key, status, since in waiting.values_list("id", "status", "created_at")[:INSTRUCTIONS_MAX]:
        instructions.add_metric([str(key), status], _since(since, at))
    yield instructions


def durations() -> Iterator[Metric]:
    """Yield how long checkpoints and rollbacks took."""
    applied = Checkpoint.objects.filter(applied_at__isnull=False, started_at__isnull=False)
    took = applied.annotate(took=F("applied_at") - F("started_at")).values_list("name", "took")
    yield _histogram(
        "deltran_clearing_checkpoint_duration_seconds",
        "From Started to Applied, per checkpoint",
        ((name, each.total_seconds()) for name, each in took.order_by("name")),
        label="checkpoint",
    )
    undone = AtomicOperation.objects.filter(
        operation_type=OperationType.WINDOW_CLEARING,
        status=OperationStatus.ROLLED_BACK,
        rolling_back_at__isnull=False,
        completed_at__isnull=False,
    ).annotate(took=F("completed_at") - F("rolling_back_at"))
    yield _histogram(
        "deltran_clearing_rollback_duration_seconds",
        "From the decision to roll back to the last undo",
        ((region, each.total_seconds()) for region, each in undone.values_list("window__region", "took")),
        label="region",
    )


def intake() -> Iterator[Metric]:
    """Yield what came of obligations offered; nothing while Redis is away."""
    try:
        found = counts.counted(tally.FAMILY)
    except redis.RedisError:
        return
    family = CounterMetricFamily(
        "deltran_clearing_obligations", "Obligations offered, by outcome and code", labels=["outcome", "code"]
    )
    for label, count in found.items():
        family.add_metric(label.split(":", 1), count)
    yield family


def queues() -> Iterator[Metric]:
    """Yield how many messages wait at the broker, and whether it answers."""
    try:
        depth: int | None = _depth(settings.CELERY_TASK_DEFAULT_QUEUE)
    except (BrokerAway, redis.RedisError, OSError):
        depth = None
    yield GaugeMetricFamily(
        "deltran_clearing_broker_up", "1 if the broker answers", value=0 if depth is None else 1
    )
    if depth is not None:
        family = GaugeMetricFamily("deltran_clearing_queue_depth", "Messages that wait", labels=["queue"])
        family.add_metric([settings.CELERY_TASK_DEFAULT_QUEUE], depth)
        yield family


def _depth(queue: str) -> int:
    options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "socket_timeout": BROKER_SECONDS}
    if not settings.BROKER_URL.startswith("redis"):
        options = {}
    with Connection(settings.BROKER_URL, connect_timeout=BROKER_SECONDS, transport_options=options) as broker:
        broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
        channel: Any = broker.channel()
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except ChannelError as missing:
            if "NOT_FOUND" in str(missing):
                return 0  # nothing was ever sent, or, at Redis, nothing waits
            raise


def _histogram(
    name: str, text: str, rows: Iterable[tuple[str, float]], *, label: str
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=[label])
    seen: dict[str, list[float]] = {}
    for key, seconds in rows:
        seen.setdefault(key, []).append(max(0.0, seconds))
    for key, every in sorted(seen.items()):
        buckets = [(str(bound), sum(each <= bound for each in every)) for bound in BUCKETS_SECONDS]
        family.add_metric([key], [*buckets, ("+Inf", len(every))], sum_value=sum(every))
    return family


def _since(moment: datetime, at: datetime) -> float:
    return max(0.0, (at - moment).total_seconds())
