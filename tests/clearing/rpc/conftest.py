"""A real gRPC server in this process, on the test database, and clients of every role."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from clearing import access
from clearing.models import ApiToken
from clearing.models.access import Role
from clearing.rpc.server import PLAIN, serving
from clearing.rpc.tls import Files
from settlement.models import Participant
from tests.clearing.rpc.contract import Client

READY_SECONDS = 30


class Running:
    """A server in a thread with an event loop of its own."""

    def __init__(self, tls: Files = PLAIN) -> None:
        self.address = ""
        self._tls = tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(READY_SECONDS), "the server did not start"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving("127.0.0.1:0", tls=self._tls) as port:
            self.address = f"127.0.0.1:{port}"
            self._ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        """Shut it down in order. May be repeated."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(READY_SECONDS)
            assert not self._thread.is_alive(), "the server did not stop"


@pytest.fixture
def running(django_db_serialized_rollback: None, transactional_db: None) -> Iterator[Running]:
    """A server of its own for each test."""
    server = Running()
    yield server
    server.stop()


@pytest.fixture
def client_of(running: Running) -> Iterator[Callable[..., Client]]:
    """Make a client with a token of a role."""
    clients: list[Client] = []

    def make(role: Role, *, participant: Participant | None = None) -> Client:
        clients.append(Client(running.address, issue(role, participant=participant)))
        return clients[-1]

    yield make
    for client in clients:
        client.channel.close()


@pytest.fixture
def operator(client_of: Callable[..., Client]) -> Client:
    """The client that may call everything."""
    return client_of(Role.OPERATOR)


def issue(role: Role, *, participant: Participant | None = None) -> str:
    """Make a token of a new user."""
    name = f"user-{ApiToken.objects.count() + 1}"
    return access.issue(name, role=role, participant_code=participant.code if participant else None)
