"""The relay, as a process, with a NATS of its own: nothing lost, nothing out of order, duplicates known."""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import nats
import psutil
import pytest
from django.db import connection, transaction

from clearing.events import facts, outbox
from clearing.events.catalog import STREAM, SUBJECT, SUBJECTS, payload
from clearing.models import ClearingWindow, WindowEvent
from clearing.states import EventType
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import EmbeddedNats
from tests import factories
from tests.database import sql

PATIENCE_SECONDS = 30

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A NATS of this test alone."""
    server = EmbeddedNats(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def relay(broker: EmbeddedNats, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a relay process by name; it is ready when this returns."""
    started: list[Process] = []

    def start(name: str = "relay", *, wait: bool = True) -> Process:
        parts = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
        log = tmp_path / f"{name}.log"
        process = Process(
            name,
            [sys.executable, "manage.py", "relay"],
            directory=tmp_path,
            log=log,
            environment={"DATABASE_URL": url, "NATS_URL": broker.url, "PYTHONUNBUFFERED": "1"},
            cwd=REPOSITORY,
        )
        process.start()
        started.append(process)
        if wait:
            process.wait_until(probes.log_says(log, "relay ready"), seconds=PATIENCE_SECONDS)
        return process

    yield start
    for process in started:
        process.stop()


def test_every_event_reaches_the_stream_as_it_was_written(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    window = factories.closed()
    relay()

    _until(_all_published)

    events = list(WindowEvent.objects.select_related("window").order_by("id"))
    stored = _stored(broker)
    assert [message["payload"] for message in stored] == [payload(event) for event in events]
    assert [message["id"] for message in stored] == [str(event.event_id) for event in events]
    assert [message["subject"] for message in stored] == [
        "clearing.window.opened",
        "clearing.window.closing",
        "clearing.window.closed",
    ]
    assert {message["payload"]["window_id"] for message in stored} == {window.pk}


def test_every_kind_of_event_has_a_subject_of_the_stream() -> None:
    assert set(SUBJECT) == set(EventType)
    assert len(set(SUBJECT.values())) == len(SUBJECT)
    patterns = {subject.removesuffix("*") for subject in SUBJECTS}
    assert {subject.rpartition(".")[0] + "." for subject in SUBJECT.values()} <= patterns


def test_nats_away_loses_nothing_and_blocks_nobody(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    window = factories.closed()
    process = relay()
    _until(_all_published)

    broker.kill()
    began = time.monotonic()
    _tell(window, 20)
    assert time.monotonic() - began < 5, "writing an event waited for NATS"
    _until(lambda: "wait in the outbox" in _log(process))
    broker.start()
    _until(_all_published)

    assert process.is_alive
    assert _sequences(broker) == {window.pk: list(range(1, 24))}


def test_a_relay_that_starts_before_nats_waits_for_it(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    window = factories.closed()
    broker.stop()
    process = relay(wait=False)
    _until(lambda: "wait in the outbox" in _log(process))

    broker.start()
    _until(_all_published)

    assert _sequences(broker) == {window.pk: [1, 2, 3]}


def test_of_two_relays_one_publishes_and_the_other_takes_over_when_it_is_killed(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    first, second = factories.closed(), factories.window()
    relays = [relay("relay-1"), relay("relay-2")]
    _until(lambda: len(_lock_holders()) == 1)

    _tell(first, 100)
    _tell(second, 100)
    _until(lambda: _published() >= 50)
    next(process for process in relays if _holds_lock(process)).kill()
    _tell(first, 20)
    _until(_all_published)

    assert sum(process.is_alive for process in relays) == 1
    assert _sequences(broker) == {first.pk: list(range(1, 124)), second.pk: list(range(1, 102))}


def test_an_event_published_but_not_marked_is_known_again(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    window = factories.closed()
    first = relay()
    _until(_all_published)
    first.stop()
    _tell(window, 3)
    unmarked = WindowEvent.objects.select_related("window").get(window=window, sequence=4)
    _publish(broker, unmarked)  # as a relay that died before the mark left it

    relay("relay-again")
    _until(_all_published)

    assert _sequences(broker) == {window.pk: [1, 2, 3, 4, 5, 6]}


def test_a_relay_whose_database_session_is_cut_goes_on(
    broker: EmbeddedNats, relay: Callable[..., Process]
) -> None:
    window = factories.closed()
    process = relay()
    _until(lambda: len(_lock_holders()) == 1)

    sql("SELECT pg_terminate_backend(%s)", _lock_holders()[0])
    _tell(window, 5)
    _until(_all_published)

    assert process.is_alive
    assert _sequences(broker) == {window.pk: list(range(1, 9))}


def test_a_relay_that_is_told_to_stop_ends_in_order(relay: Callable[..., Process]) -> None:
    process = relay()

    process.stop()

    assert process.status == 0
    assert _log(process).endswith("relay stopped\n")


def _tell(window: ClearingWindow, count: int) -> None:
    for number in range(count):
        with transaction.atomic():
            outbox.append(window.pk, facts.Processing(operation_id=uuid.UUID(int=number)), at=factories.AT)


def _log(process: Process) -> str:
    assert process.log is not None
    return process.log.read_text() if process.log.exists() else ""


def _published() -> int:
    return WindowEvent.objects.exclude(published_at=None).count()


def _all_published() -> bool:
    return not WindowEvent.objects.filter(published_at=None).exists()


def _publish(broker: EmbeddedNats, event: WindowEvent) -> None:
    async def publish() -> None:
        client = await nats.connect(broker.url)
        headers = {"Nats-Msg-Id": str(event.event_id)}
        subject = SUBJECT[EventType(event.event_type)]
        await client.jetstream().publish(subject, json.dumps(payload(event)).encode(), headers=headers)
        await client.close()

    asyncio.run(publish())


def _stored(broker: EmbeddedNats) -> list[dict[str, Any]]:
    """Read the whole stream."""

    async def read() -> list[dict[str, Any]]:
        client = await nats.connect(broker.url)
        stream = client.jetstream()
        state = (await stream.stream_info(STREAM)).state
        found = []
        for number in range(state.first_seq, state.last_seq + 1):
            message = await stream.get_msg(STREAM, number)
            assert message.data is not None
            assert message.headers is not None
            body = json.loads(message.data)
            found.append({"subject": message.subject, "id": message.headers["Nats-Msg-Id"], "payload": body})
        await client.close()
        return found

    return asyncio.run(read())


def _sequences(broker: EmbeddedNats) -> dict[int, list[int]]:
    """The sequences of each window in the order of the stream."""
    sequences: dict[int, list[int]] = {}
    for message in _stored(broker):
        body = message["payload"]
        sequences.setdefault(body["window_id"], []).append(body["sequence"])
    return sequences


def _lock_holders() -> list[int]:
    rows = sql(
        "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted AND d.datname = current_database()",
        0x7FFFFFFF,
    )
    return [row[0] for row in rows]


def _holds_lock(process: Process) -> bool:
    """Whether the lock's session is that of *process*: told by the port it speaks from."""
    (holder,) = _lock_holders()
    ((port,),) = sql("SELECT client_port FROM pg_stat_activity WHERE pid = %s", holder)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return port in {each.laddr.port for member in family for each in member.net_connections()}


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
