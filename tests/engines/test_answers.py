"""What the engine says: late, doubled, false, contradicting itself; and what PostgreSQL refuses of it."""

from datetime import timedelta

import pytest

from clearing import finality, queries, settling, steps, windows
from clearing.models import ClearingWindow
from clearing.states import OperationStatus, ResultStatus, WindowStatus
from settlement.models import Execution
from settlement.rails import executions
from settlement.rails.executions import Answer, Outcome
from settlement.states import ExecutionStatus
from tests.database import refused, sql
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, assert_settled_once, committed, one_in_currency, settle
from tests.factories import A, B, balances, snapshot

pytestmark = pytest.mark.django_db


# --- events -----------------------------------------------------------------------------------------


def test_an_event_is_a_knock_upon_which_the_engine_is_asked(engine: Engine) -> None:
    engine.start(choose=one_in_currency("late"), late_seconds=3600)
    operation = committed()
    finality.settle(operation.pk, at=AT)
    waiting = Execution.objects.filter(status=ExecutionStatus.EXECUTING).earliest("pk")
    engine.execute_now(str(waiting.pk))

    knock = [(waiting.settlement_id, "", Outcome.COMPLETED)] * 2
    assert settling.hear(knock, at=AT + timedelta(milliseconds=1)) == {operation.pk}
    finality.settle(operation.pk, at=AT + timedelta(milliseconds=1))

    waiting.refresh_from_db()
    assert (waiting.status, waiting.asks) == (ExecutionStatus.COMPLETED, 1)


def test_events_that_are_false_late_or_about_nobody_change_nothing(engine: Engine) -> None:
    engine.start(choose=one_in_currency("late"), late_seconds=3600)
    operation = committed()
    finality.settle(operation.pk, at=AT)
    waiting = Execution.objects.get(status=ExecutionStatus.EXECUTING)
    done = Execution.objects.filter(status=ExecutionStatus.COMPLETED)[0]

    settling.hear(
        [
            (waiting.settlement_id, "", Outcome.COMPLETED),
            (done.settlement_id, str(done.pk), Outcome.FAILED),
            (done.settlement_id, "", Outcome.EXECUTING),
            ("S-nobody", "not-a-uuid", Outcome.COMPLETED),
        ],
        at=AT,
    )
    finality.settle(operation.pk, at=AT)

    waiting.refresh_from_db()
    done.refresh_from_db()
    assert (waiting.status, done.status) == (ExecutionStatus.EXECUTING, ExecutionStatus.COMPLETED)
    assert done.contradicted_at is None


def test_texts_that_no_database_stores_keep_no_outcome_from_being_written_down(engine: Engine) -> None:
    engine.start(choose=lambda _: "noise", late_seconds=0.05)
    operation = committed()

    settling.hear([("\0", "\0", Outcome.COMPLETED), ("x" * 1000, "", Outcome.FAILED)], at=AT)
    settle(operation)

    assert_settled_once(engine, operation)
    for row in Execution.objects.all():
        assert row.settlement_id.startswith(f"S-{str(row.pk)[:8]}-")
        assert "\0" not in row.settlement_id + row.reference + row.confirmation_code + row.message


def test_an_engine_that_takes_a_completion_back_is_an_alarm_and_changes_no_books(engine: Engine) -> None:
    engine.start()
    operation = committed()
    settle(operation)
    done = Execution.objects.filter(instruction__payer__code=A)[0]
    before = snapshot()

    settling.record(
        operation.pk, [(executions.question(done), Answer(Outcome.FAILED, message="returned"))], at=AT
    )
    settling.record(
        operation.pk, [(executions.question(done), Answer(Outcome.FAILED, message="returned"))], at=AT
    )

    done.refresh_from_db()
    assert (done.status, done.contradicted_at) == (ExecutionStatus.COMPLETED, AT)
    assert snapshot() == before
    told = windows.get(operation.window_id).events.filter(event_type="InstructionsContradicted")
    assert [event.data["instructions"][0]["instruction_id"] for event in told] == [str(done.instruction_id)]


def test_an_engine_that_has_another_order_under_our_id_is_not_believed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start(choose=one_in_currency("timeout"))
    operation = committed()
    finality.settle(operation.pk, at=AT)
    for entry in engine.service._settlements.values():
        entry["amount"] = "0.01"

    finality.settle(operation.pk, at=AT + timedelta(hours=1))

    row = Execution.objects.get(status=ExecutionStatus.UNKNOWN)
    assert row.contradicted_at is not None
    assert "0.01" in row.message


# --- late and doubled answers ------------------------------------------------------------------------


def test_a_late_answer_of_a_sender_that_was_given_up_counts_if_it_is_a_fact(engine: Engine) -> None:
    engine.name()
    operation = committed("BANK-A owes BANK-B 500 USD", transfers="direct")
    finality.begin(operation.pk, at=AT)
    (slow,) = executions.claim(operation.pk, at=AT, limit=8)
    (later,) = executions.claim(operation.pk, at=AT + executions.lease(), limit=8)
    assert (slow.is_question, later.is_question) == (False, True)

    settling.record(operation.pk, [(later, Answer(Outcome.ABSENT))], at=AT)
    settling.record(operation.pk, [(slow, Answer(Outcome.UNKNOWN))], at=AT)
    assert Execution.objects.get().status == ExecutionStatus.PLANNED
    settling.record(operation.pk, [(slow, Answer(Outcome.COMPLETED))], at=AT)

    assert executions.claim(operation.pk, at=AT + timedelta(hours=1), limit=8) == []
    assert balances(B)["USD"] == (1500, 0)
    settling.record(operation.pk, [(slow, Answer(Outcome.COMPLETED))], at=AT)
    assert balances(B)["USD"] == (1500, 0)


def test_silence_about_an_earlier_claim_does_not_undo_what_a_later_one_knows(engine: Engine) -> None:
    engine.name()
    operation = committed("BANK-A owes BANK-B 500 USD", transfers="direct")
    finality.begin(operation.pk, at=AT)
    (slow,) = executions.claim(operation.pk, at=AT, limit=8)
    (later,) = executions.claim(operation.pk, at=AT + executions.lease(), limit=8)
    settling.record(operation.pk, [(later, Answer(Outcome.EXECUTING, settlement_id="S-1"))], at=AT)

    settling.record(operation.pk, [(slow, Answer(Outcome.ABSENT))], at=AT)
    settling.record(operation.pk, [(slow, Answer(Outcome.UNKNOWN))], at=AT)

    row = Execution.objects.get()
    assert (row.status, row.contradicted_at) == (ExecutionStatus.EXECUTING, None)


# --- what PostgreSQL refuses ------------------------------------------------------------------------


def test_postgresql_refuses_a_second_live_attempt_and_an_unconfirmed_completion(engine: Engine) -> None:
    engine.name()
    operation = committed("BANK-A owes BANK-B 500 USD", transfers="direct")
    finality.begin(operation.pk, at=AT)
    executions.claim(operation.pk, at=AT, limit=8)
    row = Execution.objects.get()

    with refused("one_live_execution"):
        Execution.objects.create(instruction=row.instruction, batch_id=operation.pk, attempt=2, next_at=AT)
    with refused("completion_is_confirmed"):
        sql("UPDATE settlement_settlementinstruction SET status = 'Completed', settled_at = now()")
    with refused("append_only"):
        Execution.objects.all().delete()
    with refused("append_only"):
        Execution.objects.update(attempt=2)
    with refused("first_attempt_bears_the_instruction"):
        sql(
            "INSERT INTO settlement_execution (id, instruction_id, batch_id, attempt, rail, status, next_at)"
            " SELECT gen_random_uuid(), id, batch_id, 1, 'Engine', 'Planned', now()"
            " FROM settlement_settlementinstruction"
        )


def test_the_window_shows_partial_success_while_an_instruction_has_failed(engine: Engine) -> None:
    engine.start(choose=one_in_currency("reject"))
    operation = committed()

    settle(operation, until=lambda: Execution.objects.filter(status="Failed").exists())

    window = ClearingWindow.objects.get(pk=operation.window_id)
    result = queries.result(window)
    assert (window.status, result.status) == (WindowStatus.SETTLING, ResultStatus.PARTIAL_SUCCESS)
    assert [error.code for error in result.errors] == ["instruction_failed"]
    assert steps.get(operation.pk).status == OperationStatus.COMMITTED
