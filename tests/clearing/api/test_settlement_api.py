"""Instructions, participants, accounts and counts through the REST door."""

import uuid
from collections.abc import Callable

import pytest

from clearing.models import ClearingWindow
from tests import factories
from tests.clearing.api.caller import Caller, is_problem
from tests.factories import A, B, C, obligation

pytestmark = pytest.mark.django_db


@pytest.fixture
def completed(db: None) -> ClearingWindow:
    """A settled window: A pays 5.00 USD, B and C receive 2.00 and 3.00."""
    factories.circle()
    window = factories.closed(obligation(A, B, 2_00), obligation(A, C, 3_00))
    factories.settled(window)
    return window


def test_instructions_by_window_and_status(operator: Caller, completed: ClearingWindow) -> None:
    listed = operator.get("instructions", window=completed.pk, status="Completed").json()["results"]

    assert sorted((row["payer"], row["payee"], row["amount"]) for row in listed) == [
        ("AGENT", B, "2.00"),
        ("AGENT", C, "3.00"),
        (A, "AGENT", "5.00"),
    ]
    assert {row["window_id"] for row in listed} == {completed.pk}
    assert operator.get("instructions", status="Pending").json()["results"] == []
    assert operator.get(f"instructions/{listed[0]['id']}").json() == listed[0]
    is_problem(operator.get(f"instructions/{uuid.uuid4()}"), 404, "unknown_instruction")


def test_instructions_page_by_page(operator: Caller, completed: ClearingWindow) -> None:
    first = operator.get("instructions", limit=2).json()
    second = operator.get("instructions", limit=2, cursor=first["next"]).json()

    assert (len(first["results"]), len(second["results"]), second["next"]) == (2, 1, None)
    assert len({row["id"] for row in first["results"] + second["results"]}) == 3


def test_a_participant_sees_its_own_settlement(
    completed: ClearingWindow, as_participant: Callable[[str], Caller]
) -> None:
    bank_b = as_participant(B)

    (own,) = bank_b.get("instructions").json()["results"]
    assert (own["payee"], own["amount"]) == (B, "2.00")
    assert {row["participant"] for row in bank_b.get("accounts").json()["results"]} == {B}
    assert bank_b.get("accounts", participant=A).json()["results"] == []
    assert [row["code"] for row in bank_b.get("participants").json()["results"]] == [B]
    is_problem(bank_b.get(f"participants/{A}"), 404, "unknown_participant")
    positions = bank_b.get(f"windows/{completed.pk}/positions").json()["results"]
    assert [(row["participant"], row["net"]) for row in positions] == [(B, "2.00")]
    pairs = bank_b.get(f"windows/{completed.pk}/positions", kind="bilateral").json()["results"]
    assert [(row["participant_a"], row["participant_b"]) for row in pairs] == [(A, B)]


def test_another_participants_instruction_is_not_there(
    operator: Caller, completed: ClearingWindow, as_participant: Callable[[str], Caller]
) -> None:
    listed = operator.get("instructions").json()["results"]
    others = next(row["id"] for row in listed if row["payee"] == C)

    is_problem(as_participant(B).get(f"instructions/{others}"), 404, "unknown_instruction")


def test_a_participant_with_its_accounts(operator: Caller, completed: ClearingWindow) -> None:
    shown = operator.get(f"participants/{A}").json()

    assert (shown["code"], shown["status"]) == (A, "Active")
    usd = next(row for row in shown["accounts"] if row["currency"] == "USD")
    assert usd == {
        "participant": A,
        "currency": "USD",
        "balance": "995.00",
        "reserved": "0.00",
        "available": "995.00",
        "floor": "0.00",
    }
    is_problem(operator.get("participants/NOBODY"), 404, "unknown_participant")


def test_accounts_show_the_decimals_of_their_currency(operator: Caller, completed: ClearingWindow) -> None:
    rows = operator.get("accounts", participant=C).json()["results"]

    assert {row["currency"]: row["balance"] for row in rows} == {
        "BHD": "100.000",
        "EUR": "1000.00",
        "JPY": "100000",
        "USD": "1003.00",
    }


def test_counts_of_the_whole_engine(operator: Caller, completed: ClearingWindow) -> None:
    shown = operator.get("metrics").json()

    assert shown["windows"] == {"Completed": 1}
    assert shown["operations"]["WindowClearing"] == {"Committed": 1}
    assert shown["instructions"] == {"Completed": 3}
    assert shown["obligations_cleared"] == 2
    assert shown["netting_efficiency"] == 0.0
    assert shown["events_unpublished"] > 0
