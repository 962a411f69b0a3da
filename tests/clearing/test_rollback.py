"""Going back: after any number of steps, half a step or a failed undo, what participants see is as before."""

import threading
from datetime import timedelta
from functools import partial
from queue import Queue

import pytest
from django.db import DatabaseError

from clearing import finality, operations, steps, windows
from clearing.checkpoints import STEPS, netting_calculated
from clearing.events import outbox
from clearing.models import AtomicOperation, Checkpoint, NettingResult, WindowEvent
from clearing.operations import AlreadyFinal, RollbackFailed
from clearing.states import CheckpointStatus, OperationStatus, OperationType, WindowStatus
from clearing.steps import OperationStopped
from settlement import accounts, instructions
from settlement.accounts import AccountMissing, InsufficientFunds
from settlement.models import LedgerEntry, SettlementInstruction
from tests.database import PATIENCE_SECONDS, backend, sql, together, wait_until_blocked
from tests.factories import (
    AT,
    DAY,
    A,
    B,
    apply,
    balances,
    circle,
    closed,
    funded,
    net,
    obligation,
    running,
    settled,
    snapshot,
    story,
)

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NAMES = [step.NAME for step in STEPS]
BREAK_UNDO = """
    CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$;
    CREATE TRIGGER broken BEFORE DELETE ON {} FOR EACH ROW EXECUTE FUNCTION broken();
"""
UNDONE_BY = {
    NAMES[1]: "clearing_frozenset",
    NAMES[2]: "clearing_nettingresult",
    NAMES[3]: "settlement_settlementinstruction",
}


def undo(operation: AtomicOperation) -> AtomicOperation:
    return operations.roll_back(operation.pk, at=AT + timedelta(hours=1), reason="test")


@pytest.mark.parametrize("applied", range(len(STEPS) + 1))
def test_a_rollback_after_any_number_of_steps_restores_what_participants_see(applied: int) -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=applied)

    rolled_back = undo(operation)

    assert snapshot() == before
    assert rolled_back.status == OperationStatus.ROLLED_BACK
    assert windows.get(shut.pk).status == (WindowStatus.ROLLED_BACK if applied else WindowStatus.CLOSED)
    marks = [row.status for row in Checkpoint.objects.filter(operation=operation)]
    assert marks == ["Undone"] * applied + ["Planned"] * (4 - applied)
    children = operation.children.values_list("status", flat=True)
    assert list(children) == ["RolledBack"] * max(0, applied - 1)
    assert WindowEvent.objects.filter(event_type="RolledBack").count() == bool(applied)


def test_funds_are_held_while_the_run_stands_and_free_after_it() -> None:
    circle(1000)
    operation = running(closed(*story(DAY)), applied=4)
    assert balances(A)["USD"] == (1000, 500)

    undo(operation)

    assert balances(A)["USD"] == (1000, 0)
    assert balances("AGENT")["USD"] == (0, 0)


def test_a_rollback_may_be_repeated_and_changes_nothing_more() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=3)
    first = undo(operation)
    before, events = snapshot(), WindowEvent.objects.count()

    again = operations.roll_back(operation.pk, at=AT + timedelta(days=1), reason="another")

    assert (again.completed_at, again.error_message) == (first.completed_at, "test")
    assert snapshot() == before
    assert WindowEvent.objects.count() == events


def test_netting_half_done_is_undone() -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    net(operation, 840)
    assert NettingResult.objects.count() == 1

    undo(operation)

    assert snapshot() == before
    assert steps.find_checkpoint(operation.pk, NAMES[2]).status == CheckpointStatus.UNDONE


def test_a_run_that_never_started_is_failed_and_leaves_no_trace() -> None:
    operation = operations.create(closed(), OperationType.WINDOW_CLEARING)

    assert undo(operation).status == OperationStatus.FAILED
    assert operations.live_clearing(operation.window_id) is None


def test_a_receiver_without_an_account_stops_the_run_and_nothing_of_it_stays() -> None:
    circle()
    funded("BANK-D", EUR=5)
    shut = closed(obligation(A, "BANK-D"))
    before = snapshot()
    operation = running(shut, applied=3)

    with pytest.raises(AccountMissing) as refusal:
        apply(operation, 3)
    undo(operation)

    assert refusal.value.details == {"participant": "BANK-D", "currency": "USD"}
    assert snapshot() == before


def test_a_payer_short_of_funds_stops_the_run_and_nothing_of_it_stays() -> None:
    funded(A, USD=999)
    funded(B, USD=0)
    shut = closed(obligation(A, B, 1000))
    before = snapshot()
    operation = running(shut, applied=3)

    with pytest.raises(InsufficientFunds):
        apply(operation, 3)
    undo(operation)

    assert snapshot() == before


def test_a_rolled_back_window_is_cleared_again_and_settles_once() -> None:
    circle(1000)
    shut = closed(*story(DAY))
    undo(running(shut, applied=4))

    settled(windows.get(shut.pk))

    assert windows.get(shut.pk).status == WindowStatus.COMPLETED
    assert balances(A) == {"USD": (500, 0), "JPY": (1400, 0), "EUR": (1000, 0), "BHD": (1000, 0)}
    assert SettlementInstruction.objects.count() == 5


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_undo_that_fails_is_said_aloud_and_resumed_after_repair(step: int) -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=4)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(BREAK_UNDO.format(UNDONE_BY[NAMES[step]]))

    with pytest.raises(RollbackFailed) as refusal:
        undo(operation)

    assert refusal.value.details["checkpoint"] == NAMES[step]
    failed = steps.get(operation.pk)
    assert (failed.status, failed.error_code) == (OperationStatus.ROLLBACK_FAILED, "rolled_back_by_request")
    assert f"the rollback failed at {NAMES[step]}" in failed.error_message
    marks = [row.status for row in Checkpoint.objects.filter(operation=operation)]
    assert marks == ["Applied"] * (step + 1) + ["Undone"] * (3 - step)
    assert windows.get(shut.pk).status == WindowStatus.PROCESSING
    assert operations.live_clearing(shut.pk) is not None
    with pytest.raises(RollbackFailed):
        undo(operation)
    with pytest.raises(OperationStopped):
        operations.commit(operation.pk, at=AT)
    (alarm,) = shut.events.filter(event_type="RollbackFailed")
    assert alarm.data["operation_id"] == str(operation.pk)
    assert (alarm.data["checkpoint"], bool(alarm.data["cause"])) == (NAMES[step], True)
    assert list(shut.events.values_list("sequence", flat=True)) == list(range(1, shut.events.count() + 1))

    sql(f"DROP TRIGGER broken ON {UNDONE_BY[NAMES[step]]}")
    assert undo(operation).status == OperationStatus.ROLLED_BACK
    assert snapshot() == before
    assert windows.get(shut.pk).status == WindowStatus.ROLLED_BACK


def test_the_alarm_is_in_the_transaction_that_writes_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(BREAK_UNDO.format(UNDONE_BY[NAMES[3]]))

    def away(*_: object, **__: object) -> None:
        raise DatabaseError("the outbox is full")

    monkeypatch.setattr(outbox, "append", away)
    with pytest.raises(DatabaseError, match="the outbox is full"):
        undo(operation)

    assert steps.get(operation.pk).status == OperationStatus.IN_PROGRESS


def test_a_committed_run_that_is_held_is_still_rolled_back() -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=4)
    operations.commit(operation.pk, at=AT)

    undo(operation)

    assert snapshot() == before
    with pytest.raises(finality.NotCommitted):
        finality.settle(operation.pk, at=AT)
    assert snapshot() == before


def test_after_finality_a_rollback_is_refused_and_moves_nothing() -> None:
    circle()
    shut = closed(*story(DAY))
    operation = settled(shut)
    before = snapshot()

    with pytest.raises(AlreadyFinal):
        undo(operation)
    with pytest.raises(AlreadyFinal):
        operations.roll_back_window(shut.pk, at=AT, reason="test")

    assert snapshot() == before
    assert windows.get(shut.pk).status == WindowStatus.COMPLETED
    assert steps.get(operation.pk).rolling_back_at is None


def test_a_window_is_rolled_back_latest_operation_first() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)

    undone = operations.roll_back_window(operation.window_id, at=AT, reason="operator says so")

    types = {row.pk: row.operation_type for row in AtomicOperation.objects.all()}
    assert [types[key] for key in undone] == [
        "InstructionGeneration",
        "NettingCalculation",
        "ObligationCollection",
        "WindowClearing",
    ]
    row = steps.get(operation.pk)
    assert (row.error_code, row.error_message) == ("rolled_back_by_request", "operator says so")
    assert operations.roll_back_window(operation.window_id, at=AT, reason="again") == []


def test_checkpoints_are_undone_in_reverse() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)
    sql("CREATE TABLE undone (position int, place serial)")
    sql(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO undone VALUES (NEW.position); RETURN NEW; END $$"
    )
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("CREATE TRIGGER note AFTER UPDATE ON clearing_checkpoint FOR EACH ROW EXECUTE FUNCTION note()")

    undo(operation)

    assert sql("SELECT position FROM undone ORDER BY place") == [(4,), (3,), (2,), (1,)]


def test_a_batch_is_withdrawn_and_released_any_number_of_times() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)

    for _ in range(2):
        accounts.release(operation.pk)
        instructions.withdraw(operation.pk)

    assert not SettlementInstruction.objects.exists()
    assert not LedgerEntry.objects.filter(posting__kind="Settlement").exists()


@concurrent
def test_a_rollback_waits_for_the_step_in_flight_and_undoes_it_too() -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=3)
    inside, leave = threading.Event(), threading.Event()
    undoer: Queue[int] = Queue()

    def slow(row: AtomicOperation) -> None:
        STEPS[3].apply(row, at=AT)
        inside.set()
        assert leave.wait(PATIENCE_SECONDS)

    def roll_back() -> AtomicOperation:
        assert inside.wait(PATIENCE_SECONDS)
        undoer.put(backend())
        return undo(operation)

    def watch() -> None:
        wait_until_blocked(undoer.get(timeout=PATIENCE_SECONDS))
        leave.set()

    step = partial(steps.run_step, operation.pk, NAMES[3], slow, at=AT)
    applied, rolled_back, _ = together(step, roll_back, watch)

    assert applied is True
    assert isinstance(rolled_back, AtomicOperation), rolled_back
    assert rolled_back.status == OperationStatus.ROLLED_BACK
    assert snapshot() == before


def test_the_last_undo_ends_the_rollback_in_its_own_transaction() -> None:
    circle()
    operation = steps.get(running(closed(obligation()), applied=4).pk)

    for step in reversed(STEPS[1:]):
        steps.undo(operation, step, at=AT)
    assert steps.get(operation.pk).status == OperationStatus.IN_PROGRESS
    steps.undo(operation, STEPS[0], at=AT)

    ended = steps.get(operation.pk)
    assert (ended.status, ended.completed_at) == (OperationStatus.ROLLED_BACK, AT)
    assert ended.digest_after == ended.digest_before != ""


@concurrent
def test_rollbacks_at_once_undo_once() -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    operation = running(shut, applied=4)

    outcomes = together(*[partial(undo, operation)] * 4)

    assert all(isinstance(outcome, AtomicOperation) for outcome in outcomes), outcomes
    assert steps.get(operation.pk).status == OperationStatus.ROLLED_BACK
    assert snapshot() == before
    assert WindowEvent.objects.filter(event_type="RolledBack").count() == 1


def test_clean_up_deletes_what_ended_long_ago_without_effect_and_nothing_else() -> None:
    circle()
    old = running(closed(*story(DAY)), applied=4)
    operations.roll_back(old.pk, at=AT, reason="test")
    recent = running(closed(*story(DAY)), applied=2)
    operations.roll_back(recent.pk, at=AT + timedelta(days=89), reason="test")
    done, live = settled(closed(*story(DAY))), running(closed(*story(DAY)), applied=1)
    kept, entries = snapshot(), LedgerEntry.objects.count()
    events = WindowEvent.objects.count()

    deleted = operations.clean_up(at=AT + timedelta(days=90, minutes=1), keep=timedelta(days=90))

    assert deleted == 4
    assert not AtomicOperation.objects.filter(pk=old.pk).exists()
    assert not Checkpoint.objects.filter(operation_id=old.pk).exists()
    runs = AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING)
    assert set(runs.values_list("pk", flat=True)) == {recent.pk, done.pk, live.pk}
    assert done.children.count() == 4
    assert snapshot() == kept
    assert (LedgerEntry.objects.count(), WindowEvent.objects.count()) == (entries, events)
    assert windows.get(old.window_id).status == WindowStatus.ROLLED_BACK
    assert operations.clean_up(at=AT + timedelta(days=90, minutes=1), keep=timedelta(days=90)) == 0
