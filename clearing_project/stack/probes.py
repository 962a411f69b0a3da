"""What "ready" means for each server and process: each probe returns when it is, and raises why it is not."""

import asyncio
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import nats
import psycopg
import redis
from celery import Celery
from grpc_health.v1 import health_pb2

Probe = Callable[[], None]
TIMEOUT_SECONDS = 2
PULSE_SECONDS = 60.0


def postgres(url: str) -> Probe:
    """PostgreSQL answers a query."""

    def probe() -> None:
        with psycopg.connect(url, connect_timeout=TIMEOUT_SECONDS) as connection:
            connection.execute("SELECT 1")

    return probe


def valkey(url: str) -> Probe:
    """Redis or Valkey answers PING, so it has loaded its data."""

    def probe() -> None:
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        ) as client:
            client.ping()

    return probe


def jetstream(url: str) -> Probe:
    """NATS lets us in and JetStream is on."""

    async def ask() -> None:
        client = await nats.connect(
            url, allow_reconnect=False, connect_timeout=TIMEOUT_SECONDS, error_cb=_ignore
        )
        try:
            await client.jetstream().account_info()
        finally:
            await client.close()

    def probe() -> None:
        _connect(urlsplit(url).hostname, urlsplit(url).port or 4222)  # the client waits 2 s when refused
        asyncio.run(ask())

    return probe


def http(url: str) -> Probe:
    """*url* answers 2xx."""

    def probe() -> None:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # nosec B310  # noqa: S310  our own URL
            answer.read()

    return probe


def grpc_health(address: str) -> Probe:
    """
    The gRPC server at *address* says that it serves.

    Under mutual TLS it shows its certificate: nothing more is asked, for this probe has none to show.
    """

    def probe() -> None:
        host, _, port = address.rpartition(":")
        if os.environ.get("GRPC_TLS_CERT"):
            _shake_hands(host.strip("[]"), int(port))
            return
        _connect(host, int(port))  # a channel that was refused waits a second before it tries again
        with grpc.insecure_channel(address) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ConnectionError(f"health status {answer.status}")

    return probe


def worker(broker_url: str, node: str) -> Probe:
    """The Celery worker *node* answers a ping, so it takes tasks."""

    def probe() -> None:
        with Celery(broker=broker_url, set_as_current=False) as app:
            if not app.control.ping(destination=[node], timeout=0.5):
                raise ConnectionError(f"{node} does not answer")

    return probe


def pulse(file: str) -> Probe:
    """A process that listens nowhere has touched its *file* lately."""

    def probe() -> None:
        age = time.time() - Path(file).stat().st_mtime
        if age > PULSE_SECONDS:
            raise ConnectionError(f"its last sign of life was {age:.0f} s ago")

    return probe


def log_says(log: Path, text: str) -> Probe:
    """A process that listens nowhere has written *text* into its log."""

    def probe() -> None:
        if text not in log.read_text(errors="replace"):
            raise ConnectionError(f"its log does not say {text!r}")

    return probe


def _shake_hands(host: str, port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whose it is matters to clients; here, that there is one
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as connected,
        context.wrap_socket(connected, server_hostname=host) as secured,
    ):
        if not secured.getpeercert(binary_form=True):
            raise ConnectionError("it shows no certificate")


def _connect(host: str | None, port: int) -> None:
    socket.create_connection((host, port), timeout=TIMEOUT_SECONDS).close()


async def _ignore(_: Exception) -> None:
    """Take errors from the call itself, not from the client's own log."""
