"""
Plan deliveries from the outbox and carry them out: at least once, in order per window and endpoint.

One process at a time works, held by a session advisory lock as the relay is. An event that cannot be sent
holds up those behind it of the same window at the same endpoint, until it is delivered or given up; other
windows and other endpoints go on.
"""

import json
import logging
import random
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from clearing.events.catalog import of_event, payload
from clearing.models import WebhookDelivery, WebhookEndpoint, WindowEvent
from clearing.partitions import GATE_CLASS
from clearing.webhooks import sending, signing
from clearing_project import pulse, trace

logger = logging.getLogger(__name__)

LOCK = 0x7FFFFFFE  # beside the relay's
BATCH_MAX = 200
AT_ONCE_MAX = 8
IDLE_SECONDS = 0.5
SETTLED = timedelta(minutes=15)  # no transaction lasts as long: every event older than this is visible
BACK_OFF_SECONDS = (5, 30, 120, 600, 3600, 14_400, 43_200)
GONE = 410

Send = Callable[[str, Mapping[str, str], bytes], int]


def run(stop: Callable[[float], bool], *, on_ready: Callable[[], None], send: Send = sending.send) -> None:
    """Deliver until *stop*, which waits so many seconds and tells, says so."""
    with ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="webhook") as pool:
        on_ready()
        while not stop(0):
            pulse.beat()
            try:
                if not _holds_lock() or not (plan(at=timezone.now()) + deliver(pool, send)):
                    stop(IDLE_SECONDS)
            except Exception:  # whatever it is, the deliveries are still there
                logger.exception("webhooks wait")
                connection.close()
                stop(IDLE_SECONDS * 4)
    connection.close()


def plan(*, at: datetime) -> int:
    """Give every event its delivery at every active endpoint that wants it; tell how many are new."""
    made = 0
    for endpoint in WebhookEndpoint.objects.filter(is_active=True):
        events = WindowEvent.objects.filter(
            pk__gt=endpoint.planned_through, occurred_at__gte=endpoint.created_at
        )
        if endpoint.region:
            events = events.filter(window__region=endpoint.region)
        known = WebhookDelivery.objects.filter(endpoint=endpoint, event_id__gt=endpoint.planned_through)
        missing = events.exclude(pk__in=known.values("event_id")).order_by("pk")[:BATCH_MAX]
        rows = [WebhookDelivery(endpoint=endpoint, event=event) for event in missing]
        made += len(WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True))
        if len(rows) < BATCH_MAX:
            old = WindowEvent.objects.filter(occurred_at__lt=at - SETTLED).order_by("-pk").first()
            if old is not None and old.pk > endpoint.planned_through:
                WebhookEndpoint.objects.filter(pk=endpoint.pk).update(planned_through=old.pk)
    return made


def deliver(pool: ThreadPoolExecutor, send: Send) -> int:
    """Send the next due delivery of each window and endpoint; tell how many were tried."""
    due = _due(at=timezone.now())
    underway: dict[Future[int], WebhookDelivery] = {}
    for delivery in due:
        body = json.dumps(payload(delivery.event)).encode()
        headers = signing.headers(
            delivery.endpoint, event_id=str(delivery.event.event_id), body=body, at=timezone.now()
        )
        with trace.work(delivery_id=delivery.pk, **of_event(delivery.event)):
            underway[pool.submit(trace.carrying(_send), send, delivery.endpoint.url, headers, body)] = (
                delivery
            )
    while underway:
        done, _ = wait(underway, return_when=FIRST_COMPLETED)
        for future in done:
            delivery = underway.pop(future)
            with trace.work(delivery_id=delivery.pk, **of_event(delivery.event)):
                _note(delivery, future)
    return len(due)


def replay(deliveries: list[int]) -> int:
    """Have dead deliveries sent again, from the first attempt on; tell how many."""
    dead = WebhookDelivery.objects.filter(pk__in=deliveries, dead_at__isnull=False)
    return dead.update(dead_at=None, attempts=0, next_at=timezone.now())


def _send(send: Send, url: str, headers: Mapping[str, str], body: bytes) -> int:
    with trace.span("webhook"):
        return send(url, {**headers, **trace.context()}, body)


def _due(*, at: datetime) -> list[WebhookDelivery]:
    """Of each window and endpoint the first that waits, if its time has come; few at a time."""
    waiting = WebhookDelivery.objects.filter(delivered_at=None, dead_at=None, endpoint__is_active=True)
    firsts = waiting.order_by("endpoint_id", "event__window_id", "event__sequence")
    heads = firsts.distinct("endpoint_id", "event__window_id").values("pk")
    found = WebhookDelivery.objects.filter(pk__in=heads, next_at__lte=at).order_by("next_at", "id")
    return list(found.select_related("endpoint", "event__window")[:AT_ONCE_MAX])


def _note(delivery: WebhookDelivery, future: "Future[int]") -> None:
    """Write down what came of an attempt; after the last one it is given up."""
    now, trouble = timezone.now(), future.exception()
    status = future.result() if trouble is None else None
    delivery.attempts += 1
    delivery.answer = (str(status) if trouble is None else f"{type(trouble).__name__}: {trouble}")[:200]
    if status is not None and 200 <= status < 300:
        delivery.delivered_at = now
    elif status == GONE or delivery.attempts > len(BACK_OFF_SECONDS):
        delivery.dead_at = now
        logger.warning("webhook %s is given up: %s", delivery, delivery.answer)
    else:
        pause = BACK_OFF_SECONDS[delivery.attempts - 1]
        delivery.next_at = now + timedelta(seconds=pause * random.uniform(1.0, 1.2))  # noqa: S311  # nosec B311
    delivery.save(update_fields=["attempts", "answer", "delivered_at", "dead_at", "next_at"])


def _holds_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
                AND classid = %(class)s AND objid = %(lock)s
            ) OR pg_try_advisory_lock(%(class)s, %(lock)s)
            """,
            {"class": GATE_CLASS, "lock": LOCK},
        )
        return bool(cursor.fetchone()[0])
