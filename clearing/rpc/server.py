"""The gRPC server: our service behind its guard, health and reflection, started and stopped as one."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from django.db import connection
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.rpc.database import Database
from clearing.rpc.guard import SERVICE, Guard
from clearing.rpc.hub import Hub
from clearing.rpc.pb import clearing_pb2_grpc
from clearing.rpc.servicer import ClearingService
from clearing.rpc.tls import Files
from clearing_project.errors import Unavailable

logger = logging.getLogger(__name__)

CALL_THREADS = 8
HEALTH_SECONDS = 2.0
GRACE_SECONDS = 5.0
RPCS_MAX = 4000
REQUEST_BYTES_MAX = 1024 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024

OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", ANSWER_BYTES_MAX),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
    ("grpc.keepalive_time_ms", 30_000),  # a dead reader's stream ends within 40 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

PLAIN = Files()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class AddressTaken(Unavailable):
    """The server cannot listen there."""

    code = "address_taken"
    fields = ("address",)
    message = "The gRPC server cannot listen on {address}."


@asynccontextmanager
async def serving(address: str, *, tls: Files = PLAIN) -> AsyncIterator[int]:
    """
    Serve on *address*, HOST:PORT, for as long as the block lasts; yields the port. With *tls* only to
    clients who show a certificate of its authority.

    On leaving, health says NOT_SERVING, streams end with UNAVAILABLE, and calls get GRACE_SECONDS to end.

    Raises:
        AddressTaken, TlsIncomplete, TlsUnreadable
    """
    credentials = tls.credentials()
    database = Database(threads=CALL_THREADS, name="grpc-call")
    watching = Database(threads=1, name="grpc-watch")  # streams do not wait behind calls
    hub = Hub(watching)
    server = grpc.aio.server(
        interceptors=[Guard(database)], options=OPTIONS, maximum_concurrent_rpcs=RPCS_MAX
    )
    told = health.aio.HealthServicer()
    service = ClearingService(database, hub)
    clearing_pb2_grpc.add_ClearingServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(told, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
    except RuntimeError:
        raise AddressTaken(address) from None
    await _tell(told, NOT_SERVING)  # until the database has answered
    await server.start()
    tasks = [asyncio.create_task(hub.run()), asyncio.create_task(_tell_health(told, watching))]
    try:
        yield port
    finally:
        await told.enter_graceful_shutdown()
        hub.stop()
        await server.stop(GRACE_SECONDS)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await database.close()
        await watching.close()


async def run(
    address: str, *, stop: asyncio.Event, on_ready: Callable[[int], None], tls: Files = PLAIN
) -> None:
    """
    Serve until *stop* is set.

    Raises:
        AddressTaken, TlsIncomplete, TlsUnreadable
    """
    async with serving(address, tls=tls) as port:
        on_ready(port)
        await stop.wait()


async def _tell_health(told: health.aio.HealthServicer, database: Database) -> None:
    """Keep the health service to what is true: we serve while the database answers."""
    while True:
        try:
            await database.call(_ask_database)
            await _tell(told, SERVING)
        except Exception as trouble:
            logger.warning("not serving: the database does not answer: %s", trouble)
            await _tell(told, NOT_SERVING)
        await asyncio.sleep(HEALTH_SECONDS)


async def _tell(told: health.aio.HealthServicer, status: Any) -> None:
    for service in ("", SERVICE):
        await told.set(service, status)


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
