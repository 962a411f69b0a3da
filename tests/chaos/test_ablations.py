"""
Take a guarantee away and see the suite notice: what these tests replace is our own code, on purpose.

Each stands for one sentence of docs/reliability.md. Were it to pass with the guarantee in place, or to fail
without it, then nothing would hold that guarantee.
"""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from django.utils import timezone

from clearing import operations, pipeline, recovery, steps
from clearing.checkpoints import STEPS, Step, netting_calculated
from clearing.events import outbox
from clearing.models import AtomicOperation, Checkpoint, Dispatch, NettingResult
from clearing.operations import RollbackFailed
from clearing.states import OperationStatus, WindowStatus
from clearing.steps import LeaseLost
from settlement import accounts, instructions
from settlement.models import SettlementInstruction
from tests.chaos import invariants
from tests.database import sql
from tests.factories import AT, DAY, circle, closed, net, running, story

pytestmark = pytest.mark.django_db

Work = Callable[[AtomicOperation], None]


def nothing(*_: object, **__: object) -> None:
    """Do nothing, and say so to nobody."""


def roll_back(operation: AtomicOperation) -> AtomicOperation:
    return operations.roll_back(operation.pk, at=AT, reason="test")


def run_of_all_steps() -> AtomicOperation:
    circle(10_000)
    return running(closed(*story(DAY)), applied=4)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.NAME)
def test_an_undo_that_does_nothing_is_no_rollback(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    operation = run_of_all_steps()
    monkeypatch.setattr(step, "undo", nothing)

    with pytest.raises(RollbackFailed) as refusal:
        roll_back(operation)

    assert refusal.value.details["checkpoint"] == step.NAME
    assert steps.get(operation.pk).status == OperationStatus.ROLLBACK_FAILED
    monkeypatch.undo()
    assert roll_back(operation).status == OperationStatus.ROLLED_BACK
    assert invariants.broken() == []


def test_undos_that_each_prove_themselves_are_no_rollback_if_the_whole_does_not() -> None:
    operation = run_of_all_steps()
    sql("UPDATE clearing_atomicoperation SET digest_before = 'another' WHERE id = %s", operation.pk)

    with pytest.raises(RollbackFailed) as refusal:
        roll_back(operation)

    assert refusal.value.details["checkpoint"] == "digest"
    assert steps.get(operation.pk).status == OperationStatus.ROLLBACK_FAILED


@pytest.mark.parametrize(("room", "verb"), [(accounts, "release"), (instructions, "withdraw")])
def test_half_an_undo_is_no_rollback(monkeypatch: pytest.MonkeyPatch, room: object, verb: str) -> None:
    operation = run_of_all_steps()
    monkeypatch.setattr(room, verb, nothing)

    with pytest.raises(RollbackFailed):
        roll_back(operation)


def test_without_the_digest_an_undo_that_does_nothing_is_believed_and_the_suite_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sql(
        "CREATE OR REPLACE FUNCTION run_digest(of_operation uuid, of_window bigint, since smallint)"
        " RETURNS text LANGUAGE sql AS $$ SELECT 'believe me' $$"
    )
    operation = run_of_all_steps()
    monkeypatch.setattr(STEPS[3], "undo", nothing)

    assert roll_back(operation).status == OperationStatus.ROLLED_BACK

    assert SettlementInstruction.objects.filter(batch_id=operation.pk).exists()
    assert any("left rows" in each for each in invariants.broken())


def test_without_the_write_ahead_a_half_done_netting_is_left_and_only_the_digest_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circle(10_000)
    operation = running(closed(*story(DAY)), applied=2)
    monkeypatch.setattr(steps, "begin", nothing)
    monkeypatch.setattr(steps, "run_part", _run_part_unasked)

    pipeline.net_currency(str(operation.pk), 840)
    assert steps.find_checkpoint(operation.pk, netting_calculated.NAME).status == "Planned"

    with pytest.raises(RollbackFailed) as refusal:
        roll_back(operation)

    assert NettingResult.objects.filter(operation=operation).count() == 1
    assert refusal.value.details["checkpoint"] == "obligations_collected"


def test_with_the_write_ahead_a_half_done_netting_is_undone() -> None:
    circle(10_000)
    operation = running(closed(*story(DAY)), applied=2)
    steps.begin(operation.pk, netting_calculated.NAME, at=AT)
    net(operation, 840)

    assert roll_back(operation).status == OperationStatus.ROLLED_BACK
    assert invariants.broken() == []


def test_without_its_token_a_worker_that_lost_its_lease_writes() -> None:
    circle(10_000)
    operation = running(closed(*story(DAY)), applied=1)
    Dispatch.objects.create(operation=operation, count=2, next_at=AT)
    late = partial(pipeline.collect, str(operation.pk), 1)

    with pytest.raises(LeaseLost):
        late()
    assert steps.get(operation.pk).rolling_back_at is None, "who comes late has no say either"
    assert _applied(operation) == 1
    assert steps.find_checkpoint(operation.pk, "obligations_collected").status == "Planned"

    pipeline.collect(str(operation.pk), None)
    assert _applied(operation) == 2


def test_without_the_sweep_a_run_whose_message_is_lost_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "_publish", nothing)
    circle(10_000)
    operation = pipeline.clear(closed(*story(DAY)), at=AT)
    assert operation.dispatch.count == 1

    assert any("not come to its end" in each for each in invariants.unrest(deployed=False))
    recovery.sweep(at=timezone.now() + pipeline.lease(0))

    assert Dispatch.objects.get(pk=operation.pk).count == 2, "sent again, with a new token"


def test_an_event_that_is_not_written_is_a_gap_that_the_suite_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = run_of_all_steps()
    monkeypatch.setattr(outbox, "append", nothing)

    assert roll_back(operation).status == OperationStatus.ROLLED_BACK

    assert operation.window.status != WindowStatus.COMPLETED
    assert any("another story" in each for each in invariants.broken())


def _run_part_unasked(operation_id: UUID, _: str, work: Work, **__: object) -> None:
    """Do the part without asking whether its step was begun."""
    work(steps.get(operation_id))


def _applied(operation: AtomicOperation) -> int:
    return Checkpoint.objects.filter(operation=operation, status="Applied").count()
