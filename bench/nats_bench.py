"""Intake over NATS: messages as publishers send them, taken by the stack's own consumer."""

import asyncio
from collections.abc import Iterator
from functools import partial
from statistics import median
from time import perf_counter
from typing import Final

import msgspec
import nats
from django.utils import timezone

from bench import community, site
from bench.model import Row
from bench.timing import timed, times_for
from clearing import windows
from clearing.consumers.messages import REPLY_TO, SUBMIT
from clearing_project.stack.children import Site

PER_MESSAGE: Final = (1_000, 10)
WAIT_SECONDS: Final = 600.0


def measure(place: Site, sizes: list[int]) -> list[Row]:
    """Bring days of these sizes in, in large messages and in small ones, beside the path under them."""
    rows: list[Row] = []
    with site.running(place, "intake"):
        _send(place, 1_000, PER_MESSAGE[0])
        for size in sizes:
            for per_message in PER_MESSAGE:
                pairs = [_send(place, size, per_message) for _ in range(times_for(size))]
                sent, direct = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
                name = f"intake, NATS, {per_message:,} a message"
                rows.append(Row(name, size, sent, "SQL path, in turn", direct))
    return rows


def _send(place: Site, size: int, per_message: int) -> tuple[float, float]:
    """Publish a day and wait until all of it is answered, then send one to the SQL path; seconds of both."""
    window = community.open_window()
    bodies = list(_bodies(size, per_message))
    sent = asyncio.run(_publish(place.servers["NATS_URL"], bodies, size))
    batches = community.day(size).batches()
    direct = sum(timed(partial(community.submit, batch))[0] for batch in batches)
    windows.close(window, at=timezone.now(), reason="benchmark")
    return sent, direct


def _bodies(size: int, per_message: int) -> Iterator[bytes]:
    region = community.CLEARED.value
    for batch in community.day(size).batches():
        for start in range(0, len(batch), per_message):
            obligations = batch[start : start + per_message]
            yield msgspec.json.encode({"region": region, "obligations": obligations})


async def _publish(url: str, bodies: list[bytes], size: int) -> float:
    """Return the seconds from the first publish until every message is answered as accepted."""
    client = await nats.connect(url, pending_size=64 * 1024 * 1024)
    stream = client.jetstream()
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.flush()
    since = perf_counter()
    for body in bodies:
        await stream.publish_async(SUBMIT, body, wait_stall=WAIT_SECONDS, headers={REPLY_TO: inbox})
    accepted = 0
    for _ in bodies:
        answer = await answers.next_msg(timeout=WAIT_SECONDS)
        accepted += msgspec.json.decode(answer.data, type=_Answer).accepted
    seconds = perf_counter() - since
    await client.close()
    assert accepted == size
    return seconds


class _Answer(msgspec.Struct):
    accepted: int
