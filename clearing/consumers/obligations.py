"""
Take obligations from NATS JetStream: committed first, acknowledged afterwards.

A crash between the two delivers a message again; its references are known by then, so it changes nothing.
Several consumers share one durable; whatever is not acknowledged in time goes to any of them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from clearing.consumers import batches
from clearing.consumers.batches import Broken, Postponed, Taken
from clearing.consumers.messages import REJECTED, REPLY_TO, SUBMIT, Message, answer, rejects
from clearing.events import broker
from clearing.faults import reach
from clearing.obligations import Intake
from clearing_project import pulse, trace

logger = logging.getLogger(__name__)

STREAM = "CLEARING_INTAKE"
REJECTS_STREAM = "CLEARING_REJECTED"
DURABLE = "obligations"
FETCH_MAX = 250  # messages in one go; at most as many MiB as NATS allows a message
FETCH_SECONDS = 1.0
AWAY_SECONDS = 2.0
ANSWER_SECONDS = 5.0
DUPLICATES_SECONDS = 3600.0
POSTPONED_SECONDS_MAX = 60.0
DOUBLINGS_MAX = 6
BROKEN_MAX = 5  # deliveries of a message that fails unexpectedly, before it is rejected
MARGIN_BYTES = 4096  # of a message's headers


@dataclass(frozen=True, slots=True)
class Broker:
    """NATS, as long as this connection to it lasts."""

    client: Client
    stream: JetStreamContext

    @property
    def bytes_max(self) -> int:
        """What fits in one message."""
        return self.client.max_payload - MARGIN_BYTES


async def run(nats_url: str, *, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Take obligations until *stop* is set. NATS or PostgreSQL being away delays them and loses none."""
    announced = False
    while not stop.is_set():
        pulse.beat()
        try:
            async with broker.connected(nats_url) as client:
                place = Broker(client, client.jetstream(timeout=ANSWER_SECONDS))
                await _prepare(place.stream)
                subscription = await place.stream.pull_subscribe_bind(DURABLE, STREAM)
                if not announced:
                    on_ready()
                    announced = True
                while not stop.is_set():
                    pulse.beat()
                    await _take(place, await _fetch(client, subscription))
        except Exception as trouble:  # whatever it is, the stream keeps the messages
            logger.warning("obligations wait in NATS: %s: %s", type(trouble).__name__, trouble)
            await broker.pause(stop, AWAY_SECONDS)


async def _prepare(stream: JetStreamContext) -> None:
    """Make the streams and the durable consumer that are missing; a stream that is there stays as it is."""
    keep = timedelta(days=settings.CLEARING["RETENTION_DAYS"])
    for config in (
        StreamConfig(
            name=STREAM,
            subjects=[SUBMIT, f"{SUBMIT}.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,  # a publisher is refused before a message is dropped
            duplicate_window=DUPLICATES_SECONDS,
        ),
        StreamConfig(
            name=REJECTS_STREAM,
            subjects=[REJECTED],
            max_age=keep.total_seconds(),
            duplicate_window=DUPLICATES_SECONDS,
        ),
    ):
        try:
            await stream.stream_info(str(config.name))
        except NotFoundError:
            await stream.add_stream(config)
    await stream.add_consumer(
        STREAM,
        ConsumerConfig(
            durable_name=DURABLE,
            ack_wait=settings.CLEARING["INTAKE_ACK_SECONDS"],
            max_deliver=-1,
            max_ack_pending=-1,  # what waits for a window keeps nothing else back
        ),
    )


async def _fetch(client: Client, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    with suppress(TimeoutError):
        return await subscription.fetch(FETCH_MAX, timeout=FETCH_SECONDS)
    if not client.is_connected:
        raise ConnectionError("NATS closed the connection")
    return []


async def _take(place: Broker, delivered: Sequence[Msg]) -> None:
    if not delivered:
        return
    messages = [_message(each) for each in delivered]
    with trace.step("take obligations", request_id=_batch(messages)):
        await _take_messages(place, delivered, messages)


async def _take_messages(place: Broker, delivered: Sequence[Msg], messages: Sequence[Message]) -> None:
    told = await sync_to_async(_take_all)(messages)
    reach("intake.between")
    for each, message, taken in zip(delivered, messages, told, strict=True):
        window_id = taken.window_id if isinstance(taken, Intake) else None
        with trace.work(message=message.sequence, **({} if window_id is None else {"window_id": window_id})):
            await _concluded(place, each, message, taken)
    await place.client.flush()


async def _concluded(place: Broker, each: Msg, message: Message, taken: Taken) -> None:
    try:
        await _conclude(place, each, message, taken)
    except Exception as trouble:  # of this message alone: it comes again, the others are concluded
        if not place.client.is_connected:
            raise
        logger.warning("message %d is not concluded: %s", message.sequence, trouble)
        await each.nak(delay=_delay(each.metadata.num_delivered))


def _batch(messages: Sequence[Message]) -> str:
    """Name what is taken together by the sequences of the stream: the request's id of all that it causes."""
    numbers = [message.sequence for message in messages]
    return f"{STREAM}:{min(numbers)}-{max(numbers)}"


def _take_all(messages: Sequence[Message]) -> list[Taken]:
    """Take them on a connection that is alive."""
    close_old_connections()
    return batches.take(messages, at=timezone.now())


def _message(delivered: Msg) -> Message:
    metadata = delivered.metadata
    headers = delivered.headers or {}
    return Message(
        delivered.subject,
        delivered.data,
        metadata.sequence.stream,
        metadata.timestamp,
        headers.get(REPLY_TO, "").strip(),
    )


async def _conclude(place: Broker, delivered: Msg, message: Message, taken: Taken) -> None:
    """Keep what was refused, answer, acknowledge: in this order a crash repeats and loses nothing."""
    deliveries = delivered.metadata.num_delivered
    if isinstance(taken, Postponed):
        if not taken.is_broken or deliveries < BROKEN_MAX:
            logger.info("message %d waits: %s", message.sequence, taken.reason)
            await delivered.nak(delay=_delay(deliveries))
            return
        taken = Broken()
    for number, record in enumerate(rejects(message, taken, bytes_max=place.bytes_max)):
        known_by = f"{message.sequence}-{message.sent_at.timestamp():.6f}-{number}"
        await place.stream.publish(REJECTED, record, headers={"Nats-Msg-Id": known_by})
    if message.reply_to and message.is_answerable:
        await place.client.publish(message.reply_to, answer(taken, bytes_max=place.bytes_max))
    await delivered.ack()


def _delay(deliveries: int) -> float:
    """Seconds until a message is delivered again: doubled each time, up to a bound."""
    return min(2.0 ** min(deliveries - 1, DOUBLINGS_MAX), POSTPONED_SECONDS_MAX)
