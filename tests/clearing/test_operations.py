"""Atomic operations: written ahead, in turn, once, and never beside each other on one window."""

import threading
from datetime import timedelta
from functools import partial
from queue import Queue
from uuid import UUID, uuid4

import pytest

from clearing import operations, partitions, steps, windows
from clearing.checkpoints import STEPS, netting_calculated
from clearing.checkpoints.netting_calculated import CurrencyNotNetted, FreezeMismatch
from clearing.checkpoints.obligations_collected import SumOverflow, UnknownReference
from clearing.models import AtomicOperation, Checkpoint, FrozenSet, NettingResult, WindowEvent
from clearing.operations import AlreadyProcessing
from clearing.states import CheckpointStatus, OperationStatus, OperationType
from clearing.steps import OperationStopped, OutOfTurn, UnknownCheckpoint, UnknownOperation
from netting.money import AMOUNT_MAX
from settlement.models import SettlementInstruction
from tests.database import PATIENCE_SECONDS, aside, backend, refused, sql, together, wait_until_blocked
from tests.factories import (
    AT,
    DAY,
    A,
    B,
    C,
    apply,
    circle,
    closed,
    frozen_currencies,
    net,
    obligation,
    running,
    settled,
    snapshot,
    story,
    take,
    window,
)

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NAMES = [step.NAME for step in STEPS]


class WorkFailed(Exception):
    """The work of a step fails."""


def fail(operation: AtomicOperation) -> None:
    raise WorkFailed("disk on fire")


def checkpoints(operation_id: UUID) -> list[str]:
    return list(Checkpoint.objects.filter(operation_id=operation_id).values_list("status", flat=True))


def test_a_clearing_run_comes_with_its_four_checkpoints_planned() -> None:
    operation = operations.create(closed(), OperationType.WINDOW_CLEARING, reason="test")

    assert [(row.position, row.name, row.status) for row in operation.checkpoints.all()] == [
        (1, "window_status_changed", "Planned"),
        (2, "obligations_collected", "Planned"),
        (3, "netting_calculated", "Planned"),
        (4, "instructions_generated", "Planned"),
    ]
    assert operation.status == OperationStatus.PENDING


def test_a_window_has_one_live_clearing_run() -> None:
    shut = closed()
    live = running(shut)

    with pytest.raises(AlreadyProcessing) as refusal:
        operations.create(shut, OperationType.WINDOW_CLEARING)
    assert refusal.value.details == {"window_id": shut.pk, "operation_id": str(live.pk)}
    with refused("one_live_clearing"):
        AtomicOperation.objects.create(window=shut, operation_type=OperationType.WINDOW_CLEARING)


@concurrent
def test_runs_created_at_once_on_a_window_are_one() -> None:
    shut = closed()

    outcomes = together(*[partial(operations.create, shut, OperationType.WINDOW_CLEARING)] * 5)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyProcessing"] * 4 + [
        "AtomicOperation"
    ]


@concurrent
def test_started_is_visible_to_others_while_the_work_runs_and_applied_is_not() -> None:
    operation = running(closed(), applied=1)
    seen: list[str] = []

    def look(_: AtomicOperation) -> None:
        seen.extend(aside(partial(checkpoints, operation.pk)))

    steps.run_step(operation.pk, NAMES[1], look, at=AT)

    assert seen == ["Applied", "Started", "Planned", "Planned"]
    assert checkpoints(operation.pk) == ["Applied", "Applied", "Planned", "Planned"]


def test_a_step_that_fails_stays_started_and_leaves_nothing_else() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=1)

    def half(row: AtomicOperation) -> None:
        STEPS[1].apply(row, at=AT)
        raise WorkFailed

    with pytest.raises(WorkFailed):
        steps.run_step(operation.pk, NAMES[1], half, at=AT)

    assert checkpoints(operation.pk) == ["Applied", "Started", "Planned", "Planned"]
    assert frozen_currencies(operation) == []
    assert [child.status for child in operation.children.all()] == [OperationStatus.IN_PROGRESS]


@pytest.mark.parametrize("applied", range(4))
@pytest.mark.parametrize("step", range(4))
def test_a_step_before_its_turn_is_refused(applied: int, step: int) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=applied)
    called: list[AtomicOperation] = []

    if step <= applied:
        steps.run_step(operation.pk, NAMES[step], called.append, at=AT)
        assert len(called) == (step == applied)
    else:
        with pytest.raises(OutOfTurn) as refusal:
            steps.run_step(operation.pk, NAMES[step], called.append, at=AT)
        assert refusal.value.details["missing"] == NAMES[applied]
        assert called == []


def test_a_step_delivered_twice_is_done_once() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=4)
    before, events = snapshot(), WindowEvent.objects.count()

    again = [apply(operation, step) for step in range(4)]

    assert again == [False] * 4
    assert snapshot() == before
    assert WindowEvent.objects.count() == events


@concurrent
def test_a_step_delivered_twice_at_once_is_done_once() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=1)

    for step in (1, 2, 3):
        outcomes = together(*[partial(apply, operation, step)] * 3)
        assert sorted(outcomes, key=str) == [False, False, True], outcomes

    assert SettlementInstruction.objects.count() == 5
    assert [child.status for child in operation.children.all()] == [OperationStatus.COMMITTED] * 3


def test_a_part_of_a_step_that_was_not_begun_is_refused() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)

    with pytest.raises(OutOfTurn):
        net(operation, 840)

    assert not NettingResult.objects.exists()


def test_a_currency_netted_twice_is_netted_once_and_not_after_the_seal() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    net(operation, 840)
    before = snapshot()

    net(operation, 840)
    assert snapshot() == before

    apply(operation, 2)
    steps.run_part(operation.pk, netting_calculated.NAME, fail)


def test_the_seal_refuses_while_a_currency_has_no_result() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    net(operation, 840)

    with pytest.raises(CurrencyNotNetted) as refusal:
        steps.run_step(operation.pk, NAMES[2], partial(STEPS[2].apply, at=AT), at=AT)

    assert refusal.value.details["currency_id"] == 392


@pytest.mark.parametrize("column", ["gross_minor", "obligations_count"])
def test_positions_that_differ_from_the_frozen_set_are_refused(column: str) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    sql(f"UPDATE clearing_grosspair SET {column} = {column} + 1 WHERE currency_id = 840")

    with pytest.raises(FreezeMismatch):
        net(operation, 840)

    net(operation, 392)
    assert [row.currency_id for row in NettingResult.objects.all()] == [392]


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE clearing_nettingresult SET gross_minor = gross_minor + 1 WHERE currency_id = 840",
        "DELETE FROM clearing_frozenset WHERE currency_id = 392",
    ],
)
def test_the_seal_refuses_results_that_differ_from_the_frozen_sets(tamper: str) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    for currency_id in (840, 392):
        net(operation, currency_id)
    sql(tamper)

    with pytest.raises(FreezeMismatch):
        steps.run_step(operation.pk, NAMES[2], partial(STEPS[2].apply, at=AT), at=AT)


@pytest.mark.parametrize("parties", [[(A, B), (A, B)], [(A, B), (C, B)]], ids=["one pair", "two pairs"])
def test_a_sum_beyond_64_bits_is_refused_and_nothing_is_frozen(
    parties: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    circle()
    opened = window()
    take(*[obligation(payer, payee, AMOUNT_MAX) for payer, payee in parties])
    monkeypatch.setattr(partitions, "first_surplus", lambda *_, **__: None)  # it would move the second on
    shut = windows.close(opened, at=AT)
    operation = running(shut, applied=1)

    with pytest.raises(SumOverflow):
        apply(operation, 1)

    assert not FrozenSet.objects.exists()


def test_the_largest_sum_of_64_bits_is_frozen_exactly() -> None:
    circle()
    shut = closed(obligation(A, B, AMOUNT_MAX - 1), obligation(B, C, 1))
    operation = running(shut, applied=3)

    assert FrozenSet.objects.get(operation=operation).gross_minor == AMOUNT_MAX


def test_an_obligation_of_a_party_that_is_not_there_is_refused() -> None:
    circle()
    shut = closed(obligation())
    sql("ALTER TABLE clearing_obligation DISABLE TRIGGER append_only")
    sql(f"ALTER TABLE clearing_obligation_w{shut.pk} DROP CONSTRAINT sealed")
    sql("UPDATE clearing_obligation SET payer_id = 999999")
    operation = running(shut, applied=1)

    with pytest.raises(UnknownReference) as refusal:
        apply(operation, 1)

    assert refusal.value.details["payer_id"] == 999999


def test_a_condemned_run_writes_nothing_more() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=2)
    operations.condemn(operation.pk, WorkFailed("first"), at=AT)
    before = snapshot()

    operations.condemn(operation.pk, OutOfTurn("second", "b", "c"), at=AT)
    with pytest.raises(OperationStopped):
        apply(operation, 2)
    with pytest.raises(OperationStopped):
        net(operation, 840)
    with pytest.raises(OperationStopped):
        operations.commit(operation.pk, at=AT)

    assert snapshot() == before
    row = steps.get(operation.pk)
    assert (row.error_code, row.error_message) == ("internal_error", "WorkFailed: first")


@concurrent
def test_condemning_waits_for_the_step_in_flight() -> None:
    operation = running(closed(), applied=1)
    inside, leave = threading.Event(), threading.Event()
    condemner: Queue[int] = Queue()

    def slow(_: AtomicOperation) -> None:
        inside.set()
        assert leave.wait(PATIENCE_SECONDS)

    def condemn() -> None:
        assert inside.wait(PATIENCE_SECONDS)
        condemner.put(backend())
        operations.condemn(operation.pk, WorkFailed(), at=AT)

    def watch() -> bool | None:
        assert inside.wait(PATIENCE_SECONDS)
        wait_until_blocked(condemner.get(timeout=PATIENCE_SECONDS))
        marked = steps.get(operation.pk).rolling_back_at
        leave.set()
        return marked is not None

    step = partial(steps.run_step, operation.pk, NAMES[1], slow, at=AT)
    assert together(step, condemn, watch) == [True, None, False]
    assert steps.get(operation.pk).rolling_back_at == AT


def test_commit_needs_every_checkpoint_and_may_be_repeated() -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=3)

    with pytest.raises(OutOfTurn):
        operations.commit(operation.pk, at=AT)
    apply(operation, 3)
    first = operations.commit(operation.pk, at=AT)
    again = operations.commit(operation.pk, at=AT + timedelta(days=1))

    assert (first.status, again.completed_at) == (OperationStatus.COMMITTED, AT)


def test_execute_commits_what_works() -> None:
    circle()
    shut = closed(*story(DAY))
    operation = operations.create(shut, OperationType.WINDOW_CLEARING)

    def work(row: AtomicOperation) -> None:
        for step in range(4):
            apply(row, step)

    done = operations.execute(operation.pk, work, at=AT)

    assert done.status == OperationStatus.COMMITTED


@pytest.mark.parametrize("before_it_fails", range(5))
def test_execute_rolls_back_what_fails_and_raises_it(before_it_fails: int) -> None:
    circle()
    shut = closed(*story(DAY))
    operation = operations.create(shut, OperationType.WINDOW_CLEARING)
    before = snapshot()

    def work(row: AtomicOperation) -> None:
        for step in range(before_it_fails):
            apply(row, step)
        fail(row)

    with pytest.raises(WorkFailed):
        operations.execute(operation.pk, work, at=AT)

    assert snapshot() == before
    row = steps.get(operation.pk)
    assert (row.status, row.error_message) == (OperationStatus.ROLLED_BACK, "WorkFailed: disk on fire")


def test_statistics_count_each_type_and_status() -> None:
    circle()
    operations.roll_back(running(closed(*story(DAY)), applied=2).pk, at=AT, reason="test")
    settled(closed(*story(DAY)))

    assert operations.statistics() == {
        "WindowOpen": {"Committed": 2},
        "WindowClose": {"Committed": 2},
        "WindowClearing": {"Committed": 1, "RolledBack": 1},
        "ObligationCollection": {"Committed": 1, "RolledBack": 1},
        "NettingCalculation": {"Committed": 1},
        "InstructionGeneration": {"Committed": 1},
        "SettlementInitiation": {"Committed": 1},
    }


def test_a_checkpoint_is_found_by_its_name() -> None:
    operation = running(closed(), applied=1)

    assert steps.find_checkpoint(operation.pk, NAMES[0]).status == CheckpointStatus.APPLIED
    with pytest.raises(UnknownCheckpoint):
        steps.find_checkpoint(operation.pk, "coffee_made")
    with pytest.raises(UnknownOperation):
        steps.get(uuid4())
