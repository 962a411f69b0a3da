"""
Carry events from the outbox to NATS JetStream: at least once, in order per window.

One relay at a time publishes, held by a session advisory lock in PostgreSQL; others stand by and take
over when it dies. A published event is marked after the acknowledgement, and only while the lock is
held; a crash between the two publishes it again under the same ``Nats-Msg-Id``, which JetStream drops.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import connection
from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from clearing.events import broker
from clearing.events.catalog import STREAM, SUBJECT, SUBJECTS, of_event, payload
from clearing.faults import reach
from clearing.models import WindowEvent
from clearing.partitions import GATE_CLASS
from clearing.states import EventType
from clearing_project import pulse, trace
from clearing_project.errors import Unavailable

logger = logging.getLogger(__name__)

RELAY_LOCK = 0x7FFFFFFF  # second key beside windows' ids, which never get there
BATCH_MAX = 500
IDLE_SECONDS = 0.25
AWAY_SECONDS = 2.0
PUBLISH_SECONDS = 5.0
DUPLICATES_SECONDS = 3600.0  # how long JetStream knows an event again by its id


class RelayOvertaken(Unavailable):
    """This relay's database session is gone, so another may be publishing."""

    code = "relay_overtaken"
    message = "The relay lost its lock; it stands by."


async def run(nats_url: str, *, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Publish until *stop* is set. NATS or PostgreSQL being away delays events and loses none."""
    announced = False
    while not stop.is_set():
        pulse.beat()
        try:
            async with broker.connected(nats_url) as client:
                stream = await _stream(client)
                if not announced:
                    on_ready()
                    announced = True
                await _publish_until(stop, client, stream)
        except Exception as trouble:  # whatever it is, the outbox keeps the events
            logger.warning("events wait in the outbox: %s: %s", type(trouble).__name__, trouble)
            await sync_to_async(_step_down)()
            await broker.pause(stop, AWAY_SECONDS)
    await sync_to_async(_step_down)()


async def _stream(client: Client) -> JetStreamContext:
    """Return JetStream with our stream in it, made or brought up to date if need be."""
    stream = client.jetstream(timeout=PUBLISH_SECONDS)
    try:
        found = (await stream.stream_info(STREAM)).config
    except NotFoundError:
        await stream.add_stream(
            StreamConfig(name=STREAM, subjects=SUBJECTS, duplicate_window=DUPLICATES_SECONDS)
        )
        return stream
    if set(SUBJECTS) - set(found.subjects or ()):
        found.subjects = sorted({*SUBJECTS, *(found.subjects or ())})
        await stream.update_stream(found)
    return stream


async def _publish_until(stop: asyncio.Event, client: Client, stream: JetStreamContext) -> None:
    while not stop.is_set():
        pulse.beat()
        events = await sync_to_async(_unpublished)()
        for event in events:
            if stop.is_set():
                return
            with trace.step("publish", event_id=str(event.event_id), **of_event(event)):
                await _publish(event, stream)
        if not client.is_connected:
            raise ConnectionError("NATS closed the connection")
        if not events:
            await broker.pause(stop, IDLE_SECONDS)


async def _publish(event: WindowEvent, stream: JetStreamContext) -> None:
    reach("relay.before")
    headers = {"Nats-Msg-Id": str(event.event_id), **trace.context()}
    subject = SUBJECT[EventType(event.event_type)]
    await stream.publish(subject, json.dumps(payload(event)).encode(), headers=headers)
    reach("relay.between")
    await sync_to_async(_mark)(event)
    reach("relay.after")


def _unpublished() -> list[WindowEvent]:
    """Read the oldest events to publish; none while another relay holds the lock."""
    with connection.cursor() as cursor:
        # Session lock: PostgreSQL drops it with the session, and only then may another relay take it.
        cursor.execute(f"SELECT {HELD} OR pg_try_advisory_lock(%(cls)s, %(obj)s)", KEY)
        if not cursor.fetchone()[0]:
            return []
    pending = WindowEvent.objects.filter(published_at=None).select_related("window").order_by("id")
    return list(pending[:BATCH_MAX])


def _mark(event: WindowEvent) -> None:
    """
    Mark the event as published.

    Raises:
        RelayOvertaken: the lock is lost; the event stays unmarked for who holds it now.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE clearing_windowevent SET published_at = now() WHERE id = %(event)s AND {HELD}",
            {**KEY, "event": event.pk},
        )
        if cursor.rowcount == 0:
            raise RelayOvertaken


def _step_down() -> None:
    """Give up the lock with the session, so that another relay may go on at once."""
    with contextlib.suppress(Exception), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")  # a pool would keep the session
    connection.close()


KEY = {"cls": GATE_CLASS, "obj": RELAY_LOCK}

HELD = """EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = %(cls)s AND objid = %(obj)s
)"""
