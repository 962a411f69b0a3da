"""Every pair of states, in Python and in PostgreSQL: what is not in the table is refused in both."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import models

from clearing.models import AtomicOperation, Checkpoint, ClearingWindow, SetAside
from clearing.states import (
    ASIDE_MOVES,
    CHECKPOINT_MOVES,
    OPERATION_MOVES,
    WINDOW_MOVES,
    AsideStatus,
    CheckpointStatus,
    OperationStatus,
    OperationType,
    WindowStatus,
)
from clearing_project.lifecycle import IllegalMove, Moves, edges, move
from settlement.models import Execution, Participant, RiskVerdict, SettlementInstruction
from settlement.states import (
    EXECUTION_MOVES,
    INSTRUCTION_MOVES,
    PARTICIPANT_MOVES,
    VERDICT_MOVES,
    ExecutionStatus,
    InstructionStatus,
    InstructionType,
    ParticipantKind,
    ParticipantStatus,
    VerdictStatus,
)
from tests.database import refused, sql
from tests.factories import AT, BY_HAND

pytestmark = pytest.mark.django_db


def a_window(status: models.TextChoices) -> ClearingWindow:
    return ClearingWindow.objects.create(
        region=BY_HAND,
        status=status,
        opens_at=AT,
        cutoff_at=AT + timedelta(hours=6),
        grace_seconds=30,
        netting_mode="multilateral",
        transfers="agent",
        max_obligations=10,
        min_netting_efficiency_bps=5000,
        auto_settle=True,
        emergency_mode=False,
        closing_at=AT,
        closed_at=AT,
        processing_at=AT,
        processed_at=AT,
    )


def an_operation(status: models.TextChoices) -> AtomicOperation:
    return AtomicOperation.objects.create(
        window=a_window(WindowStatus.SCHEDULED),
        operation_type=OperationType.WINDOW_OPEN,
        status=status,
        reason="test",
        started_at=AT,
        completed_at=AT,
    )


def a_checkpoint(status: models.TextChoices) -> Checkpoint:
    return Checkpoint.objects.create(
        operation=an_operation(OperationStatus.PENDING),
        position=1,
        name="window_status_changed",
        status=status,
        started_at=AT,
        applied_at=AT,
        undone_at=AT,
    )


def a_participant(status: models.TextChoices) -> Participant:
    return Participant.objects.create(
        code="BANK-A", name="The BANK-A", country="BE", kind=ParticipantKind.MEMBER, status=status
    )


def an_instruction(status: models.TextChoices) -> SettlementInstruction:
    return SettlementInstruction.objects.create(
        batch_id=uuid4(),
        currency_id=840,
        payer=a_participant(ParticipantStatus.ACTIVE),
        payee=Participant.objects.get(code="AGENT"),
        amount_minor=1,
        instruction_type=InstructionType.NET,
        priority=0,
        status=status,
        deadline_at=AT,
        settled_at=AT,
    )


def an_obligation_set_aside(status: models.TextChoices) -> SetAside:
    return SetAside.objects.create(
        id=1,
        amount_minor=1,
        key=uuid4(),
        submitted_at=AT,
        payer_id=1,
        payee_id=2,
        currency_id=840,
        reference="r",
        submitter="BANK-A",
        region=BY_HAND,
        status=status,
        reason="test",
        by="test",
        aside_at=AT,
    )


def an_execution(status: models.TextChoices) -> Execution:
    instruction = an_instruction(InstructionStatus.PENDING)
    return Execution.objects.create(
        id=instruction.pk,
        instruction=instruction,
        batch_id=instruction.batch_id,
        status=status,
        sends=1,
        next_at=AT,
        sent_at=AT,
        completed_at=AT,
    )


def a_verdict(status: models.TextChoices) -> RiskVerdict:
    instruction = an_instruction(InstructionStatus.PENDING)
    return RiskVerdict.objects.create(
        instruction=instruction, batch_id=instruction.batch_id, status=status, given_at=AT
    )


@dataclass(frozen=True)
class Kind:
    """A table with statuses: how to make a row, and which moves its status has."""

    make: Callable[[models.TextChoices], models.Model]
    model: type[models.Model]
    statuses: type[models.TextChoices]
    moves: Moves[models.TextChoices]
    first: models.TextChoices

    @property
    def table(self) -> str:
        return self.model._meta.db_table


KINDS = [
    Kind(a_window, ClearingWindow, WindowStatus, WINDOW_MOVES, WindowStatus.SCHEDULED),  # type: ignore[arg-type]
    Kind(an_operation, AtomicOperation, OperationStatus, OPERATION_MOVES, OperationStatus.PENDING),  # type: ignore[arg-type]
    Kind(a_checkpoint, Checkpoint, CheckpointStatus, CHECKPOINT_MOVES, CheckpointStatus.PLANNED),  # type: ignore[arg-type]
    Kind(a_participant, Participant, ParticipantStatus, PARTICIPANT_MOVES, ParticipantStatus.ACTIVE),  # type: ignore[arg-type]
    Kind(
        an_instruction,
        SettlementInstruction,
        InstructionStatus,
        INSTRUCTION_MOVES,  # type: ignore[arg-type]
        InstructionStatus.PENDING,
    ),
    Kind(an_obligation_set_aside, SetAside, AsideStatus, ASIDE_MOVES, AsideStatus.PARKED),  # type: ignore[arg-type]
    Kind(an_execution, Execution, ExecutionStatus, EXECUTION_MOVES, ExecutionStatus.PLANNED),  # type: ignore[arg-type]
    Kind(a_verdict, RiskVerdict, VerdictStatus, VERDICT_MOVES, VerdictStatus.PENDING),  # type: ignore[arg-type]
]
EVERY_KIND = [pytest.param(kind, id=kind.model.__name__) for kind in KINDS]
EVERY_PAIR = [
    pytest.param(kind, origin, target, id=f"{kind.model.__name__}-{origin.value}-{target.value}")
    for kind in KINDS
    for origin in kind.statuses
    for target in kind.statuses
]
EVERY_FIRST = [
    pytest.param(kind, status, id=f"{kind.model.__name__}-{status.value}")
    for kind in KINDS
    for status in kind.statuses
]


def row_in(kind: Kind, status: models.TextChoices) -> models.Model:
    """Put a row into *status*, with the guard off inside this test's transaction."""
    row = kind.make(kind.first)
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no deferred check
    sql(f"ALTER TABLE {kind.table} DISABLE TRIGGER legal_move")
    sql(f"UPDATE {kind.table} SET status = %s WHERE id = %s", status.value, row.pk)
    sql(f"ALTER TABLE {kind.table} ENABLE TRIGGER legal_move")
    row.refresh_from_db()
    return row


def status_of(row: models.Model) -> str:
    return str(type(row)._default_manager.values_list("status", flat=True).get(pk=row.pk))


@pytest.mark.parametrize(("kind", "origin", "target"), EVERY_PAIR)
def test_move_allows_what_the_table_allows_and_refuses_the_rest(
    kind: Kind, origin: models.TextChoices, target: models.TextChoices
) -> None:
    row = row_in(kind, origin)

    if target in kind.moves[origin]:
        move(row, to=target, moves=kind.moves)
        assert status_of(row) == target.value
    else:
        with pytest.raises(IllegalMove) as refusal:
            move(row, to=target, moves=kind.moves)
        assert refusal.value.details == {
            "kind": kind.model.__name__,
            "id": str(row.pk),
            "from_status": origin.value,
            "to_status": target.value,
        }
        assert status_of(row) == origin.value


@pytest.mark.parametrize(
    ("kind", "origin", "target"), [pair for pair in EVERY_PAIR if pair.values[1] != pair.values[2]]
)
def test_postgresql_allows_what_the_table_allows_and_refuses_the_rest(
    kind: Kind, origin: models.TextChoices, target: models.TextChoices
) -> None:
    row = row_in(kind, origin)
    update = f"UPDATE {kind.table} SET status = %s WHERE id = %s"

    if target in kind.moves[origin]:
        sql(update, target.value, row.pk)
        assert status_of(row) == target.value
    else:
        with refused("legal_move"):
            sql(update, target.value, row.pk)
        assert status_of(row) == origin.value


@pytest.mark.parametrize(("kind", "status"), EVERY_FIRST)
def test_postgresql_lets_a_row_begin_in_its_first_state_only(kind: Kind, status: models.TextChoices) -> None:
    if status == kind.first:
        assert status_of(kind.make(status)) == kind.first.value
    else:
        with refused("legal_move"):
            kind.make(status)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_trigger_holds_exactly_the_moves_of_the_table(kind: Kind) -> None:
    ((arguments,),) = sql(
        "SELECT tgargs FROM pg_trigger WHERE tgname = 'legal_move' AND tgrelid = %s::regclass", kind.table
    )

    held = bytes(arguments).decode().rstrip("\0").split("\0")
    assert sorted(held) == sorted(edges(kind.moves, first=kind.first))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_status_has_its_moves(kind: Kind) -> None:
    assert set(kind.moves) == set(kind.statuses)


def test_every_table_with_moves_is_tested_here() -> None:
    guarded = sql("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'legal_move'")

    assert {name for (name,) in guarded} == {kind.table for kind in KINDS}


def test_of_two_that_read_the_same_state_one_moves_the_row() -> None:
    row = a_window(WindowStatus.SCHEDULED)
    stale = ClearingWindow.objects.get(pk=row.pk)
    move(row, to=WindowStatus.OPEN, moves=WINDOW_MOVES)

    with pytest.raises(IllegalMove) as refusal:
        move(stale, to=WindowStatus.OPEN, moves=WINDOW_MOVES, closing_at=None)

    assert refusal.value.details["from_status"] == "Open"
    assert ClearingWindow.objects.get(pk=row.pk).closing_at == AT


def test_a_window_is_never_deleted() -> None:
    row = a_window(WindowStatus.SCHEDULED)

    with refused("append_only"):
        sql("DELETE FROM clearing_clearingwindow WHERE id = %s", row.pk)
