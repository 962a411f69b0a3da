"""A connection to NATS that is lost openly: nothing is re-sent behind our back, its holder begins anew."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import nats
from nats.aio.client import Client

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 2


@contextlib.asynccontextmanager
async def connected(nats_url: str) -> AsyncIterator[Client]:
    """Connect once; the connection closes with the block."""
    client = await nats.connect(
        nats_url,
        allow_reconnect=False,
        max_reconnect_attempts=1,  # at the first connection it would otherwise try for two minutes
        reconnect_time_wait=0.1,
        connect_timeout=CONNECT_SECONDS,
        error_cb=_note,
    )
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            await client.close()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until *stop* is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _note(trouble: Exception) -> None:
    """Take the client's own complaints; what matters is raised where it is asked for."""
    logger.debug("NATS: %s", trouble)
