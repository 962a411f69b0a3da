"""Cancel, hold and release through the REST door."""

import pytest

from clearing import windows
from clearing.models import ClearingWindow
from tests import factories
from tests.clearing.api.caller import Caller, bulk, is_problem
from tests.factories import A, B, C, obligation

pytestmark = pytest.mark.django_db
BECAUSE = {"reason": "sent twice"}


@pytest.fixture
def window(db: None) -> ClearingWindow:
    """An accepting window and three banks."""
    factories.circle()
    return factories.window()


def sent(caller: Caller) -> str:
    """Take one obligation of A to B; return its id."""
    return str(caller.post("obligations", bulk(obligation(A, B, reference="one"))).json()["items"][0]["id"])


def test_a_participant_cancels_its_own_and_everyone_concerned_sees_it(
    operator: Caller, bank_a: Caller, window: ClearingWindow
) -> None:
    key = sent(bank_a)

    answer = bank_a.post(f"obligations/{key}/cancel", BECAUSE)

    assert answer.status_code == 200
    shown = operator.get(f"obligations/{key}").json()
    assert shown == answer.json()
    assert (shown["state"], shown["window_id"], shown["origin_window_id"]) == ("Cancelled", None, window.pk)
    assert {name: shown["aside"][name] for name in ("reason", "by")} == {"reason": "sent twice", "by": A}
    assert [(act["act"], act["by"]) for act in shown["acts"]] == [("Cancelled", A)]
    assert operator.get("obligations", window=window.pk).json()["results"] == []
    (listed,) = operator.get("obligations", window=window.pk, state="Cancelled").json()["results"]
    assert (listed["id"], listed["state"]) == (key, "Cancelled")
    again = bank_a.post("obligations", bulk(obligation(A, B, reference="one"))).json()
    assert (again["duplicate"], again["items"][0]["state"]) == (1, "Cancelled")


def test_another_participants_obligation_is_not_there(bank_a: Caller, window: ClearingWindow) -> None:
    (outcome,) = factories.take(obligation(B, C)).outcomes

    for act in ("cancel", "hold", "release"):
        refused = bank_a.post(f"obligations/{outcome.id}/{act}", BECAUSE)
        is_problem(refused, 404, "unknown_obligation")


def test_refusals_are_typed(operator: Caller, bank_a: Caller, window: ClearingWindow) -> None:
    (owed,) = factories.take(obligation(B, A), submitter=B).outcomes

    is_problem(bank_a.post(f"obligations/{owed.id}/cancel", BECAUSE), 403, "not_the_submitter")
    is_problem(bank_a.post(f"obligations/{owed.id}/release", BECAUSE), 409, "obligation_not_held")
    is_problem(bank_a.post(f"obligations/{owed.id}/hold", {"reason": " "}), 422, "reason_invalid")
    assert operator.post(f"obligations/{owed.id}/hold", BECAUSE).status_code == 200
    is_problem(bank_a.post(f"obligations/{owed.id}/hold", BECAUSE), 409, "obligation_held")
    is_problem(bank_a.post(f"obligations/{owed.id}/release", BECAUSE), 403, "not_the_holder")
    assert operator.post(f"obligations/{owed.id}/cancel", BECAUSE).status_code == 200
    is_problem(bank_a.post(f"obligations/{owed.id}/hold", BECAUSE), 409, "obligation_cancelled")


def test_after_the_cutoff_a_cancellation_is_a_conflict(operator: Caller, window: ClearingWindow) -> None:
    key = sent(operator)
    windows.close(window, at=window.cutoff_at)

    problem = is_problem(operator.post(f"obligations/{key}/cancel", BECAUSE), 409, "cutoff_passed")

    assert problem["window_id"] == window.pk


def test_a_disputed_obligation_is_in_the_result_but_no_part_of_it(
    operator: Caller, bank_a: Caller, window: ClearingWindow
) -> None:
    key = sent(operator)
    held = bank_a.post(f"obligations/{key}/hold", {"reason": "never ordered"}).json()
    factories.settled(windows.close(window, at=window.cutoff_at))

    result = operator.get(f"windows/{window.pk}/result").json()

    assert held["state"] == "Held"
    assert (result["obligations_count"], result["held"]) == (
        0,
        [{"currency": "USD", "obligations_count": 1, "gross": "10.00"}],
    )
    assert bank_a.get(f"windows/{window.pk}/result").json()["held"] == []
    following = factories.window()
    released = bank_a.post(f"obligations/{key}/release", {"reason": "found the order"}).json()
    assert (released["state"], released["window_id"], released["arrival"]) == (
        "InWindow",
        following.pk,
        "released",
    )
