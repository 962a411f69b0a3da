"""
What an operator may do after the point of no return about an instruction that the engine failed.

Nothing is rolled back. The engine is asked once more, outside any transaction, before anything is paid
again: what it has executed after all is not executed twice.
"""

from datetime import datetime
from uuid import UUID

from clearing import finality, operations, settling
from clearing.models import Dispatch
from settlement.models import Execution
from settlement.rails import attempts, engine, executions

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


def _ask(instruction_id: UUID, *, is_silence_taken: bool, at: datetime) -> None:
    last = attempts.failed(instruction_id)
    answers = engine.deliver([executions.question(last)])
    settling.record(last.batch_id, answers, at=at)
    attempts.refuse_contradicted(last, answers[0][1], is_silence_taken=is_silence_taken)
