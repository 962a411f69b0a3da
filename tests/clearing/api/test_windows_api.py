"""Windows through the REST door: read, opened, closed, processed, rolled back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from clearing import operations, queries, windows
from clearing.events.catalog import rfc3339
from clearing.models import AtomicOperation, ClearingWindow, RegionSchedule, WindowEvent
from clearing.states import OperationStatus, OperationType, Region, WindowStatus
from tests import factories
from tests.clearing.api.caller import Caller, is_problem
from tests.factories import A, B, C

pytestmark = pytest.mark.django_db

TRIANGLE = """
    BANK-A owes BANK-B 500 USD
    BANK-B owes BANK-A 200 USD
    BANK-B owes BANK-C 300 USD
    BANK-A owes BANK-C 7 JPY
"""


@pytest.fixture
def closed(db: None) -> ClearingWindow:
    """A sealed window with four obligations of three banks."""
    factories.circle()
    return factories.closed(*factories.story(TRIANGLE))


@pytest.fixture
def completed(closed: ClearingWindow) -> ClearingWindow:
    """The same, settled."""
    factories.settled(closed)
    return windows.get(closed.pk)


def test_windows_are_listed_latest_first_and_filtered(operator: Caller) -> None:
    first = factories.closed()
    second = factories.window()

    assert [row["id"] for row in operator.get("windows").json()["results"]] == [second.pk, first.pk]
    assert [row["id"] for row in operator.get("windows", status="Open").json()["results"]] == [second.pk]
    assert operator.get("windows", region="Europe").json() == {"results": [], "next": None}


def test_pages_join_without_gap_or_repeat(operator: Caller) -> None:
    made = [factories.closed().pk for _ in range(5)]

    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = operator.get("windows", limit=2, cursor=cursor).json()
        assert len(page["results"]) <= 2
        seen += [row["id"] for row in page["results"]]
        cursor = page["next"]

    assert seen == made[::-1]


def test_the_current_window_is_the_accepting_one(operator: Caller) -> None:
    factories.closed()
    opened = factories.window()

    assert operator.get("windows/current", region="Americas").json()["id"] == opened.pk
    is_problem(operator.get("windows/current", region="Europe"), 404, "no_accepting_window")
    is_problem(operator.get("windows/current"), 404, "no_accepting_window")


def test_without_a_window_the_next_scheduled_opening_is_told(operator: Caller) -> None:
    RegionSchedule.objects.filter(pk="Europe").update(is_enabled=False)
    soon = timezone.now() + timedelta(days=2)
    RegionSchedule.objects.filter(pk="Global").update(waits_until=soon)
    RegionSchedule.objects.filter(pk="ADGM").update(waits_until=timezone.now() - timedelta(hours=3))

    by_hand = operator.get("windows/current", region="Europe")
    waiting = operator.get("windows/current", region="Global")
    due = operator.get("windows/current", region="ADGM")

    is_problem(by_hand, 404, "no_accepting_window")
    assert by_hand.json()["next_opening_at"] is None
    assert waiting.json()["next_opening_at"] == rfc3339(soon)
    opening = datetime.fromisoformat(due.json()["next_opening_at"])
    assert abs(opening - timezone.now()) < timedelta(minutes=1)


def test_a_window_shows_its_traffic_in_major_units(operator: Caller, closed: ClearingWindow) -> None:
    shown = operator.get(f"windows/{closed.pk}").json()

    assert shown["traffic"] == [
        {"currency": "JPY", "obligations_count": 1, "gross": "7"},
        {"currency": "USD", "obligations_count": 3, "gross": "10.00"},
    ]
    assert shown["obligations_count"] == 4
    assert (shown["total_volume"], shown["netted_volume"], shown["operation_id"]) == ("", "", None)
    assert datetime.fromisoformat(shown["cutoff_at"]).utcoffset() == timedelta(0)


def test_where_a_window_stands(operator: Caller, completed: ClearingWindow) -> None:
    shown = operator.get(f"windows/{completed.pk}/status").json()

    assert (shown["status"], shown["obligations_count"]) == ("Completed", 4)
    assert shown["netting_efficiency"] == 0.525
    assert shown["timestamp"].endswith("Z")


def test_a_window_is_opened_once_a_region(operator: Caller) -> None:
    cutoff_at = (timezone.now() + timedelta(hours=2)).astimezone(UTC)

    opened = operator.post("windows", {"region": "ADGM", "cutoff_at": cutoff_at.isoformat()})

    assert opened.status_code == 201
    window = windows.accepting(Region.ADGM)
    assert opened.json()["id"] == window.pk
    assert window.cutoff_at == cutoff_at
    again = operator.post("windows", {"region": "ADGM"})
    assert is_problem(again, 409, "window_already_open")["window_id"] == window.pk


def test_a_window_is_netted_in_the_mode_it_was_opened_with(operator: Caller) -> None:
    opened = operator.post("windows", {"region": "Americas", "netting_mode": "conservative"})
    refused = operator.post("windows", {"region": "AsiaPacific", "netting_mode": "magic"})

    assert opened.json()["netting_mode"] == "conservative"
    is_problem(refused, 422, "body_invalid")


def test_a_window_weighs_as_it_was_opened_and_only_in_conservative_mode(operator: Caller) -> None:
    conservative = {"region": "Americas", "netting_mode": "conservative", "weights": "age"}

    opened = operator.post("windows", conservative)
    refused = operator.post("windows", {"region": "AsiaPacific", "weights": "priority"})
    unknown = operator.post("windows", {"region": "AsiaPacific", "weights": "size"})

    assert (opened.status_code, opened.json()["weights"]) == (201, "age")
    problem = is_problem(refused, 422, "weights_need_conservative")
    assert (problem["weights"], problem["netting_mode"]) == ("priority", "multilateral")
    is_problem(unknown, 422, "body_invalid")


@pytest.mark.parametrize(
    ("cutoff_at", "status", "code"),
    [
        ("2020-01-01T00:00:00Z", 422, "cutoff_not_ahead"),
        ("0001-01-01T00:00:00+14:00", 422, "cutoff_not_ahead"),
        ("9999-12-31T23:59:59-12:00", 422, "cutoff_too_far"),
        ("2026-01-01T00:00:00", 422, "body_invalid"),
        ("tomorrow", 422, "body_invalid"),
        (17, 422, "body_invalid"),
    ],
)
def test_a_cutoff_is_ahead_and_not_too_far(operator: Caller, cutoff_at: Any, status: int, code: str) -> None:
    is_problem(operator.post("windows", {"region": "ADGM", "cutoff_at": cutoff_at}), status, code)

    assert not ClearingWindow.objects.exists()


def test_force_close_seals_now_and_keeps_the_reason(operator: Caller) -> None:
    opened = factories.window()

    answer = operator.post("force-close", {"window_id": opened.pk, "reason": " asked by treasury "})

    assert answer.status_code == 200
    assert answer.json()["status"] == windows.get(opened.pk).status == WindowStatus.CLOSED
    closing = opened.operations.get(operation_type=OperationType.WINDOW_CLOSE)
    assert closing.reason == "asked by treasury"
    again = operator.post("force-close", {"window_id": opened.pk, "reason": "again"})
    assert is_problem(again, 409, "illegal_move")["from_status"] == "Closed"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "a\u0000b", "\u200b"])
def test_force_close_asks_for_a_reason(operator: Caller, reason: str) -> None:
    opened = factories.window()

    is_problem(
        operator.post("force-close", {"window_id": opened.pk, "reason": reason}), 422, "reason_invalid"
    )
    is_problem(operator.post("force-close", {"window_id": opened.pk}), 422, "body_invalid")

    assert windows.get(opened.pk).status == WindowStatus.OPEN


def test_processing_starts_and_is_not_started_twice(operator: Caller, closed: ClearingWindow) -> None:
    answer = operator.post(f"windows/{closed.pk}/process")

    assert answer.status_code == 202
    run = queries.run_of(closed)
    assert run is not None
    assert answer.json()["operation_id"] == str(run.pk)
    assert answer.json()["status"] == windows.get(closed.pk).status == WindowStatus.PROCESSING
    again = operator.post(f"windows/{closed.pk}/process", {"reason": "again"})
    assert is_problem(again, 409, "already_processing")["operation_id"] == str(run.pk)


def test_an_open_window_is_not_processed(operator: Caller) -> None:
    opened = factories.window()

    problem = is_problem(operator.post(f"windows/{opened.pk}/process"), 409, "cutoff_not_reached")

    assert problem["current_status"] == "Open"
    assert not AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING).exists()


def test_a_completed_window_is_not_processed_again(operator: Caller, completed: ClearingWindow) -> None:
    is_problem(operator.post(f"windows/{completed.pk}/process", {}), 409, "window_final")


def test_a_rollback_undoes_the_run_and_names_what_it_undid(operator: Caller, closed: ClearingWindow) -> None:
    run = factories.running(closed, applied=3)

    answer = operator.post(f"rollback/{closed.pk}", {"reason": "wrong file"})

    assert answer.status_code == 200
    assert answer.json()["status"] == windows.get(closed.pk).status == WindowStatus.ROLLED_BACK
    assert answer.json()["operations_rolled_back"][-1] == str(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error_message) == (OperationStatus.ROLLED_BACK, "wrong file")
    assert operator.get(f"windows/{closed.pk}/positions").json()["results"] == []


def test_a_rollback_of_nothing_is_no_success(operator: Caller, closed: ClearingWindow) -> None:
    is_problem(operator.post(f"rollback/{closed.pk}", {"reason": "?"}), 409, "nothing_to_roll_back")


def test_a_final_run_is_not_rolled_back(operator: Caller, completed: ClearingWindow) -> None:
    before = factories.snapshot()

    is_problem(operator.post(f"rollback/{completed.pk}", {"reason": "too late"}), 409, "already_final")

    assert factories.snapshot() == before


def test_the_result_of_a_completed_window(operator: Caller, completed: ClearingWindow) -> None:
    shown = operator.get(f"windows/{completed.pk}/result").json()

    assert (shown["status"], shown["window_status"]) == ("Success", "Completed")
    assert shown["currencies"][1] == {
        "currency": "USD",
        "obligations_count": 3,
        "participants_count": 3,
        "gross": "10.00",
        "net": "3.00",
        "saved": "7.00",
        "bound": "3.00",
        "efficiency": 0.7,
    }
    assert [row["net"] for row in shown["positions"] if row["currency"] == "USD"] == ["-3.00", "0.00", "3.00"]
    assert shown["instructions_count"] == len(shown["instructions"]) == 4
    assert {row["amount"] for row in shown["instructions"]} == {"3.00", "7"}
    assert shown["errors"] == []
    assert isinstance(shown["processing_time_ms"], int)


def test_a_participant_sees_its_own_part_of_the_result(closed: ClearingWindow, as_participant: Any) -> None:
    run = factories.running(closed, applied=3)
    bank_c = as_participant(C)

    shown = bank_c.get(f"windows/{closed.pk}/result").json()
    assert {row["participant"] for row in shown["positions"]} == {C}

    operations.roll_back(run.pk, at=timezone.now(), reason=f"{A} is short of 3.00 USD")
    errors = bank_c.get(f"windows/{closed.pk}/result").json()["errors"]
    assert [(error["code"], error["message"]) for error in errors] == [("rolled_back_by_request", "")]


def test_positions_per_participant_and_per_pair(operator: Caller, completed: ClearingWindow) -> None:
    pairs = operator.get(f"windows/{completed.pk}/positions", kind="bilateral").json()["results"]
    first = operator.get(f"windows/{completed.pk}/positions", limit=2).json()
    second = operator.get(f"windows/{completed.pk}/positions", limit=2, cursor=first["next"]).json()

    assert [(row["participant"], row["currency"], row["net"]) for row in first["results"]] == [
        (A, "JPY", "-7"),
        (C, "JPY", "7"),
    ]
    assert [row["participant"] for row in second["results"]] == [A, B]
    usd = next(row for row in pairs if row["currency"] == "USD")
    assert (usd["gross_debit"], usd["gross_credit"], usd["net_amount"]) == ("5.00", "2.00", "3.00")
    assert (usd["direction"], usd["netting_ratio"]) == ("Debit", 0.5714)


def test_events_come_in_sequence(operator: Caller, completed: ClearingWindow) -> None:
    shown = operator.get(f"windows/{completed.pk}/events").json()["results"]

    assert [row["sequence"] for row in shown] == list(range(1, len(shown) + 1))
    assert shown[-1]["event_type"] == "Completed"
    assert {row["event_id"] for row in shown} == {
        str(key) for key in WindowEvent.objects.values_list("event_id", flat=True)
    }


def test_an_operation_carries_its_checkpoints(operator: Caller, completed: ClearingWindow) -> None:
    listed = operator.get(f"windows/{completed.pk}/operations").json()["results"]
    run = next(row for row in listed if row["operation_type"] == "WindowClearing")
    shown = operator.get(f"operations/{run['id']}").json()

    assert [row["name"] for row in shown["checkpoints"]] == [
        "window_status_changed",
        "obligations_collected",
        "netting_calculated",
        "instructions_generated",
    ]
    assert {row["status"] for row in shown["checkpoints"]} == {"Applied"}
    assert shown == run


def test_the_preview_is_what_the_result_then_says(operator: Caller, closed: ClearingWindow) -> None:
    before = factories.snapshot()

    foreseen = operator.get(f"windows/{closed.pk}/preview").json()
    assert factories.snapshot() == before
    factories.settled(closed)
    shown = operator.get(f"windows/{closed.pk}/result").json()

    for name in ("currencies", "positions", "efficiency", "instructions_count", "obligations_count"):
        assert foreseen[name] == shown[name]
