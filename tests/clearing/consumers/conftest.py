"""A NATS of its own, consumers in threads and in processes, and a publisher."""

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import nats
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from clearing.consumers import obligations
from clearing.consumers.messages import REJECTED, REPLY_TO, SUBMIT
from clearing.consumers.obligations import REJECTS_STREAM, STREAM
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import EmbeddedNats

PATIENCE_SECONDS = 30


class Running:
    """A consumer in a thread with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE_SECONDS)

    def wait(self) -> None:
        """Wait until it is connected."""
        assert self._ready.wait(PATIENCE_SECONDS), "the consumer never connected"

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await obligations.run(self._url, stop=self._stop, on_ready=self._ready.set)
        await sync_to_async(_close)()

    def stop(self) -> None:
        """Let it finish what it has in hand."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE_SECONDS)
            assert not self._thread.is_alive(), "the consumer did not stop"


def _close() -> None:
    connection.close()  # of the thread that did the database's work


class Bus:
    """What a publisher and a reader of rejects see."""

    def __init__(self, url: str) -> None:
        self.url = url

    def prepare(self) -> None:
        """Make the streams as a consumer would."""

        async def make(client: Client) -> None:
            await obligations._prepare(client.jetstream())

        self._do(make)

    def publish(self, *bodies: Any, to: str = SUBMIT, reply_to: str = "") -> None:
        """Publish each body; bytes go as they are."""

        async def publish(client: Client) -> None:
            headers = {REPLY_TO: reply_to} if reply_to else None
            for body in bodies:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                await client.jetstream().publish(to, data, headers=headers)

        self._do(publish)

    def ask(self, body: Any, *, to: str = SUBMIT) -> dict[str, Any]:
        """Publish and wait for the answer."""

        async def ask(client: Client) -> dict[str, Any]:
            inbox = client.new_inbox()
            answers = await client.subscribe(inbox)
            await client.flush()
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            await client.jetstream().publish(to, data, headers={REPLY_TO: inbox})
            answer = await answers.next_msg(timeout=PATIENCE_SECONDS)
            return dict(json.loads(answer.data))

        found: dict[str, Any] = self._do(ask)
        return found

    def rejected(self) -> list[dict[str, Any]]:
        """Read the stream of rejects."""

        async def read(client: Client) -> list[dict[str, Any]]:
            stream = client.jetstream()
            state = (await stream.stream_info(REJECTS_STREAM)).state
            found = []
            for number in range(state.first_seq, state.last_seq + 1) if state.messages else ():
                message = await stream.get_msg(REJECTS_STREAM, number)
                assert message.subject == REJECTED
                found.append(json.loads(message.data or b""))
            return found

        found: list[dict[str, Any]] = self._do(read)
        return found

    def waiting(self) -> int:
        """How many messages are not acknowledged."""

        async def count(client: Client) -> int:
            return (await client.jetstream().stream_info(STREAM)).state.messages

        return int(self._do(count))

    def forget(self) -> None:
        """Delete the streams."""

        async def delete(client: Client) -> None:
            for name in (STREAM, REJECTS_STREAM):
                with contextlib.suppress(NotFoundError):
                    await client.jetstream().delete_stream(name)

        self._do(delete)

    def _do(self, work: Callable[[Client], Any]) -> Any:
        async def run() -> Any:
            client = await nats.connect(self.url)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A NATS of this module alone."""
    server = EmbeddedNats(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bus(broker: EmbeddedNats) -> Bus:
    """NATS with empty streams."""
    bus = Bus(broker.url)
    bus.forget()
    bus.prepare()
    return bus


@pytest.fixture
def consume(
    bus: Bus, django_db_serialized_rollback: None, transactional_db: None
) -> Iterator[Callable[[], Running]]:
    """Start a consumer in a thread."""
    running: list[Running] = []

    def start() -> Running:
        running.append(Running(bus.url))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def process(
    bus: Bus, tmp_path: Path, django_db_serialized_rollback: None, transactional_db: None
) -> Iterator[Callable[..., Process]]:
    """Start ``manage.py consume_obligations`` with its faults in ``tmp_path``; ready when this returns."""
    started: list[Process] = []

    def start(name: str = "intake") -> Process:
        parts = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
        environment = {
            "DATABASE_URL": url,
            "NATS_URL": bus.url,
            "PYTHONUNBUFFERED": "1",
            "CLEARING_FAULTS": str(tmp_path),
            "CLEARING_INTAKE_ACK_SECONDS": "1",
        }
        log = tmp_path / f"{name}.log"
        argv = [sys.executable, "manage.py", "consume_obligations"]
        consumer = Process(name, argv, directory=tmp_path, log=log, environment=environment, cwd=REPOSITORY)
        consumer.start()
        started.append(consumer)
        consumer.wait_until(probes.log_says(log, "obligation consumer ready"), seconds=PATIENCE_SECONDS)
        return consumer

    yield start
    for each in started:
        each.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it never comes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
