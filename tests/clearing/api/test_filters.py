"""Lists by what they are asked for, and what belongs to a thing in the same answer."""

from datetime import timedelta
from typing import Any

import pytest

from clearing import operations
from clearing.models import ClearingWindow
from tests import factories
from tests.clearing.api.caller import Caller, is_problem
from tests.factories import AT, A, B, C, obligation

pytestmark = pytest.mark.django_db


@pytest.fixture
def window() -> ClearingWindow:
    """A window cleared in two currencies, after a run that was undone."""
    factories.circle()
    items = [obligation(A, B), obligation(B, C, 7, currency="JPY")]
    shut = factories.closed(*items, min_netting_efficiency_bps=0)
    operations.roll_back(factories.running(shut, applied=2).pk, at=AT, reason="test")
    factories.settled(shut)
    return shut


def values(answer: Any, *names: str) -> set[Any]:
    assert answer.status_code == 200, answer.content
    rows = answer.json()["results"]
    assert rows
    return {tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows}


def test_obligations(operator: Caller, window: ClearingWindow) -> None:
    one = operator.get("obligations", window=window.pk, currency="JPY").json()["results"]
    assert [(row["payer"], row["currency"]) for row in one] == [(B, "JPY")]

    found = operator.get("obligations", window=window.pk, reference=one[0]["reference"])
    assert values(found, "id") == {one[0]["id"]}
    assert operator.get("obligations", window=window.pk, reference="none").json()["results"] == []
    is_problem(operator.get("obligations", reference=one[0]["reference"]), 422, "parameter_invalid")


def test_instructions_and_accounts(operator: Caller, window: ClearingWindow) -> None:
    assert values(operator.get("instructions", currency="JPY"), "currency") == {"JPY"}
    of_a = operator.get("instructions", participant=A).json()["results"]
    assert of_a
    assert all(A in (row["payer"], row["payee"]) for row in of_a)
    assert values(operator.get("accounts", currency="JPY"), "currency") == {"JPY"}
    assert operator.get("accounts", currency="XXX").json()["results"] == []
    is_problem(operator.get("accounts", currency="usd"), 422, "parameter_invalid")


def test_a_filter_never_widens_what_a_participant_sees(bank_a: Caller, window: ClearingWindow) -> None:
    assert values(bank_a.get("instructions"), "currency") == {"USD"}
    assert bank_a.get("instructions", participant=C, currency="JPY").json()["results"] == []
    assert bank_a.get(f"windows/{window.pk}/positions", participant=C).json()["results"] == []
    assert bank_a.get("obligations", window=window.pk, currency="JPY").json()["results"] == []


def test_positions(operator: Caller, window: ClearingWindow) -> None:
    path = f"windows/{window.pk}/positions"

    assert values(operator.get(path, participant=B), "participant", "currency") == {(B, "USD"), (B, "JPY")}
    assert values(operator.get(path, participant=B, currency="JPY"), "currency") == {"JPY"}
    pairs = operator.get(path, kind="bilateral", participant=A)
    assert values(pairs, "participant_a", "participant_b") == {(A, B)}


def test_events_and_operations(operator: Caller, window: ClearingWindow) -> None:
    events = operator.get(f"windows/{window.pk}/events", type="Completed")
    assert values(events, "event_type") == {"Completed"}

    path = f"windows/{window.pk}/operations"
    assert values(operator.get(path, status="RolledBack"), "status") == {"RolledBack"}
    runs = operator.get(path, type="WindowClearing", status="Committed").json()["results"]
    assert [row["operation_type"] for row in runs] == ["WindowClearing"]


def test_windows_by_when_they_opened(operator: Caller, window: ClearingWindow) -> None:
    opened, later = window.opens_at.isoformat(), (window.opens_at + timedelta(seconds=1)).isoformat()

    assert window.pk in values(operator.get("windows", opened_from=opened, opened_until=later), "id")
    assert operator.get("windows", opened_until=opened).json()["results"] == []
    for unsound in ("2026-03-10", "2026-03-10T10:00:00", "tomorrow"):
        is_problem(operator.get("windows", opened_from=unsound), 422, "parameter_invalid")


def test_participants_by_status(operator: Caller, window: ClearingWindow) -> None:
    assert values(operator.get("participants", status="Active"), "code") == {A, B, C}
    assert operator.get("participants", status="Suspended").json()["results"] == []


def test_what_belongs_to_a_window(operator: Caller, window: ClearingWindow) -> None:
    path = f"windows/{window.pk}"

    plain = operator.get(path).json()
    whole = operator.get(path, expand="result,operations").json()

    assert whole.pop("result") == operator.get(f"{path}/result").json()
    assert whole.pop("operations") == operator.get(f"{path}/operations").json()["results"]
    assert whole == plain
    is_problem(operator.get(path, expand="everything"), 422, "parameter_invalid")


def test_what_belongs_to_an_operation(operator: Caller, window: ClearingWindow) -> None:
    run = operator.get(f"windows/{window.pk}/operations").json()["results"][0]["id"]

    shown = operator.get(f"operations/{run}", expand="window").json()

    assert shown["window"]["id"] == window.pk
    assert "window" not in operator.get(f"operations/{run}").json()


def test_a_participant_expands_to_its_own_figures(bank_a: Caller, window: ClearingWindow) -> None:
    result = bank_a.get(f"windows/{window.pk}", expand="result").json()["result"]

    assert {row["participant"] for row in result["positions"]} == {A}
    is_problem(bank_a.get(f"windows/{window.pk}", expand="operations"), 403, "permission_denied")
