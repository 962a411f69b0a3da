"""``manage.py grpc_server`` as a process: ready, refused a taken port, stopped in order, honest."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from clearing_project.stack import probes
from clearing_project.stack.processes import Process, ProcessEnded
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import free_port
from tests.clearing.rpc.conftest import Running

HOST = "127.0.0.1"
READY_SECONDS = 30

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start the command on a port."""
    started: list[Process] = []

    def start(port: int, **environment: str) -> Process:
        parts = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
        process = Process(
            "grpc",
            [sys.executable, "manage.py", "grpc_server"],
            directory=tmp_path,
            log=tmp_path / "grpc.log",
            environment={"DATABASE_URL": url, "GRPC_PORT": str(port), "HTTP_HOST": HOST, **environment},
            cwd=REPOSITORY,
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


def test_it_serves_until_it_is_told_to_stop(serve: Callable[..., Process], tmp_path: Path) -> None:
    port = free_port(HOST)
    process = serve(port)
    process.wait_until(probes.grpc_health(f"{HOST}:{port}"), seconds=READY_SECONDS)

    process.stop()

    assert process.status == 0
    said = (tmp_path / "grpc.log").read_text()
    assert f"gRPC server ready on port {port}\n" in said
    assert said.endswith("gRPC server stopped\n")


def test_it_refuses_a_port_that_is_taken(
    serve: Callable[..., Process], running: Running, tmp_path: Path
) -> None:
    process = serve(int(running.address.rpartition(":")[2]))

    with pytest.raises(ProcessEnded):
        process.wait_until(_never, seconds=READY_SECONDS)

    assert process.status == 2
    assert "address_taken" in (tmp_path / "grpc.log").read_text()


def test_it_does_not_claim_to_serve_without_its_database(serve: Callable[..., Process]) -> None:
    port = free_port(HOST)
    nowhere = f"postgres://clearing@{HOST}:{free_port(HOST)}/clearing"
    process = serve(port, DATABASE_URL=nowhere)
    probe = probes.grpc_health(f"{HOST}:{port}")

    def says_not_serving() -> None:
        with pytest.raises(ConnectionError, match="health status"):
            probe()

    process.wait_until(says_not_serving, seconds=READY_SECONDS)

    assert process.is_alive


def _never() -> None:
    raise ConnectionError("it is to end")
