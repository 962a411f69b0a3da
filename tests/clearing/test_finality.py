"""The point of no return: what PostgreSQL asks before it, and what nothing takes back after it."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from clearing import finality, operations, pipeline, steps, windows
from clearing.models import AtomicOperation, ClearingWindow, MultilateralPosition, WindowEvent, WindowMetrics
from clearing.operations import AlreadyFinal
from clearing.pipeline import RunHeld
from clearing.states import OperationStatus, OperationType, WindowStatus
from clearing.steps import OperationStopped
from settlement.models import LedgerEntry, Posting, SettlementInstruction
from tests.database import refused, sql, together
from tests.factories import (
    AT,
    DAY,
    A,
    B,
    C,
    balances,
    circle,
    closed,
    obligation,
    running,
    settled,
    snapshot,
    story,
)

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

COMMIT = "UPDATE clearing_atomicoperation SET status = 'Committed' WHERE id = %s"
LATER = AT + timedelta(hours=2)


@pytest.mark.parametrize("applied", range(4))
def test_postgresql_refuses_a_commit_with_a_checkpoint_not_applied(applied: int) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=applied)

    with refused("commit_is_founded"):
        sql(COMMIT, operation.pk)


def test_postgresql_refuses_a_commit_without_checkpoints() -> None:
    operation = running(closed())
    sql("DELETE FROM clearing_checkpoint")

    with refused("commit_is_founded"):
        sql(COMMIT, operation.pk)


def test_postgresql_refuses_a_commit_with_an_instruction_missing() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)
    SettlementInstruction.objects.filter(batch_id=operation.pk)[:1].get().delete()

    with refused("instructions_equal_positions"):
        sql(COMMIT, operation.pk)


def test_postgresql_refuses_a_commit_with_an_instruction_too_many() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)
    sql(
        "INSERT INTO settlement_settlementinstruction (id, batch_id, instruction_type, priority, status,"
        " currency_id, payer_id, payee_id, amount_minor)"
        " SELECT %s, batch_id, instruction_type, 0, 'Pending', 978, payer_id, payee_id, 1"
        " FROM settlement_settlementinstruction LIMIT 1",
        uuid4(),
    )

    with refused("instructions_equal_positions"):
        sql(COMMIT, operation.pk)


def test_postgresql_refuses_positions_that_do_not_sum_to_zero() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=3)
    (party,) = sql("SELECT id FROM settlement_participant WHERE code = 'FUNDING'")[0]

    with refused("positions_sum_to_zero"):
        MultilateralPosition.objects.create(
            operation=operation,
            currency_id=840,
            participant_id=party,
            debit_minor=0,
            credit_minor=1,
            net_minor=1,
            obligations_count=1,
        )
    with refused("append_only"):
        sql("UPDATE clearing_multilateralposition SET net_minor = 0, credit_minor = 0, debit_minor = 0")


def test_postgresql_refuses_a_position_that_is_not_credit_less_debit() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=3)

    with refused("net_is_credit_less_debit"):
        MultilateralPosition.objects.create(
            operation=operation,
            currency_id=978,
            participant_id=1,
            debit_minor=1,
            credit_minor=0,
            net_minor=0,
            obligations_count=1,
        )


def test_settling_moves_exactly_the_net_positions_and_completes_the_window() -> None:
    circle(1000)
    shut = closed(*story(DAY))

    operation = settled(shut)

    assert [balances(code)["JPY"] for code in (A, C)] == [(1400, 0), (600, 0)]
    assert [balances(code)["USD"] for code in (A, B, C, "AGENT")] == [
        (500, 0),
        (1200, 0),
        (1300, 0),
        (0, 0),
    ]
    assert windows.get(shut.pk).status == WindowStatus.COMPLETED
    assert operation.final_at == AT
    initiation = operation.children.get(operation_type=OperationType.SETTLEMENT_INITIATION)
    assert (initiation.status, initiation.final_at) == (OperationStatus.COMMITTED, AT)
    assert WindowMetrics.objects.get(window=shut).obligations_count == 3
    assert list(shut.events.values_list("event_type", flat=True)) == [
        "Opened",
        "Closing",
        "Closed",
        "Processing",
        "EfficiencyAlert",
        "Completed",
    ]


def test_settling_again_moves_nothing() -> None:
    circle()
    operation = settled(closed(*story(DAY)))
    before, events = snapshot(), WindowEvent.objects.count()

    finality.settle(operation.pk, at=LATER)
    finality.commit(operation.pk, at=LATER)

    assert snapshot() == before
    assert WindowEvent.objects.count() == events
    assert steps.get(operation.pk).final_at == AT


def test_money_does_not_move_before_the_commit() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)

    with pytest.raises(finality.NotCommitted):
        finality.settle(operation.pk, at=AT)

    assert not Posting.objects.filter(kind="Settlement").exists()


@pytest.mark.parametrize("status", ["RolledBack", "RollbackFailed"])
def test_postgresql_refuses_to_take_a_final_run_back(status: str) -> None:
    circle()
    operation = settled(closed(*story(DAY)))

    with refused("final_is_final"):
        sql("UPDATE clearing_atomicoperation SET status = %s WHERE id = %s", status, operation.pk)
    with refused("committed_is_not_rolling_back"):
        sql("UPDATE clearing_atomicoperation SET rolling_back_at = now() WHERE id = %s", operation.pk)


def test_postgresql_never_forgets_the_moment_of_finality() -> None:
    """Set to NULL it once let a final run be rolled back although its money had moved."""
    circle()
    operation = settled(closed(*story(DAY)))

    with refused("append_only"):
        sql("UPDATE clearing_atomicoperation SET final_at = NULL WHERE id = %s", operation.pk)
    with refused("append_only"):
        sql("UPDATE clearing_atomicoperation SET final_at = now() WHERE id = %s", operation.pk)
    with refused("append_only"):
        sql(
            "DELETE FROM clearing_atomicoperation WHERE parent_id = %s AND final_at IS NOT NULL", operation.pk
        )


def test_postgresql_refuses_finality_of_a_run_that_is_not_committed() -> None:
    operation = running(closed(), applied=4)

    with refused("final_is_final"):
        sql("UPDATE clearing_atomicoperation SET final_at = now() WHERE id = %s", operation.pk)


def test_a_window_that_does_not_settle_by_itself_is_held_until_it_is_released() -> None:
    circle()
    shut = closed(*story(DAY), auto_settle=False)
    operation = running(shut, applied=4)

    assert finality.commit(operation.pk, at=AT)
    assert finality.commit(operation.pk, at=LATER)
    with pytest.raises(RunHeld):
        pipeline.clear(shut, at=AT)
    assert not Posting.objects.filter(kind="Settlement").exists()

    pipeline.clear(shut, at=LATER, release=True)
    assert windows.get(shut.pk).status == WindowStatus.COMPLETED
    assert steps.get(operation.pk).final_at == LATER


def test_a_run_that_saves_too_little_is_held_and_one_that_saves_enough_is_not() -> None:
    circle()
    poor = running(closed(obligation(A, B, 100)), applied=4)
    rich = running(closed(obligation(A, B, 100), obligation(B, A, 100)), applied=4)

    assert finality.commit(poor.pk, at=AT) is True
    assert finality.commit(rich.pk, at=AT) is False
    assert "below 50.00 %" in steps.get(poor.pk).hold_reason


def test_an_interrupted_settlement_goes_forward_and_posts_once() -> None:
    circle(1000)
    shut = closed(*story(DAY))
    operation = running(shut, applied=4)
    finality.commit(operation.pk, at=AT)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$"
    )
    sql("CREATE TRIGGER broken BEFORE INSERT ON settlement_posting EXECUTE FUNCTION broken()")

    with refused(None):
        finality.settle(operation.pk, at=AT)
    finality.begin(operation.pk, at=AT)
    with pytest.raises(AlreadyFinal):
        operations.roll_back(operation.pk, at=AT, reason="too late")
    assert windows.get(shut.pk).status == WindowStatus.SETTLING

    sql("DROP TRIGGER broken ON settlement_posting")
    finality.settle(operation.pk, at=LATER)
    assert windows.get(shut.pk).status == WindowStatus.COMPLETED
    assert balances(A)["USD"] == (500, 0)


@concurrent
def test_settling_at_once_moves_the_money_once() -> None:
    circle(1000)
    operation = running(closed(*story(DAY)), applied=4)
    finality.commit(operation.pk, at=AT)

    outcomes = together(*[partial(finality.settle, operation.pk, at=AT)] * 4)

    assert outcomes == [None] * 4
    assert balances(A)["USD"] == (500, 0)
    assert Posting.objects.filter(kind="Settlement").count() == 5
    assert WindowEvent.objects.filter(event_type="Completed").count() == 1


def race(operation: AtomicOperation, *, turn: int) -> str:
    """
    Let a settlement, every second time without its commit, race a rollback; name the winner.

    The rollback starts a little later from turn to turn, so that the two meet at many places.
    """
    committed, late = bool(turn % 2), turn % 8
    if committed:
        finality.commit(operation.pk, at=AT)

    def settle() -> None:
        if not committed:
            finality.commit(operation.pk, at=AT)
        finality.settle(operation.pk, at=AT)

    def undo() -> None:
        for _ in range(late * 8):
            sql("SELECT 1")
        operations.roll_back(operation.pk, at=AT, reason="race")

    calls = [settle, undo] if turn % 4 < 2 else [undo, settle]
    outcomes = dict(zip(calls, together(*calls), strict=True))
    won, status = steps.get(operation.pk), windows.get(operation.window_id).status
    if won.status == OperationStatus.COMMITTED:
        assert (won.final_at, status) == (AT, WindowStatus.COMPLETED)
        assert outcomes[settle] is None
        assert isinstance(outcomes[undo], AlreadyFinal), outcomes
        return "settled"
    assert (won.status, status) == (OperationStatus.ROLLED_BACK, WindowStatus.ROLLED_BACK), outcomes
    assert outcomes[undo] is None
    assert isinstance(outcomes[settle], OperationStopped | finality.NotCommitted), outcomes
    return "rolled back"


@concurrent
def test_of_a_settlement_and_a_rollback_exactly_one_wins_and_the_money_follows() -> None:
    """Without money: two hundred times in the chaos tests."""
    trials, amount_minor = 40, 10
    circle(1_000_000)
    winners: list[str] = []
    shut: ClearingWindow | None = None

    for turn in range(trials):
        shut = shut or closed(obligation(A, B, amount_minor))
        winners.append(race(running(shut, applied=4), turn=turn))
        if winners[-1] == "settled":
            shut = None

    settled_count = winners.count("settled")
    assert 0 < settled_count < trials
    assert balances(A)["USD"] == (1_000_000 - amount_minor * settled_count, 0)
    assert balances(B)["USD"] == (1_000_000 + amount_minor * settled_count, 0)
    entries = LedgerEntry.objects.filter(posting__kind="Settlement").count()
    assert entries == 4 * settled_count
