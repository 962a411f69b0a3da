"""A token may ask only so often in a minute; another token is not held up by it."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test import override_settings

from clearing import access
from tests.clearing.api.caller import Caller, is_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two reads and one POST, twelve seconds into a minute."""
    monkeypatch.setattr("clearing.api.throttles.time.time", lambda: 60_000_012.0)
    with override_settings(CLEARING={**settings.CLEARING, "READS_PER_MINUTE": 2, "POSTS_PER_MINUTE": 1}):
        yield


def test_the_read_after_the_last_is_refused_until_the_minute_ends(
    limits: None, operator: Caller, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [operator.get("windows").status_code for _ in range(2)] == [200, 200]

    refused = operator.get("windows")

    problem = is_problem(refused, 429, "too_many_requests")
    assert (problem["limit"], problem["retry_after_seconds"]) == (2, 48)
    assert refused.headers["Retry-After"] == "48"
    assert auditor.get("windows").status_code == 200
    monkeypatch.setattr("clearing.api.throttles.time.time", lambda: 60_000_061.0)
    assert operator.get("windows").status_code == 200


def test_posts_are_counted_apart_and_a_refused_one_does_nothing(limits: None, operator: Caller) -> None:
    assert operator.post("windows", {"region": "Americas"}).status_code == 201

    is_problem(operator.post("windows", {"region": "ADGM"}), 429, "too_many_requests")

    assert [each["region"] for each in operator.get("windows").json()["results"]] == ["Americas"]


def test_who_may_not_is_told_so_and_not_counted(limits: None, auditor: Caller) -> None:
    for _ in range(3):
        is_problem(auditor.post("windows", {"region": "ADGM"}), 403, "permission_denied")


def test_without_redis_nobody_is_refused(limits: None, operator: Caller) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        away: dict[str, Any] = {"default": {**settings.CACHES["default"], "LOCATION": place}}
        with override_settings(CACHES=away):
            assert [operator.get("windows").status_code for _ in range(3)] == [200, 200, 200]


def test_zero_is_no_limit(limits: None, operator: Caller) -> None:
    with override_settings(CLEARING={**settings.CLEARING, "READS_PER_MINUTE": 0}):
        assert [operator.get("windows").status_code for _ in range(3)] == [200, 200, 200]


def test_counts_leave_redis_by_themselves(limits: None, operator: Caller) -> None:
    operator.get("windows")

    client: Any = caches["default"]._cache.get_client()  # type: ignore[attr-defined]
    (key,) = client.keys(f"*requests:{access.digest(operator.token)[:32]}:*")
    assert 0 < client.ttl(key) <= 120
