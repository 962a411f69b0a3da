"""
What may be done by hand about an instruction at an outside engine.

One that the engine failed is tried again or settled another way: both write a new attempt beside the failed
one, and PostgreSQL lets no instruction have two that have not failed. One whose outcome the engine will never
tell is declared completed or failed.
"""

from datetime import datetime
from uuid import UUID, uuid5

from django.db import transaction

from clearing_project.errors import Conflict, Unavailable
from clearing_project.lifecycle import move
from settlement.models import Execution, SettlementInstruction
from settlement.rails import ledger
from settlement.rails.executions import Answer, Outcome
from settlement.states import (
    EXECUTION_MOVES,
    INSTRUCTION_MOVES,
    ExecutionStatus,
    InstructionStatus,
    Rail,
)

UNDECIDED = (ExecutionStatus.UNKNOWN, ExecutionStatus.EXECUTING)


class InstructionFailed(Conflict):
    """The settlement engine failed to execute an instruction of a final run."""

    code = "instruction_failed"
    fields = ("instruction_id", "attempt", "cause")
    message = "Attempt {attempt} to settle instruction {instruction_id} failed: {cause}"


class InstructionNotFailed(Conflict):
    """The instruction has not failed, so nobody may settle it otherwise."""

    code = "instruction_not_failed"
    fields = ("instruction_id", "status")
    message = (
        "Instruction {instruction_id} is {status}; only one that failed is tried again or settled by hand."
    )


class EngineContradicts(Conflict):
    """The engine now says that what it had failed was executed; to pay again could pay twice."""

    code = "engine_contradicts"
    fields = ("instruction_id", "said")
    message = (
        "The engine said that instruction {instruction_id} failed and now says {said}: clear that up first."
    )


class EngineSilent(Unavailable):
    """The engine does not confirm that the last attempt failed."""

    code = "engine_silent"
    fields = ("instruction_id", "said")
    message = "The engine does not confirm that instruction {instruction_id} failed: {said}"


class OutcomeKnown(Conflict):
    """The outcome of the last attempt is known, or comes without anybody's word."""

    code = "outcome_known"
    fields = ("instruction_id", "status")
    message = "Instruction {instruction_id} is {status}; only an outcome that nobody knows is declared."


class EngineAnswers(Conflict):
    """The engine answers, so its outcome is awaited and not declared."""

    code = "engine_answers"
    fields = ("instruction_id", "said")
    message = "The engine answers that instruction {instruction_id} is {said}: wait for it."


def failed(instruction_id: UUID) -> Execution:
    """
    Return the last attempt of an instruction that failed.

    Raises:
        InstructionNotFailed: there is none, it has not failed, or the engine never had it.
    """
    last = Execution.objects.filter(instruction_id=instruction_id).order_by("-attempt").first()
    if last is None or last.status != ExecutionStatus.FAILED:
        raise InstructionNotFailed(str(instruction_id), last.status if last else "not at an engine")
    return last


def refuse_contradicted(last: Execution, answer: Answer, *, is_silence_taken: bool) -> None:
    """
    Refuse to go on unless the engine still says that the attempt failed, or knows nothing of it.

    Raises:
        EngineContradicts
        EngineSilent: unless silence is taken for the answer it gave before.
    """
    if last.contradicted_at is not None or answer.outcome in (Outcome.COMPLETED, Outcome.DIFFERS):
        raise EngineContradicts(str(last.instruction_id), answer.outcome.value)
    if answer.outcome not in (Outcome.FAILED, Outcome.ABSENT) and not is_silence_taken:
        raise EngineSilent(str(last.instruction_id), answer.message or answer.outcome.value)


def undecided(instruction_id: UUID) -> Execution:
    """
    Return the last attempt of an instruction that was sent and whose outcome nobody knows; locked.

    Raises:
        OutcomeKnown: it has ended, or is still to be sent, or the engine never had it.
    """
    attempts = Execution.objects.select_for_update().filter(instruction_id=instruction_id)
    last = attempts.order_by("-attempt").first()
    if last is None or last.status not in UNDECIDED:
        raise OutcomeKnown(str(instruction_id), last.status if last else "not at an engine")
    return last


def refuse_answered(last: Execution, answer: Answer) -> None:
    """
    Refuse to declare what the engine itself still tells.

    Raises:
        EngineAnswers
    """
    if answer.outcome == Outcome.EXECUTING:
        raise EngineAnswers(str(last.instruction_id), answer.outcome.value)


@transaction.atomic
def retry(instruction_id: UUID, *, actor: str, reason: str, at: datetime) -> Execution:
    """
    Plan another attempt, with an id of its own; the engine gets it as any other.

    Raises:
        InstructionNotFailed
    """
    instruction, attempt = _next(instruction_id)
    execution = Execution.objects.create(
        id=uuid5(instruction_id, str(attempt)),
        instruction=instruction,
        batch_id=instruction.batch_id,
        attempt=attempt,
        next_at=at,
        actor=actor,
        reason=reason,
    )
    move(instruction, to=InstructionStatus.IN_PROGRESS, moves=INSTRUCTION_MOVES)
    return execution


@transaction.atomic
def settle_by_hand(instruction_id: UUID, *, actor: str, reason: str, at: datetime) -> Execution:
    """
    Record that the instruction was settled another way, and post it.

    Raises:
        InstructionNotFailed
    """
    instruction, attempt = _next(instruction_id)
    execution = Execution.objects.create(
        instruction=instruction,
        batch_id=instruction.batch_id,
        attempt=attempt,
        rail=Rail.HAND,
        next_at=at,
        actor=actor,
        reason=reason,
    )
    move(execution, to=ExecutionStatus.COMPLETED, moves=EXECUTION_MOVES, completed_at=at)
    ledger.post([instruction_id], at=at)
    return execution


def _next(instruction_id: UUID) -> tuple[SettlementInstruction, int]:
    """Lock the instruction and return it with the number of its next attempt."""
    instruction = (
        SettlementInstruction.objects.select_for_update(of=("self",)).filter(pk=instruction_id).first()
    )
    last = failed(instruction_id)
    assert instruction is not None, "an attempt has its instruction"
    return instruction, last.attempt + 1
