"""
Settling through an outside engine: whatever goes wrong between us and it, each instruction is executed once.

The engine of these tests is forgetful: it executes an order as often as it is sent, so a blind repetition
would show as money moved twice.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from clearing import finality, operations, pipeline, settling, windows
from clearing.faults import FaultInjected
from clearing.operations import AlreadyFinal
from clearing.states import OperationStatus, OperationType, WindowStatus
from clearing_project import remote
from settlement.models import Execution, SettlementInstruction
from settlement.rails import executions
from settlement.rails.engine import NAME, deliver
from settlement.rails.executions import Outcome
from settlement.states import ExecutionStatus, InstructionStatus
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, DAY, assert_settled_once, committed, one_in_currency, settle, status
from tests.factories import A, B, C, balances, circle, closed, running, snapshot, story

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("mode", ["", "timeout", "lost", "twice", "late"])
def test_whatever_the_engine_does_each_instruction_is_executed_once(engine: Engine, mode: str) -> None:
    engine.start(choose=lambda _: mode, late_seconds=0.05, is_forgetful=True)
    operation = committed()

    settle(operation)

    assert_settled_once(engine, operation)
    sent_again = {key for key, count in engine.count("received").items() if count > 1}
    assert sent_again == (set(engine.count("executed")) if mode == "lost" else set())


def test_an_unknown_outcome_is_a_state_of_its_own_and_is_asked_for(engine: Engine) -> None:
    engine.start(choose=one_in_currency("timeout"), is_forgetful=True)
    operation = committed()

    finality.settle(operation.pk, at=AT)

    unknown = Execution.objects.filter(status=ExecutionStatus.UNKNOWN)
    assert {row.instruction.currency.code for row in unknown} == {"JPY"}
    assert status(operation) == WindowStatus.SETTLING
    assert {row.instruction.status for row in unknown} == {InstructionStatus.IN_PROGRESS}
    settle(operation, at=AT + timedelta(hours=1))
    assert_settled_once(engine, operation)
    assert Execution.objects.filter(asks__gt=0).count() == 2


def test_an_unknown_outcome_that_was_not_executed_is_sent_again_after_the_engine_said_so(
    engine: Engine,
) -> None:
    engine.start(choose=one_in_currency("lost"), is_forgetful=True)
    operation = committed()

    settle(operation)

    assert_settled_once(engine, operation)
    assert {row.sends for row in Execution.objects.filter(instruction__currency__code="JPY")} == {2}
    assert {row.sends for row in Execution.objects.filter(instruction__currency__code="USD")} == {1}


def test_the_agent_pays_out_only_what_has_been_paid_in(engine: Engine) -> None:
    engine.start(choose=lambda order: "late" if order.startswith(C) else "", late_seconds=0.3)
    operation = committed()

    finality.settle(operation.pk, at=AT)
    paid_out = [each for each in engine.service.told("received") if each["from_bank"] == "AGENT"]
    assert paid_out == []
    assert balances("AGENT")["USD"] == (500, 0)
    settle(operation)

    assert_settled_once(engine, operation)


def test_the_books_follow_each_confirmation(engine: Engine) -> None:
    engine.start(choose=one_in_currency("lost", "USD"))
    operation = committed()

    finality.settle(operation.pk, at=AT)

    assert balances(C) == {**balances(C), "JPY": (600, 0), "USD": (1000, 300)}
    assert balances(A)["USD"] == (1000, 500)


def test_an_account_that_pays_and_receives_can_pay_before_it_receives(engine: Engine) -> None:
    """Its funds are reserved gross: no order of confirmations can overdraw it."""
    engine.start(choose=lambda order: "late" if order.startswith(B) else "", late_seconds=0.1)
    text = "BANK-A owes BANK-B 900 USD\nBANK-B owes BANK-C 800 USD"
    operation = committed(text, netting_mode="bilateral", min_netting_efficiency_bps=0)
    assert balances(B)["USD"] == (1000, 800)

    settle(operation)

    assert [balances(code)["USD"] for code in (A, B, C)] == [(100, 0), (1100, 0), (1800, 0)]


def test_an_account_that_lacks_the_gross_amount_fails_the_run_before_anything_is_sent(
    engine: Engine,
) -> None:
    engine.start()
    circle(700)
    text = "BANK-A owes BANK-B 700 USD\nBANK-B owes BANK-C 800 USD"
    with pytest.raises(Exception, match="BANK-B needs"):
        running(closed(*story(text), netting_mode="bilateral"), applied=4)

    assert engine.service.told("received") == []


@pytest.mark.parametrize("point", ["engine.claimed", "engine.answered"])
def test_a_crash_between_sending_and_marking_is_resolved_by_asking(
    engine: Engine, point: str, tmp_path: Path, settings: Settings
) -> None:
    settings.CLEARING = {**settings.CLEARING, "FAULTS": str(tmp_path)}
    engine.start(is_forgetful=True)
    operation = committed()
    (tmp_path / point).write_text("raise")

    with pytest.raises(FaultInjected):
        finality.settle(operation.pk, at=AT)
    assert set(Execution.objects.exclude(sends=0).values_list("status", flat=True)) == {"Sending"}
    too_early = finality.settle(operation.pk, at=AT + timedelta(seconds=0.1))

    assert too_early is not None
    assert timedelta() <= too_early - AT - executions.lease() < timedelta(seconds=1)
    settle(operation, at=too_early)
    assert_settled_once(engine, operation)


def test_a_bearer_that_was_paused_past_its_claim_sends_nothing_any_more(engine: Engine) -> None:
    engine.start(is_forgetful=True)
    operation = committed()
    finality.begin(operation.pk, at=AT)
    claims = executions.claim(operation.pk, at=AT, limit=10)
    paused = [replace(each, made_at=each.made_at - executions.lease().total_seconds()) for each in claims]
    settle(operation, at=AT + timedelta(hours=1))

    answers = deliver(paused)

    assert paused
    assert {answer.outcome for _, answer in answers} == {Outcome.UNKNOWN}
    settling.record(operation.pk, answers, at=AT + timedelta(hours=2))
    assert_settled_once(engine, operation)


def test_the_circuit_opens_while_the_engine_is_away_and_closes_when_it_is_back(
    engine: Engine, settings: Settings
) -> None:
    settings.REMOTE = {**settings.REMOTE, "FAILURES_MAX": 1, "RESET_SECONDS": 3600}
    engine.name()
    operation = committed()
    breaker = remote.of(NAME).breaker

    due_at = finality.settle(operation.pk, at=AT)
    assert breaker.current_state == "open"
    assert due_at is not None
    assert due_at >= AT + timedelta(seconds=3600)
    finality.settle(operation.pk, at=due_at)
    assert set(Execution.objects.exclude(sends=0).values_list("status", flat=True)) == {"Unknown"}
    assert "nothing was sent" in "".join(Execution.objects.values_list("message", flat=True))
    engine.start(is_forgetful=True)
    breaker.reset_timeout = 0.0
    settle(operation, at=due_at + timedelta(hours=1))

    assert breaker.current_state == "closed"

    assert_settled_once(engine, operation)


def test_an_engine_that_dies_and_comes_back_has_executed_each_once(engine: Engine) -> None:
    engine.start(choose=one_in_currency("late"), late_seconds=60, is_forgetful=True)
    operation = committed()
    finality.settle(operation.pk, at=AT)
    engine.stop()
    finality.settle(operation.pk, at=AT + timedelta(minutes=5))

    engine.start(late_seconds=0.05, is_forgetful=True)
    settle(operation, at=AT + timedelta(minutes=10))

    assert_settled_once(engine, operation)


def test_a_final_run_is_not_rolled_back_while_its_instructions_are_under_way(engine: Engine) -> None:
    engine.start(choose=lambda _: "timeout")
    operation = committed()
    finality.settle(operation.pk, at=AT)

    with pytest.raises(AlreadyFinal):
        operations.roll_back(operation.pk, at=AT)


def test_a_run_that_is_rolled_back_before_finality_leaves_no_plan_behind(engine: Engine) -> None:
    engine.start()
    circle(1000)
    cleared = closed(*story(DAY))
    before = snapshot()
    operation = running(cleared, applied=4)
    assert Execution.objects.count() == SettlementInstruction.objects.count() == 5

    operations.roll_back(operation.pk, at=AT)

    assert snapshot() == before
    assert not Execution.objects.exists()
    assert engine.service.told("received") == []


def test_releasing_a_held_run_leaves_the_sending_to_a_worker(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    engine.start()
    operation = committed(auto_settle=False)
    sent: list[object] = []
    monkeypatch.setattr(pipeline, "send", sent.append)

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        pipeline.clear(windows.get(operation.window_id), at=AT, release=True)

    assert (status(operation), sent) == (WindowStatus.SETTLING, [operation.pk])
    assert engine.service.told("received") == []


def test_the_window_completes_once(engine: Engine) -> None:
    engine.start()
    operation = committed()
    settle(operation)
    events = windows.get(operation.window_id).event_count

    assert finality.settle(operation.pk, at=AT + timedelta(hours=1)) is None

    assert windows.get(operation.window_id).event_count == events
    initiation = operation.children.get(operation_type=OperationType.SETTLEMENT_INITIATION)
    assert initiation.status == OperationStatus.COMMITTED


def test_with_no_engine_named_nothing_is_planned_and_the_batch_moves_as_one() -> None:
    operation = committed()

    assert finality.settle(operation.pk, at=AT) is None

    assert not Execution.objects.exists()
    assert status(operation) == WindowStatus.COMPLETED


def test_a_batch_keeps_the_way_it_was_issued_for(engine: Engine, settings: Settings) -> None:
    operation = committed()
    engine.start()

    finality.settle(operation.pk, at=AT)

    assert status(operation) == WindowStatus.COMPLETED
    assert engine.service.told("received") == []
