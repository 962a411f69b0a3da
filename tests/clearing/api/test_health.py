"""Health: asked for without a token, and honest about what is away."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from clearing import tasks
from clearing_project import counts
from tests import factories
from tests.clearing.api.caller import Caller
from tests.clearing.api.outage import cut_off
from tests.database import backend

pytestmark = pytest.mark.django_db


def parts(path: str, status: int, *, says: str = "") -> dict[str, str]:
    """Ask; return each part's status."""
    answer = Caller().get(path)
    body = answer.json()
    assert answer.status_code == status, body
    assert body["status"] == (says or ("ok" if status == 200 else "unavailable"))
    return {part["name"]: part["status"] for part in body["parts"]}


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nothing listens while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_process_that_answers_is_alive() -> None:
    assert parts("/health/live", 200) == {}


@pytest.fixture(autouse=True)
def beating() -> None:
    """Beat's last tick was just now."""
    counts.beat(time.time())


@pytest.mark.parametrize("path", ["/health/ready", "health", "/health/ready/"])
def test_everything_answers(path: str) -> None:
    assert parts(path, 200) == dict.fromkeys(("database", "broker", "nats", "beat", "outbox"), "ok")


@pytest.mark.parametrize("ago", [61, 3600])
def test_a_beat_that_is_late_is_told_and_keeps_no_request_away(ago: int) -> None:
    counts.beat(time.time() - ago)

    assert parts("health", 503)["beat"] == "unavailable"
    assert parts("/health/ready", 200, says="degraded")["beat"] == "unavailable"


def test_an_engine_whose_beat_never_came_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BEAT", "clearing:nobody-wrote-this")

    assert parts("health", 503)["beat"] == "unavailable"


def test_a_tick_is_the_sign_of_life() -> None:
    counts.beat(0.0)

    tasks.tick()

    assert parts("health", 200)["beat"] == "ok"


@pytest.mark.parametrize(("minutes", "status"), [(2, "unavailable"), (0, "ok")])
def test_events_that_wait_too_long_are_told(minutes: int, status: str) -> None:
    window = factories.window(opens_at=timezone.now() - timedelta(minutes=minutes))

    assert parts("health", 200 if status == "ok" else 503)["outbox"] == status
    window.events.update(published_at=timezone.now())
    assert parts("health", 200)["outbox"] == "ok"


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

    away = {name for name, status in found.items() if status != "ok"}
    assert away == {"database", "outbox"}
    assert parts("/health/ready", 200)["database"] == "ok"
