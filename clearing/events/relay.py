"""
Carry events from the outbox to NATS JetStream: at least once, in order per window.

One relay at a time publishes, held by a session advisory lock in PostgreSQL; others stand by and take
over when it dies. A published event is marked after the acknowledgement; a crash between the two
publishes it again under the same ``Nats-Msg-Id``.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import nats
from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from clearing.events.catalog import STREAM, SUBJECT, SUBJECTS, payload
from clearing.models import WindowEvent
from clearing.partitions import GATE_CLASS
from clearing.states import EventType

logger = logging.getLogger(__name__)

RELAY_LOCK = 0x7FFFFFFF  # second key beside windows' ids, which never get there
BATCH_MAX = 500
IDLE_SECONDS = 0.25
AWAY_SECONDS = 2.0


async def run(nats_url: str, *, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Publish until *stop* is set. NATS or PostgreSQL being away delays events and loses none."""
    announced = False
    while not stop.is_set():
        try:
            client = await nats.connect(nats_url, max_reconnect_attempts=2, connect_timeout=2)
        except (OSError, NatsError) as away:
            logger.warning("NATS is away: %s", away)
            await _pause(stop, AWAY_SECONDS)
            continue
        try:
            stream = await _stream(client)
            if not announced:
                on_ready()
                announced = True
            await _publish_until(stop, stream)
        except Exception as trouble:
            logger.warning("relay interrupted: %s", trouble)
            await _pause(stop, AWAY_SECONDS)
        finally:
            with contextlib.suppress(Exception):
                await client.close()


async def _stream(client: Client) -> JetStreamContext:
    """Return JetStream with our stream in it, making the stream if it is not there."""
    stream = client.jetstream()
    try:
        await stream.stream_info(STREAM)
    except NotFoundError:
        await stream.add_stream(name=STREAM, subjects=SUBJECTS)
    return stream


async def _publish_until(stop: asyncio.Event, stream: JetStreamContext) -> None:
    while not stop.is_set():
        events = await sync_to_async(_unpublished)()
        for event in events:
            await stream.publish(
                SUBJECT[EventType(event.event_type)],
                json.dumps(payload(event)).encode(),
                headers={"Nats-Msg-Id": str(event.event_id)},
            )
            await sync_to_async(_mark)(event)
        if not events:
            await _pause(stop, IDLE_SECONDS)


def _unpublished() -> list[WindowEvent]:
    """Read the oldest events to publish; none while another relay holds the lock."""
    close_old_connections()
    with connection.cursor() as cursor:
        # Session lock: taken again each round it only counts up; PostgreSQL drops it with the session.
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            " AND classid = %(cls)s AND objid = %(obj)s) OR pg_try_advisory_lock(%(cls)s, %(obj)s)",
            {"cls": GATE_CLASS, "obj": RELAY_LOCK},
        )
        if not cursor.fetchone()[0]:
            return []
    pending = WindowEvent.objects.filter(published_at=None).select_related("window").order_by("id")
    return list(pending[:BATCH_MAX])


def _mark(event: WindowEvent) -> None:
    WindowEvent.objects.filter(pk=event.pk).update(published_at=datetime.now(UTC))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
