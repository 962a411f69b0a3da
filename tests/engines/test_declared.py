"""An outcome that the engine will never tell, declared by hand: once, and never against its word."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.urls import reverse

from clearing import access, finality, interventions
from clearing.models import AtomicOperation, WindowEvent
from clearing.operations import ReasonInvalid
from clearing.states import WindowStatus
from clearing_project import remote
from settlement.models import Execution, LedgerEntry, Reservation, SettlementInstruction
from settlement.rails.attempts import EngineAnswers, EngineContradicts, OutcomeKnown
from settlement.rails.executions import Outcome
from settlement.states import ExecutionStatus, InstructionStatus
from tests.clearing.admin.conftest import client, staff
from tests.clearing.api.caller import Caller, is_problem, typed
from tests.database import refused, sql, together
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, DAY, committed, one_in_currency, status
from tests.factories import A, B, C, balances

pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True, serialized_rollback=True)

LATER = AT + timedelta(hours=1)
ORDER = "BANK-A owes BANK-B 500 USD"
WHY: dict[str, Any] = {"actor": "anna", "reason": "the engine's operator closed; its last statement shows it"}


def unknown(engine: Engine) -> tuple[AtomicOperation, SettlementInstruction]:
    """Send one payment to an engine that takes it without an answer and is then gone for good."""
    engine.start(choose=lambda _: "timeout")
    operation = committed(ORDER, transfers="direct")
    finality.settle(operation.pk, at=AT)
    engine.stop()
    assert Execution.objects.get().status == ExecutionStatus.UNKNOWN
    return operation, SettlementInstruction.objects.get()


def declare(key: UUID, outcome: Outcome, **why: str) -> Execution:
    said = interventions.inquire(key, outcome, at=LATER)
    return interventions.declare(key, outcome, said=said, at=LATER, **{**WHY, **why})


def test_declared_completed_it_is_posted_as_a_confirmation_and_completes_the_window(engine: Engine) -> None:
    operation, instruction = unknown(engine)

    execution = declare(instruction.pk, Outcome.COMPLETED)

    assert status(operation) == WindowStatus.COMPLETED
    assert (balances(A)["USD"], balances(B)["USD"]) == ((500, 0), (1500, 0))
    assert not Reservation.objects.exists()
    assert LedgerEntry.objects.filter(posting__reference=str(operation.pk)).count() == 2
    assert (execution.status, execution.completed_at, execution.declared_at) == ("Completed", LATER, LATER)
    assert (execution.declared_by, execution.declared_reason) == (WHY["actor"], WHY["reason"])


def test_declared_failed_nothing_moves_it_is_told_and_may_be_settled_by_hand(engine: Engine) -> None:
    operation, instruction = unknown(engine)

    declare(instruction.pk, Outcome.FAILED)

    assert SettlementInstruction.objects.get().status == InstructionStatus.FAILED
    assert (balances(A)["USD"], status(operation)) == ((1000, 500), WindowStatus.SETTLING)
    (event,) = WindowEvent.objects.filter(event_type="InstructionsFailed")
    assert event.data["instructions"][0]["message"] == f"failed as declared by anna: {WHY['reason']}"
    interventions.settle_by_hand(instruction.pk, at=LATER, actor="olga", reason="paid as cheque 7")
    assert (balances(B)["USD"], status(operation)) == ((1500, 0), WindowStatus.COMPLETED)


def test_declared_again_it_stays_as_it_is_and_another_outcome_is_refused(engine: Engine) -> None:
    _, instruction = unknown(engine)
    first = declare(instruction.pk, Outcome.COMPLETED)

    again = declare(instruction.pk, Outcome.COMPLETED, actor="otto", reason="once more")

    assert (again.pk, again.declared_by, balances(B)["USD"]) == (first.pk, "anna", (1500, 0))
    with pytest.raises(OutcomeKnown, match="Completed"):
        declare(instruction.pk, Outcome.FAILED)


def test_what_the_engine_still_knows_counts_and_not_what_is_declared(engine: Engine) -> None:
    operation, instruction = unknown(engine)
    engine.start(choose=lambda _: "timeout")  # back again; it has executed the order
    remote.close()

    with pytest.raises(OutcomeKnown, match="Completed"):
        declare(instruction.pk, Outcome.FAILED)

    assert Execution.objects.get().declared_at is None
    assert balances(B)["USD"] == (1500, 0)
    assert finality.complete(operation.pk, at=LATER)


def test_what_the_engine_is_at_or_never_had_is_not_declared(engine: Engine) -> None:
    engine.start(choose=one_in_currency("late"), late_seconds=3600)
    operation = committed(DAY)
    finality.settle(operation.pk, at=AT)
    executing = Execution.objects.filter(status=ExecutionStatus.EXECUTING).earliest("pk")
    planned = Execution.objects.filter(status=ExecutionStatus.PLANNED).earliest("pk")

    with pytest.raises(EngineAnswers):
        declare(executing.instruction_id, Outcome.COMPLETED)
    with pytest.raises(OutcomeKnown, match="Planned"):
        declare(planned.instruction_id, Outcome.COMPLETED)
    with pytest.raises(OutcomeKnown, match="not at an engine"):
        declare(uuid4(), Outcome.COMPLETED)
    engine.stop()
    assert declare(executing.instruction_id, Outcome.COMPLETED).status == ExecutionStatus.COMPLETED


def test_an_engine_that_says_otherwise_afterwards_is_an_alarm(engine: Engine) -> None:
    _, instruction = unknown(engine)
    declare(instruction.pk, Outcome.FAILED)
    engine.start(choose=lambda _: "timeout")
    remote.close()  # what has failed meanwhile is forgotten

    with pytest.raises(EngineContradicts):
        interventions.settle_by_hand(instruction.pk, at=LATER, actor="olga", reason="by cheque")

    assert WindowEvent.objects.filter(event_type="InstructionsContradicted").count() == 1
    assert balances(B)["USD"] == (1000, 0)


def test_without_an_address_the_engine_is_silent_and_the_agents_payments_are_declared_in_their_turn(
    engine: Engine, settings: Any
) -> None:
    engine.start(choose=lambda _: "timeout")
    operation = committed("BANK-A owes BANK-B 500 USD")
    finality.settle(operation.pk, at=AT)
    engine.stop()
    settings.SETTLEMENT_ENGINE_URL = ""
    paid_in = SettlementInstruction.objects.get(payer__code=A)
    paid_out = SettlementInstruction.objects.get(payee__code=B)

    declare(paid_in.pk, Outcome.COMPLETED)
    finality.settle(operation.pk, at=LATER)
    declare(paid_out.pk, Outcome.COMPLETED)

    assert status(operation) == WindowStatus.COMPLETED
    assert (balances(A)["USD"], balances(B)["USD"], balances("AGENT")["USD"]) == ((500, 0), (1500, 0), (0, 0))


def test_postgresql_refuses_a_declaration_without_a_reason_and_of_what_is_known(engine: Engine) -> None:
    _, instruction = unknown(engine)
    with pytest.raises(ReasonInvalid):
        declare(instruction.pk, Outcome.COMPLETED, reason=" ")
    with refused("declared_has_reason"):
        sql("UPDATE settlement_execution SET status = 'Completed', completed_at = now(), declared_at = now()")
    with refused("declared_has_reason"):
        sql("UPDATE settlement_execution SET declared_at = now(), declared_by = 'x', declared_reason = 'y'")

    declare(instruction.pk, Outcome.COMPLETED)

    with refused("append_only"):
        sql("UPDATE settlement_execution SET declared_by = 'somebody else'")


@committing
def test_of_two_who_declare_the_opposite_at_once_one_is_refused_and_money_moves_once(engine: Engine) -> None:
    operation, instruction = unknown(engine)
    said = interventions.inquire(instruction.pk, Outcome.FAILED, at=LATER)
    calls = [
        partial(interventions.declare, instruction.pk, outcome, said=said, at=LATER, **WHY)
        for outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.COMPLETED, Outcome.FAILED)
    ]

    outcomes = together(*calls)

    execution = Execution.objects.get()
    assert sum(isinstance(each, OutcomeKnown) for each in outcomes) == 2, outcomes
    moved = execution.status == ExecutionStatus.COMPLETED
    assert balances(B)["USD"] == ((1500 if moved else 1000), 0)
    assert (status(operation) == WindowStatus.COMPLETED) == moved


def test_over_rest_an_approver_declares_and_everyone_concerned_sees_the_attempt(engine: Engine) -> None:
    _, instruction = unknown(engine)
    approver = Caller(access.issue("anna", role="approver"))
    address, body = f"instructions/{instruction.pk}", {"outcome": "Completed", "reason": WHY["reason"]}
    before = approver.get(address, expand="executions").json()["executions"]
    assert [(each["status"], each["sends"], each["next_at"] is None) for each in before] == [
        ("Unknown", 1, False)
    ]
    assert "executions" not in approver.get(address).json()

    answers = [approver.post(f"{address}/declare", body, key="k1") for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    (shown,) = answers[0].json()["executions"]
    assert (shown["status"], shown["declared_by"], shown["declared_reason"]) == (
        "Completed",
        "anna",
        WHY["reason"],
    )
    assert answers[0].json()["status"] == "Completed"
    is_problem(approver.post(f"{address}/declare", {**body, "outcome": "Failed"}), 409, "outcome_known")
    is_problem(approver.post(f"{address}/declare", {**body, "reason": ""}), 422, "reason_invalid")
    is_problem(approver.post(f"{address}/declare", {**body, "outcome": "Lost"}), 422, "body_invalid")
    is_problem(approver.post(f"instructions/{uuid4()}/declare", body), 404, "unknown_instruction")

    bank_a = Caller(access.issue("a", role="participant", participant_code=A))
    (told,) = bank_a.get(address, expand="executions").json()["executions"]
    assert (told["status"], told["declared_at"]) == ("Completed", shown["declared_at"])
    assert {told[name] for name in ("message", "actor", "reason", "declared_by", "declared_reason")} == {""}
    bank_c = Caller(access.issue("c", role="participant", participant_code=C))
    is_problem(bank_c.get(address, expand="executions"), 404, "unknown_instruction")


def test_with_the_typed_client(engine: Engine) -> None:
    _, instruction = unknown(engine)
    with typed(access.issue("anna", role="approver")) as approver:
        (attempt,) = approver.instruction(instruction.pk).executions
        assert (attempt.status, attempt.completed_at) == ("Unknown", None)

        declared = approver.declare(instruction.pk, "Failed", reason=WHY["reason"])

    assert (declared.status, declared.executions[0].status) == ("Failed", "Failed")


def test_in_the_admin_the_permission_is_one_of_its_own_and_the_act_is_logged(engine: Engine) -> None:
    _, instruction = unknown(engine)
    page = reverse("admin:settlement_execution_changelist")
    chosen = {"action": "declare_completed", "_selected_action": str(instruction.pk)}
    viewer = client(staff("vera", "view_execution", "change_execution"))
    approver = client(staff("anna", "view_execution", "declare_execution"))

    viewer.post(page, {**chosen, "reason": "no right to"})
    assert b"declare_completed" not in viewer.get(page).content
    assert Execution.objects.get().status == ExecutionStatus.UNKNOWN

    asked = approver.post(page, chosen)
    assert b"posted on the ledger for good" in asked.content
    approver.post(page, {**chosen, "reason": "statement of 10 March"})

    execution = Execution.objects.get()
    assert (execution.status, execution.declared_by) == (ExecutionStatus.COMPLETED, "anna")
    (entry,) = LogEntry.objects.all()
    assert entry.change_message == "Declare completed. Reason: statement of 10 March"


def test_on_the_command_line(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    _, instruction = unknown(engine)

    call_command("settle_instruction", str(instruction.pk), "--declare=failed", "--by=anna", "--reason=gone")

    assert capsys.readouterr().out.strip() == str(instruction.pk)
    assert Execution.objects.get().status == ExecutionStatus.FAILED
