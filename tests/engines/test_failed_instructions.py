"""An instruction that the engine fails after finality: nothing goes back, and nothing is paid twice."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from clearing import finality, interventions, windows
from clearing.models import AtomicOperation, ClearingWindow, WindowEvent
from clearing.operations import ReasonInvalid
from clearing.rpc.topics import WindowInstructions
from clearing.states import WindowStatus
from settlement.models import Execution, Reservation, SettlementInstruction
from settlement.rails.attempts import EngineContradicts, EngineSilent, InstructionNotFailed
from settlement.states import ExecutionStatus, InstructionStatus
from tests.clearing.admin.conftest import client
from tests.database import refused, sql
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, committed, status
from tests.factories import A, B, balances

pytestmark = pytest.mark.django_db

LATER = AT + timedelta(hours=1)
ORDER = "BANK-A owes BANK-B 500 USD"
WHY = {"actor": "olga", "reason": "the engine's limit was raised"}


def failed(engine: Engine, *, text: str = ORDER) -> tuple[AtomicOperation, SettlementInstruction]:
    """Settle a batch of which the engine rejects the first payment of A."""
    rejected: list[str] = []

    def choose(order: str) -> str:
        if order.startswith(A) and not rejected:
            rejected.append(order)
            return "reject"
        return ""

    engine.start(choose=choose, is_forgetful=True)
    operation = committed(text, transfers="direct")
    finality.settle(operation.pk, at=AT)
    instruction = SettlementInstruction.objects.get(batch_id=operation.pk, payer__code=A)
    assert instruction.status == InstructionStatus.FAILED
    return operation, instruction


def test_a_failed_instruction_keeps_the_window_settling_and_its_funds_reserved_and_is_told_once(
    engine: Engine,
) -> None:
    operation, instruction = failed(engine)

    assert finality.settle(operation.pk, at=LATER) is None

    assert status(operation) == WindowStatus.SETTLING
    assert balances(A)["USD"] == (1000, 500)
    (event,) = WindowEvent.objects.filter(event_type="InstructionsFailed")
    assert event.data["instructions"] == [
        {
            "instruction_id": str(instruction.pk),
            "attempt": 1,
            "settlement_id": Execution.objects.get().settlement_id,
            "message": "rejected",
        }
    ]
    assert engine.count("received") == {str(instruction.pk): 1}


def test_a_retry_is_a_new_attempt_under_a_new_id(engine: Engine) -> None:
    operation, instruction = failed(engine)

    execution = interventions.retry(instruction.pk, at=LATER, **WHY)
    finality.settle(operation.pk, at=LATER)

    assert engine.count("executed") == {str(execution.pk): 1}
    assert engine.count("failed") == {str(instruction.pk): 1}
    assert status(operation) == WindowStatus.COMPLETED
    assert (balances(A)["USD"], balances(B)["USD"]) == ((500, 0), (1500, 0))
    first, second = Execution.objects.order_by("attempt")
    assert (first.status, second.status) == (ExecutionStatus.FAILED, ExecutionStatus.COMPLETED)
    assert (second.actor, second.reason) == (WHY["actor"], WHY["reason"])


def test_settled_by_hand_it_is_posted_and_nothing_is_sent(engine: Engine) -> None:
    operation, instruction = failed(engine)

    interventions.settle_by_hand(instruction.pk, at=LATER, **WHY)

    assert status(operation) == WindowStatus.COMPLETED
    assert (balances(A)["USD"], balances(B)["USD"]) == ((500, 0), (1500, 0))
    assert not Reservation.objects.exists()
    assert engine.count("received") == {str(instruction.pk): 1}


def test_settled_by_hand_even_if_the_engine_is_gone_but_not_tried_again(engine: Engine) -> None:
    _, instruction = failed(engine)
    engine.stop()

    with pytest.raises(EngineSilent):
        interventions.retry(instruction.pk, at=LATER, **WHY)
    interventions.settle_by_hand(instruction.pk, at=LATER, **WHY)

    assert balances(B)["USD"] == (1500, 0)


@pytest.mark.parametrize("verb", [interventions.retry, interventions.settle_by_hand])
def test_what_the_engine_has_executed_after_all_is_not_paid_again(
    engine: Engine, verb: Callable[..., object]
) -> None:
    _, instruction = failed(engine)
    engine.service._settlements[str(instruction.pk)]["what"] = "executed"

    for _ in range(2):
        with pytest.raises(EngineContradicts):
            verb(instruction.pk, at=LATER, **WHY)

    assert Execution.objects.count() == 1
    assert balances(B)["USD"] == (1000, 0)
    assert WindowEvent.objects.filter(event_type="InstructionsContradicted").count() == 1


@pytest.mark.parametrize("verb", [interventions.retry, interventions.settle_by_hand])
def test_only_a_failed_instruction_is_dealt_with_and_only_with_a_reason(
    engine: Engine, verb: Callable[..., object]
) -> None:
    engine.start(choose=lambda _: "timeout")
    operation = committed(ORDER, transfers="direct")
    finality.settle(operation.pk, at=AT)
    unknown = Execution.objects.get()
    assert unknown.status == ExecutionStatus.UNKNOWN

    with pytest.raises(InstructionNotFailed, match="Unknown"):
        verb(unknown.instruction_id, at=LATER, **WHY)
    with pytest.raises(InstructionNotFailed, match="not at an engine"):
        verb(uuid4(), at=LATER, **WHY)
    with pytest.raises(ReasonInvalid):
        verb(unknown.instruction_id, at=LATER, actor="olga", reason=" ")


def test_a_second_retry_while_the_first_is_under_way_is_refused(engine: Engine) -> None:
    _, instruction = failed(engine)
    interventions.retry(instruction.pk, at=LATER, **WHY)

    with pytest.raises(InstructionNotFailed, match="Planned"):
        interventions.retry(instruction.pk, at=LATER, **WHY)
    with pytest.raises(InstructionNotFailed):
        interventions.settle_by_hand(instruction.pk, at=LATER, **WHY)


def test_postgresql_refuses_to_go_on_with_a_failed_instruction_without_a_new_attempt(engine: Engine) -> None:
    failed(engine)

    with refused("retry_is_founded"):
        sql("UPDATE settlement_settlementinstruction SET status = 'InProgress'")
    with refused("completion_is_confirmed"):
        sql("UPDATE settlement_settlementinstruction SET status = 'Completed', settled_at = now()")
    with refused("by_hand_has_reason"):
        sql(
            "INSERT INTO settlement_execution (id, instruction_id, batch_id, attempt, rail, status, next_at)"
            " SELECT gen_random_uuid(), id, batch_id, 2, 'Hand', 'Planned', now()"
            " FROM settlement_settlementinstruction"
        )


def test_an_order_that_the_engine_refuses_to_take_fails_once_it_knows_nothing_of_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start()
    operation = committed("BANK-A owes BANK-B 500 USD", transfers="direct")
    monkeypatch.setattr(engine.service, "refuses", True)

    finality.settle(operation.pk, at=AT)
    assert Execution.objects.get().status == ExecutionStatus.UNKNOWN
    finality.settle(operation.pk, at=LATER)

    row = Execution.objects.get()
    assert (row.status, row.refusal, row.sends) == (ExecutionStatus.FAILED, "INVALID_ARGUMENT", 1)


def test_the_command_deals_with_it(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    operation, instruction = failed(engine)

    call_command(
        "settle_instruction", str(instruction.pk), "--by-hand", "--by=olga", "--reason=paid by cheque"
    )
    with pytest.raises(CommandError, match="instruction_not_failed"):
        call_command("settle_instruction", str(instruction.pk), "--retry", "--by=olga", "--reason=again")

    hand = Execution.objects.get(rail="Hand")
    assert capsys.readouterr().out.strip() == str(hand.pk)
    assert (hand.actor, hand.reason) == ("olga", "paid by cheque")
    assert status(operation) == WindowStatus.COMPLETED


def test_the_windows_page_offers_both_ways_while_something_has_failed(
    engine: Engine,
) -> None:
    superuser = client(User.objects.create_superuser("root"))
    operation, _ = failed(engine)
    page = f"/admin/clearing/clearingwindow/{operation.window_id}/"
    assert b"/settle-by-hand/" in superuser.get(f"{page}change/").content

    superuser.post(f"{page}settle-by-hand/", {"reason": "paid by cheque"})

    assert windows.get(operation.window_id).status == WindowStatus.COMPLETED
    assert b"/settle-by-hand/" not in superuser.get(f"{page}change/").content
    assert ClearingWindow.objects.get(pk=operation.window_id).status == WindowStatus.COMPLETED


def test_a_stream_of_the_windows_instructions_tells_of_the_failure_the_retry_and_the_end(
    engine: Engine,
) -> None:
    operation, instruction = failed(engine)
    topic = WindowInstructions(operation.window_id)
    topic.start()
    told = [topic.standings[instruction.pk].status]

    execution = interventions.retry(instruction.pk, at=LATER, **WHY)
    told += [each.status for each in topic.read()]
    finality.settle(operation.pk, at=LATER)
    told += [each.status for each in topic.read()]

    assert told == ["Failed", "InProgress", "Completed"]
    assert engine.count("executed") == {str(execution.pk): 1}
