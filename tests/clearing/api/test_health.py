"""Health: asked for without a token, and honest about what is away."""

import socket
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from tests.clearing.api.caller import Caller
from tests.clearing.api.outage import cut_off
from tests.database import backend

pytestmark = pytest.mark.django_db


def parts(path: str, status: int) -> dict[str, str]:
    """Ask; return each part's status."""
    answer = Caller().get(path)
    body = answer.json()
    assert answer.status_code == status, body
    assert body["status"] == ("ok" if status == 200 else "unavailable")
    return {part["name"]: part["status"] for part in body["parts"]}


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nothing listens while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_process_that_answers_is_alive() -> None:
    assert parts("/health/live", 200) == {}


@pytest.mark.parametrize("path", ["/health/ready", "health", "/health/ready/"])
def test_everything_answers(path: str) -> None:
    assert parts(path, 200) == {"database": "ok", "broker": "ok", "nats": "ok"}


@pytest.mark.parametrize(
    ("part", "setting", "scheme"), [("broker", "BROKER_URL", "redis"), ("nats", "NATS_URL", "nats")]
)
def test_a_part_that_is_away_is_named(nobody: int, part: str, setting: str, scheme: str) -> None:
    with override_settings(**{setting: f"{scheme}://user:secret@127.0.0.1:{nobody}"}):
        answer = Caller().get("/health/ready")
        found = parts("/health/ready", 503)

    assert [name for name, status in found.items() if status != "ok"] == [part]
    assert b"secret" not in answer.content


def test_a_server_of_another_kind_is_not_taken_for_nats() -> None:
    with override_settings(NATS_URL=settings.REDIS_URL.replace("redis://", "nats://")):
        assert parts("/health/ready", 503)["nats"] == "unavailable"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_database_that_is_away_is_named() -> None:
    cut_off(backend())

    found = parts("/health/ready", 503)
    connection.close()

    assert found == {"database": "unavailable", "broker": "ok", "nats": "ok"}
    assert parts("/health/ready", 200)["database"] == "ok"
