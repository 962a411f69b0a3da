"""
What may be done by hand after the point of no return about an instruction at an outside engine.

Nothing is rolled back. The engine is asked once more, outside any transaction, before anything is paid
again or declared: what it has executed after all is not executed twice.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from clearing import finality, operations, settling
from clearing.models import Dispatch
from settlement.models import Execution
from settlement.rails import attempts, engine, executions
from settlement.rails.executions import Answer, Outcome

ACTOR_MAX = 150


def retry(instruction_id: UUID, *, actor: str, reason: str, at: datetime) -> Execution:
    """
    Have a failed instruction tried again by the engine, under the id of a new attempt; a worker sends it.

    Raises:
        ReasonInvalid, InstructionNotFailed, EngineContradicts, EngineSilent
    """
    reason = operations.reason_given(reason)
    _ask(instruction_id, is_silence_taken=False, at=at)
    execution = attempts.retry(instruction_id, actor=actor[:ACTOR_MAX], reason=reason, at=at)
    Dispatch.objects.filter(pk=execution.batch_id).update(next_at=at)
    return execution


def settle_by_hand(instruction_id: UUID, *, actor: str, reason: str, at: datetime) -> Execution:
    """
    Record that a failed instruction was settled another way; post it, and complete the window after the last.

    An engine that does not answer keeps nobody from it: it has said before that it failed, and that is final.

    Raises:
        ReasonInvalid, InstructionNotFailed, EngineContradicts
    """
    reason = operations.reason_given(reason)
    _ask(instruction_id, is_silence_taken=True, at=at)
    execution = attempts.settle_by_hand(instruction_id, actor=actor[:ACTOR_MAX], reason=reason, at=at)
    finality.complete(execution.batch_id, at=at)
    return execution


def inquire(instruction_id: UUID, outcome: Outcome, *, at: datetime) -> Answer | None:
    """
    Ask the engine once more before *outcome* is declared, and record what it says; in no transaction.

    Returns:
        What it said; None: this very outcome was declared before.

    Raises:
        OutcomeKnown
    """
    with transaction.atomic():
        if _declared(instruction_id, outcome) is not None:
            return None
        last = attempts.undecided(instruction_id)
    answers = engine.deliver([executions.question(last)])
    settling.record(last.batch_id, answers, at=at)
    return answers[0][1]


@transaction.atomic
def declare(
    instruction_id: UUID, outcome: Outcome, *, said: Answer | None, actor: str, reason: str, at: datetime
) -> Execution:
    """
    Declare an outcome that the engine will never tell; from then on all is as if it had told it.

    Declaring the same again changes nothing. An engine that says otherwise later is an alarm.

    Args:
        outcome: Completed or Failed.
        said: what ``inquire`` returned just now.

    Raises:
        ReasonInvalid
        OutcomeKnown: the engine told it after all, or nothing was sent.
        EngineAnswers: it is at it.
    """
    reason, actor = operations.reason_given(reason), actor[:ACTOR_MAX]
    if (known := _declared(instruction_id, outcome)) is not None:
        return known
    last = attempts.undecided(instruction_id)
    if said is not None:
        attempts.refuse_answered(last, said)
    message = f"{outcome.value} as declared by {actor}: {reason}"
    answer = Answer(outcome, message=message, declared_by=actor, declared_reason=reason)
    settling.record(last.batch_id, [(executions.question(last), answer)], at=at)
    if outcome == Outcome.COMPLETED:
        finality.complete(last.batch_id, at=at)
    Dispatch.objects.filter(pk=last.batch_id).update(next_at=at)
    return Execution.objects.get(pk=last.pk)


def _declared(instruction_id: UUID, outcome: Outcome) -> Execution | None:
    """Return the last attempt, locked, if this very outcome of it was declared before."""
    attempts_of_it = Execution.objects.select_for_update().filter(instruction_id=instruction_id)
    last = attempts_of_it.order_by("-attempt").first()
    if last is None or last.declared_at is None or last.status != executions.FACTS[outcome]:
        return None
    return last


def _ask(instruction_id: UUID, *, is_silence_taken: bool, at: datetime) -> None:
    last = attempts.failed(instruction_id)
    answers = engine.deliver([executions.question(last)])
    settling.record(last.batch_id, answers, at=at)
    attempts.refuse_contradicted(last, answers[0][1], is_silence_taken=is_silence_taken)
