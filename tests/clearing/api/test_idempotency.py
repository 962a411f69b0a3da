"""Idempotency-Key on every POST: done once, answered alike, and only a yes is kept."""

from typing import Any

import pytest

from clearing import access, windows
from clearing.api.idempotency import REPLAYED
from clearing.checkpoints import window_status_changed
from clearing.models import AtomicOperation, ClearingWindow, IdempotencyRecord, Obligation
from clearing.states import OperationStatus, OperationType, Region, WindowStatus
from tests import factories
from tests.clearing.api.caller import Caller, bulk, is_problem
from tests.database import sql, together
from tests.factories import A, B, obligation

pytestmark = pytest.mark.django_db

PARALLEL = 20


def same(first: Any, second: Any) -> None:
    """Hold two answers to be the same, the second replayed."""
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"


def test_a_repeated_intake_is_answered_as_the_first_time(operator: Caller) -> None:
    factories.circle()
    factories.window()
    sent = bulk(obligation(), obligation())

    first = operator.post("obligations", sent, key="k1")
    second = operator.post("obligations", sent, key="k1")

    same(first, second)
    assert second.json()["accepted"] == 2
    assert Obligation.objects.count() == 2


def test_a_repeated_opening_is_no_conflict(operator: Caller) -> None:
    first = operator.post("windows", {"region": "ADGM"}, key="k1")
    second = operator.post("windows", {"region": "ADGM"}, key="k1")

    same(first, second)
    assert ClearingWindow.objects.count() == 1


def test_a_repeated_close_process_and_rollback(operator: Caller) -> None:
    factories.circle()
    opened = factories.window()
    factories.take(obligation())
    close = {"window_id": opened.pk, "reason": "test"}

    same(operator.post("force-close", close, key="c"), operator.post("force-close", close, key="c"))
    process = f"windows/{opened.pk}/process"
    same(operator.post(process, key="p"), operator.post(process, key="p"))
    back, why = f"rollback/{opened.pk}", {"reason": "test"}
    same(operator.post(back, why, key="r"), operator.post(back, why, key="r"))

    runs = AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING)
    assert [run.status for run in runs] == [OperationStatus.ROLLED_BACK]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("windows", {"region": "Europe"}),
        ("force-close", {"region": "ADGM"}),
        ("windows?x=1", {"region": "ADGM"}),
    ],
)
def test_the_same_key_for_another_request_is_a_conflict(operator: Caller, path: str, body: Any) -> None:
    operator.post("windows", {"region": "ADGM"}, key="k1")

    is_problem(operator.post(path, body, key="k1"), 409, "idempotency_key_conflict")

    assert ClearingWindow.objects.count() == 1


def test_a_refusal_is_not_kept(operator: Caller) -> None:
    factories.circle()
    sent = bulk(obligation())

    is_problem(operator.post("obligations", sent, key="k1"), 404, "no_accepting_window")
    assert not IdempotencyRecord.objects.exists()
    factories.window()

    assert operator.post("obligations", sent, key="k1").status_code == 201


def test_keys_belong_to_their_callers(operator: Caller, bank_a: Caller) -> None:
    factories.window()

    assert bank_a.post("obligations", bulk(obligation(A, B)), key="k1").status_code == 201
    assert operator.post("obligations", bulk(obligation(A, B)), key="k1").status_code == 201

    assert Obligation.objects.count() == 2


@pytest.mark.parametrize("key", [" ", "x" * 256, "naïve", "a\tb"])
def test_a_key_that_cannot_be_kept(operator: Caller, key: str) -> None:
    answer = operator.post("windows", {"region": "ADGM"}, key=key)

    is_problem(answer, 422, "idempotency_key_invalid")
    assert not ClearingWindow.objects.exists()


def test_a_failure_after_the_work_undoes_work_and_record(operator: Caller) -> None:
    factories.circle()
    factories.window()
    sql("ALTER TABLE clearing_idempotencyrecord ADD CONSTRAINT nothing CHECK (false) NOT VALID")

    is_problem(operator.post("obligations", bulk(obligation()), key="k1"), 500, "internal_error")

    assert not Obligation.objects.exists()


def test_a_failed_rollback_stays_marked_with_a_key_as_without(
    operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.circle()
    closed = factories.closed(obligation())
    run = factories.running(closed, applied=2)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the undo is broken")

    monkeypatch.setattr(window_status_changed, "undo", broken)
    answer = operator.post(f"rollback/{closed.pk}", {"reason": "test"}, key="k1")

    is_problem(answer, 409, "rollback_failed")
    run.refresh_from_db()
    assert run.status == OperationStatus.ROLLBACK_FAILED
    assert not IdempotencyRecord.objects.exists()

    monkeypatch.undo()
    assert operator.post(f"rollback/{closed.pk}", {"reason": "test"}, key="k1").status_code == 200
    assert windows.get(closed.pk).status == WindowStatus.ROLLED_BACK


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_many_at_once_one_does_the_work() -> None:
    factories.circle()
    factories.window(Region.AMERICAS)
    caller = Caller(access.issue("operator", role="operator"))
    sent = bulk(obligation(), obligation())

    answers: list[Any] = together(
        *[lambda: caller.post("obligations", sent, key="k1") for _ in range(PARALLEL)]
    )

    assert {answer.status_code for answer in answers} == {201}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert Obligation.objects.count() == 2
    assert IdempotencyRecord.objects.count() == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_many_starts_at_once_start_one_run() -> None:
    factories.circle()
    closed = factories.closed(obligation())
    caller = Caller(access.issue("operator", role="operator"))

    answers: list[Any] = together(
        *[lambda: caller.post(f"windows/{closed.pk}/process", key="k1") for _ in range(PARALLEL)]
    )

    assert {answer.status_code for answer in answers} == {202}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING).count() == 1
