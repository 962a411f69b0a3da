"""Requests that make no sense: each a problem with a code, none a page and none a crash."""

from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from clearing import windows
from tests.clearing.api.caller import Caller, is_problem
from tests.clearing.api.outage import cut_off
from tests.database import backend

pytestmark = pytest.mark.django_db

POSTS = ["windows", "obligations", "force-close", "windows/1/process", "rollback/1"]


@pytest.mark.parametrize(
    "path",
    [
        "nowhere",
        "windows/abc",
        "windows/-1",
        "windows/1/nowhere",
        "operations/17",
        "obligations/not-a-uuid",
        "/api/v2/clearing/windows",
        "/health/nowhere",
        "/api",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_address(operator: Caller, path: str, method: str) -> None:
    is_problem(operator.send(method, path), 404, "not_found")


@pytest.mark.parametrize("number", [0, 2**31, 2**63 - 1, 2**63, 10**40])
def test_a_window_of_an_impossible_number(operator: Caller, number: int) -> None:
    reason = {"reason": "test"}

    is_problem(operator.get(f"windows/{number}"), 404, "unknown_window")
    is_problem(operator.get(f"windows/{number}/result"), 404, "unknown_window")
    is_problem(operator.post(f"windows/{number}/process"), 404, "unknown_window")
    is_problem(operator.post(f"rollback/{number}", reason), 404, "unknown_window")
    is_problem(operator.post("force-close", reason | {"window_id": number}), 404, "unknown_window")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["windows", "obligations", "force-close", "metrics", "participants/BANK-A"])
def test_a_method_that_is_not_there(operator: Caller, method: str, path: str) -> None:
    answer = operator.send(method, path)

    problem = is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == problem["allowed"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x"]
)
def test_a_body_of_another_media_type(operator: Caller, path: str, media_type: str) -> None:
    answer = operator.post(path, '{"reason": "x"}', media_type=media_type)

    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "body_malformed"),
        ("hello", 400, "body_malformed"),
        (b"\xff\xff", 400, "body_malformed"),
        ("{'a': 1}", 400, "body_malformed"),
        ('{"reason": 1} and more', 400, "body_malformed"),
        ('{"colour":', 400, "body_malformed"),
        ("[" * 100_000, 400, "body_malformed"),
        ("[]", 422, "body_invalid"),
        ("17", 422, "body_invalid"),
        ('{"colour": "red"}', 422, "body_invalid"),
    ],
)
def test_a_body_of_another_kind(operator: Caller, path: str, body: Any, status: int, code: str) -> None:
    is_problem(operator.post(path, body), status, code)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("windows", {"region": 1}),
        ("windows", {"region": None}),
        ("windows", {"region": "ADGM", "emergency_mode": "yes"}),
        ("force-close", {"window_id": "1", "reason": "x"}),
        ("force-close", {"window_id": 1.5, "reason": "x"}),
        ("force-close", {"window_id": True, "reason": "x"}),
        ("force-close", {"window_id": 1, "reason": 1}),
        ("rollback/1", {}),
        ("rollback/1", {"reason": None}),
        ("windows/1/process", {"force_settlement": 1}),
    ],
)
def test_a_field_of_another_type(operator: Caller, path: str, body: Any) -> None:
    is_problem(operator.post(path, body), 422, "body_invalid")


@pytest.mark.parametrize("region", ["", "global", "Moon", "Europe\u0000", "x" * 100_000])
def test_an_unknown_region(operator: Caller, region: str) -> None:
    is_problem(operator.post("windows", {"region": region}), 422, "unknown_region")


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("windows", {"status": "open"}, "parameter_invalid"),
        ("windows", {"region": "Moon"}, "parameter_invalid"),
        ("windows", {"colour": "red"}, "parameter_unknown"),
        ("windows", {"limit": "0"}, "parameter_invalid"),
        ("windows", {"limit": "1001"}, "parameter_invalid"),
        ("windows", {"limit": "ten"}, "parameter_invalid"),
        ("windows", {"limit": "-1"}, "parameter_invalid"),
        ("windows", {"limit": "٣"}, "parameter_invalid"),
        ("windows", {"limit": ["1", "2"]}, "parameter_invalid"),
        ("windows", {"cursor": "nonsense"}, "cursor_invalid"),
        ("windows", {"cursor": "WzE3XQ:1:sig"}, "cursor_invalid"),
        ("windows", {"cursor": "\u0000"}, "cursor_invalid"),
        ("windows/current", {"region": "europe"}, "parameter_invalid"),
        ("obligations", {"window": "abc"}, "parameter_invalid"),
        ("obligations", {"window": str(2**63)}, "parameter_invalid"),
        ("obligations", {"window": "9" * 5000}, "parameter_invalid"),
        ("obligations", {"participant": "a\u0000b"}, "parameter_invalid"),
        ("instructions", {"status": "Done"}, "parameter_invalid"),
        ("instructions", {"window": "1.5"}, "parameter_invalid"),
        ("accounts", {"colour": "red"}, "parameter_unknown"),
        ("accounts", {"currency": "Dollar"}, "parameter_invalid"),
        ("windows", {"status": ""}, "parameter_invalid"),
        ("metrics", {"since": "now"}, "parameter_unknown"),
    ],
)
def test_a_query_parameter_that_cannot_be(
    operator: Caller, path: str, parameters: dict[str, Any], code: str
) -> None:
    is_problem(operator.get(path, **parameters), 422, code)


@pytest.mark.parametrize("path", ["obligations", "instructions"])
def test_a_filter_that_finds_no_window_or_participant(operator: Caller, path: str) -> None:
    is_problem(operator.get(path, window=17), 404, "unknown_window")
    is_problem(operator.get("accounts", participant="NOBODY"), 404, "unknown_participant")


def test_a_cursor_of_another_list_is_refused(operator: Caller) -> None:
    for region in ("ADGM", "Americas"):
        operator.post("windows", {"region": region})
    cursor = operator.get("windows", limit=1).json()["next"]

    assert operator.get("windows", limit=1, cursor=cursor).status_code == 200
    is_problem(operator.get("windows", limit=1, cursor=cursor, status="Open"), 422, "cursor_invalid")
    is_problem(operator.get("windows", cursor=cursor[:-1]), 422, "cursor_invalid")


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
def test_a_body_beyond_the_limit(operator: Caller) -> None:
    answer = operator.post("obligations", {"obligations": [], "region": "x" * 2000})

    assert is_problem(answer, 413, "body_too_large")["bytes_max"] == 1000


@pytest.mark.parametrize("path", [*POSTS, "participants/BANK-A/limits"])
def test_a_body_of_unknown_length(operator: Caller, path: str) -> None:
    method = "PUT" if path.endswith("limits") else "POST"
    headers = {
        "Authorization": f"Bearer {operator.token}",
        "Transfer-Encoding": "chunked",
        "If-Match": "*",
    }

    answer = operator.client.generic(
        method, f"/api/v1/clearing/{path}", "", content_type="application/json", headers=headers
    )

    is_problem(answer, 411, "length_required")


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/nowhere", "/favicon.ico", "/api/nowhere"])
def test_who_asks_for_no_page_gets_a_problem_everywhere(path: str) -> None:
    is_problem(Caller().get(path), 404, "not_found")


def test_a_browser_gets_a_page_outside_the_api() -> None:
    page = Caller().client.get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})

    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_an_answer_in_another_media_type(operator: Caller) -> None:
    headers = {"Authorization": f"Bearer {operator.token}", "Accept": "text/html"}

    is_problem(operator.client.get("/api/v1/clearing/windows", headers=headers), 406, "not_acceptable")


def test_a_host_that_is_not_ours() -> None:
    answer = Caller().client.get("/api/v1/clearing/windows", headers={"Host": "evil.example"})

    is_problem(answer, 400, "request_malformed")


def test_a_slash_at_the_end_changes_nothing(operator: Caller) -> None:
    opened = operator.post("windows/", {"region": "ADGM"})

    assert opened.status_code == 201
    assert operator.get(f"windows/{opened.json()['id']}/").status_code == 200
    assert operator.get("windows/").json() == operator.get("windows").json()
    for path in ("/metrics/", "/health/live/", "/health/ready/", "/api/schema/"):
        assert operator.get(path).status_code == operator.get(path.rstrip("/")).status_code != 404


def test_nothing_of_an_unexpected_failure_leaves_the_house(
    operator: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(windows, "get", lambda _: 1 / 0)

    problem = is_problem(operator.get("windows/1"), 500, "internal_error")

    assert "division" not in str(problem)
    assert "division" in caplog.text


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_database_that_goes_away_is_told_as_such(operator: Caller) -> None:
    cut_off(backend())

    answer = operator.get("windows/1")
    connection.close()

    is_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    is_problem(operator.get("windows/1"), 404, "unknown_window")
