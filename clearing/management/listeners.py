"""Three who listen to a window's events, each by another way: a gRPC stream, NATS, and a webhook."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import nats
from django.utils import timezone

from clearing.models import WebhookEndpoint
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.webhooks import signing

PATIENCE_SECONDS = 30.0

Told = Callable[[str, "Heard"], None]


@dataclass(frozen=True, order=True)
class Heard:
    """One event as a listener heard it."""

    window_id: int
    sequence: int
    event_type: str


@dataclass
class Listener:
    """
    What was heard so far.

    Args:
        told: called with the listener's name and each event, at once.
    """

    name: str
    told: Told
    heard: list[Heard] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    def hear(self, event: Heard) -> None:
        """Take an event; a repetition is heard once."""
        if event not in self.heard:
            self.heard.append(event)
            self.told(self.name, event)

    def listen(self, work: Callable[[], None]) -> None:
        """Listen in a thread of its own, and return once nothing will be missed."""
        threading.Thread(target=work, daemon=True, name=self.name).start()
        assert self.ready.wait(PATIENCE_SECONDS), f"{self.name} hears nothing"


def stream(told: Told, service: Any, region: str, metadata: Any) -> Listener:
    """Follow the region's windows over gRPC."""
    listener = Listener("gRPC stream", told)

    def work() -> None:
        updates = service.StreamWindowUpdates(pb.StreamWindowRequest(region=region), metadata=metadata)
        updates.initial_metadata()
        listener.ready.set()
        try:
            for update in updates:
                sequence = int(update.metadata["sequence"])
                listener.hear(Heard(update.window_id, sequence, update.event_type))
        except grpc.RpcError:  # the tour is over, and its channel closed
            return

    listener.listen(work)
    return listener


def subscription(told: Told, nats_url: str, region: str) -> Listener:
    """Subscribe to the window's subjects on NATS."""
    listener = Listener("NATS", told)

    async def follow() -> None:
        client = await nats.connect(nats_url)
        messages = await client.subscribe("clearing.window.*")
        await client.flush()
        listener.ready.set()
        async for message in messages.messages:
            _take(listener, message.data, region)

    listener.listen(lambda: asyncio.run(follow()))
    return listener


def webhook(told: Told, region: str) -> Listener:
    """Receive webhooks on this machine; an event whose signature is not right is not heard."""
    listener = Listener("webhook", told)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Check and take one delivery."""
            body = self.rfile.read(int(self.headers["content-length"]))
            at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
            own = signing.headers(endpoint, event_id=self.headers["webhook-id"], body=body, at=at)
            is_ours = own["webhook-signature"] == self.headers["webhook-signature"]
            self.send_response(204 if is_ours else 401)
            self.end_headers()
            if is_ours:
                _take(listener, body, region)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint, _ = WebhookEndpoint.objects.update_or_create(
        name="tour",
        defaults={
            "url": f"http://127.0.0.1:{server.server_port}/",
            "region": region,
            "is_active": True,
            "created_at": timezone.now(),  # what happened before is not of this tour
        },
    )
    listener.ready.set()
    listener.listen(server.serve_forever)
    return listener


def _take(listener: Listener, body: bytes, region: str) -> None:
    event = json.loads(body)
    if event["region"] == region:
        listener.hear(Heard(event["window_id"], event["sequence"], event["event_type"]))
