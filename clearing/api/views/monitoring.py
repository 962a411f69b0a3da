"""How the engine is: counts from its tables, and whether what it stands on answers."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.utils import timezone
from kombu import Connection
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import queries
from clearing.access import STAFF
from clearing.api import parameters, shapes, wire
from clearing.api.errors import AddressUnknown
from clearing.api.schema import described
from clearing.api.views.base import Door, OpenDoor
from clearing.models import WindowEvent
from clearing_project import counts
from clearing_project.stack import probes

TAG = "monitoring"
TIMEOUT_SECONDS = 2
LATE_SECONDS = 60


class Metrics(Door):
    """``metrics``"""

    access: ClassVar = {"GET": STAFF}

    @described("metrics", "Count windows, operations and instructions by status", wire.Metrics, tag=TAG)
    def get(self, request: Request) -> Response:
        parameters.only(request)
        now = timezone.now()
        return Response(shapes.metrics(queries.summary(at=now), at=now))


class Live(OpenDoor):
    """``/health/live``"""

    @described("health_live", "Answer if the process does", wire.Health, is_open=True, tag=TAG)
    def get(self, request: Request) -> Response:
        return Response(wire.Health(status="ok", parts=[]))


class Ready(OpenDoor):
    """``/health/ready``: asks every part, each within seconds; 503 without those that a request needs."""

    needed: ClassVar = frozenset({"database", "broker", "nats"})

    @described(
        "health_ready",
        "Ask database, broker, NATS, Beat and outbox: 503 without one of the first three, else 200",
        wire.Health,
        more={503: wire.Health},
        is_open=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parts = [_ask(name, probe) for name, probe in PROBES.items()]
        away = {part.name for part in parts if part.status != "ok"}
        is_ready = not away & self.needed
        status = "unavailable" if not is_ready else "degraded" if away else "ok"
        health = wire.Health(status=status, parts=parts)
        return Response(health, 200 if is_ready else 503, headers={"Cache-Control": "no-store"})


class EngineHealth(Ready):
    """``health``: the same for an operator; 503 if any part is away or late."""

    needed: ClassVar = frozenset({"database", "broker", "nats", "beat", "outbox"})

    @described(
        "health",
        "Ask database, broker, NATS, Beat and outbox: 503 if one is away or late",
        wire.Health,
        more={503: wire.Health},
        is_open=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class Nowhere(OpenDoor):
    """Every address of the prefix that no other view has."""

    schema = None

    def initial(self, request: Request, *args: object, **path: object) -> None:
        """
        Refuse before the method is looked at.

        Raises:
            AddressUnknown
        """
        raise AddressUnknown(request.path)


def _ask(name: str, probe: Callable[[], None]) -> wire.Part:
    try:
        probe()
    except Exception as away:  # whatever keeps the part from answering is what was asked for
        return wire.Part(name=name, status="unavailable", reason=type(away).__name__)
    return wire.Part(name=name, status="ok", reason="")


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    if settings.BROKER_URL.startswith(("redis://", "rediss://")):
        probes.valkey(settings.BROKER_URL)()
        return
    with Connection(settings.BROKER_URL, connect_timeout=TIMEOUT_SECONDS) as broker:
        broker.ensure_connection(max_retries=1, timeout=TIMEOUT_SECONDS)


def _nats() -> None:
    """A NATS server introduces itself to whoever connects."""
    address = urlsplit(settings.NATS_URL.split(",")[0])
    place = (address.hostname or "127.0.0.1", address.port or 4222)
    with socket.create_connection(place, timeout=TIMEOUT_SECONDS) as connected:
        if not connected.recv(5).startswith(b"INFO"):
            raise ConnectionError("it is not NATS that listens there")


class Late(Exception):
    """Something that should happen all the time has not happened for long."""


def _beat() -> None:
    """Beat sends a tick every few seconds, and a worker takes it."""
    last = counts.last_beat()
    if last is None or timezone.now().timestamp() - last > LATE_SECONDS:
        raise Late("beat")


def _outbox() -> None:
    """The relay publishes what is written."""
    limit = timezone.now() - timedelta(seconds=LATE_SECONDS)
    if WindowEvent.objects.filter(published_at=None, occurred_at__lt=limit).exists():
        raise Late("outbox")


PROBES: dict[str, Callable[[], None]] = {
    "database": _database,
    "broker": _broker,
    "nats": _nats,
    "beat": _beat,
    "outbox": _outbox,
}
