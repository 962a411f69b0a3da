"""
Have a final run's batch executed by the outside settlement engine: claim, send or ask, record, tell.

No transaction is open while a message is under way. What the engine said is recorded, posted on our ledger
and, where it failed, told in one transaction. Nothing here goes back: only forward, as often as it takes.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

from django.conf import settings
from django.db import transaction

from clearing import steps
from clearing.events import facts, outbox
from clearing.faults import reach
from clearing.models import AtomicOperation
from settlement.models import Execution
from settlement.rails import engine, executions
from settlement.rails.executions import Answer, Claim, Outcome, Recorded

logger = logging.getLogger(__name__)

DRIVE_SECONDS = 30.0  # one task's share; what is left is sent again
SHOWN_MAX = 100  # instructions named by one event
Kind = type[facts.InstructionsFailed] | type[facts.InstructionsContradicted]


def drive(operation_id: UUID, *, at: datetime) -> datetime | None:
    """
    Send and ask what is due of the run's batch, until nothing is due or the time is up.

    Stops early while the engine is away. May run beside its double: a claim has one bearer.

    Returns:
        When the batch needs the next message; None if none can be sent as things are.
    """
    since, not_before = perf_counter(), at
    while (spent := perf_counter() - since) < DRIVE_SECONDS:
        now = at + timedelta(seconds=spent)
        claims = executions.claim(operation_id, at=now, limit=settings.CLEARING["SETTLEMENT_PARALLEL"])
        if not claims:
            break
        reach("engine.claimed")
        answers = engine.deliver(claims)
        reach("engine.answered")
        record(operation_id, answers, at=at + timedelta(seconds=perf_counter() - since))
        reach("engine.recorded")
        if all(answer.is_away for _, answer in answers):
            not_before = now + timedelta(seconds=settings.REMOTE["RESET_SECONDS"])
            break
    due_at = executions.due_at(operation_id)
    return None if due_at is None else max(due_at, not_before)


def exchanged(operation_id: UUID) -> int:
    """Count the messages about the run's batch so far; 0 where no engine outside executes it."""
    return executions.exchanged(operation_id)


@transaction.atomic
def record(operation_id: UUID, answers: Sequence[tuple[Claim, Answer]], *, at: datetime) -> Recorded:
    """Record what the engine answered, and tell of what failed or was contradicted."""
    recorded = executions.record(answers, at=at)
    operation = steps.get(operation_id)
    _tell(operation, facts.InstructionsFailed, recorded.failed, at=at)
    _tell(operation, facts.InstructionsContradicted, recorded.contradicted, at=at)
    return recorded


def hear(told: Iterable[tuple[str, str, Outcome]], *, at: datetime) -> set[UUID]:
    """
    Take the engine's events as a knock: what they are about is asked for, now instead of later.

    So an event that is late, doubled, out of order or about something else can do no harm. An execution
    that has ended is asked about again where the event says otherwise.

    Returns:
        The runs concerned.
    """
    outcomes = {engine_id: outcome for *ids, outcome in told for engine_id in ids if engine_id}
    found = executions.hurry(list(outcomes), at=at)
    for row in found:
        said = {outcomes.get(row.settlement_id), outcomes.get(str(row.pk))}
        if row.status in executions.OTHERWISE and executions.OTHERWISE[row.status] in said:
            record(row.batch_id, engine.deliver([executions.question(row)]), at=at)
    return {row.batch_id for row in found}


def _tell(operation: AtomicOperation, kind: Kind, rows: list[Execution], *, at: datetime) -> None:
    for start in range(0, len(rows), SHOWN_MAX):
        named = rows[start : start + SHOWN_MAX]
        for row in named:
            logger.error("%s: %s of operation %s: %s", kind.event_type.value, row, operation.pk, row.message)
        said = [
            facts.Execution(
                instruction_id=row.instruction_id,
                attempt=row.attempt,
                settlement_id=row.settlement_id,
                message=row.message,
            )
            for row in named
        ]
        outbox.append(operation.window_id, kind(operation_id=operation.pk, instructions=said), at=at)
