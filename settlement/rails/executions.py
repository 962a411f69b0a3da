"""
Executions at an outside engine: planned, claimed, and moved on by what the engine answers.

Every message is written ahead: a claim is committed before it leaves. Whoever finds a claim whose time has
passed does not know what became of it and asks. Only the engine's word that it knows nothing of an
execution lets it be sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Sum

from clearing_project.storable import storable
from netting import money
from settlement import participants
from settlement.models import Execution, SettlementInstruction
from settlement.models.rails import ENGINE_TEXT_MAX
from settlement.rails import ledger
from settlement.states import ExecutionStatus, InstructionStatus, InstructionType, Rail

ASK_SECONDS, ASK_SECONDS_MAX = 1.0, 60.0  # between questions about one execution, doubled with each
MESSAGE_MAX = 500
NOT_TAKEN = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"})


class Outcome(Enum):
    """What an answer of the engine, or its silence, tells of an execution."""

    UNKNOWN = "unknown"  # no answer, or one that says nothing
    ABSENT = "absent"  # the engine knows nothing of it
    DIFFERS = "differs"  # the engine has something else under its id
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Claim:
    """
    One message that its bearer alone may send: an execution to start, or a question about one.

    *sends* and *asks* are the claim's token: silence counts only while no later claim was made. *made_at* is
    the machine's monotonic time.
    """

    id: UUID
    instruction_id: UUID
    batch_id: UUID
    attempt: int
    settlement_id: str
    payer: str
    payee: str
    amount: str
    currency: str
    instruction_type: str
    priority: int
    created_at: datetime
    is_question: bool
    sends: int
    asks: int
    made_at: float = field(default_factory=monotonic)

    def may_be_sent(self) -> bool:
        """
        Tell whether a call begun now ends before others may take the claim for abandoned.

        A bearer that was paused longer must not send: another may have sent in its place, and an engine that
        does not know an id again would pay twice.
        """
        timeout_seconds: float = settings.REMOTE["TIMEOUT_SECONDS"]
        return monotonic() - self.made_at + timeout_seconds < lease().total_seconds()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a claim. *is_away*: nothing did, so the next claim may wait as well."""

    outcome: Outcome
    settlement_id: str = ""
    reference: str = ""
    confirmation_code: str = ""
    message: str = ""
    refusal: str = ""
    is_away: bool = False
    declared_by: str = ""  # who says so in the engine's place, and why
    declared_reason: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Instructions whose standing this record changed."""

    completed: list[UUID]
    failed: list[Execution]
    contradicted: list[Execution]


def plan(batch_id: UUID, *, at: datetime) -> int:
    """Plan the first attempt of each instruction of the batch; planning it again adds nothing."""
    with connection.cursor() as cursor:
        cursor.execute(PLAN, [at, batch_id])
        return int(cursor.rowcount)


def carries(batch_id: UUID) -> bool:
    """Tell whether the batch was planned for an outside engine."""
    return Execution.objects.filter(batch_id=batch_id).exists()


def exchanged(batch_id: UUID) -> int:
    """Count the messages that were claimed for the batch; 0 where no engine outside executes it."""
    found = Execution.objects.filter(batch_id=batch_id).aggregate(count=Sum(F("sends") + F("asks")))
    return found["count"] or 0


@transaction.atomic
def claim(batch_id: UUID, *, at: datetime, limit: int) -> list[Claim]:
    """
    Take up to *limit* executions that are due, write ahead what will be sent, and return it.

    What the agent pays out is sent when all that it is paid in the currency is Completed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            DUE,
            {"batch": batch_id, "at": at, "agent": participants.agent().pk, "limit": limit},
        )
        chosen = [row[0] for row in cursor.fetchall()]
    rows = Execution.objects.select_related(
        "instruction__payer", "instruction__payee", "instruction__currency"
    ).filter(pk__in=chosen)
    claims = [_claim(row, at=at) for row in rows.order_by("pk")]
    begun = [each.instruction_id for each in claims if not each.is_question]
    SettlementInstruction.objects.filter(pk__in=begun, status=InstructionStatus.PENDING).update(
        status=InstructionStatus.IN_PROGRESS
    )
    return claims


def question(execution: Execution) -> Claim:
    """Make a question about an execution as it stands, whatever its status; it claims nothing."""
    row = Execution.objects.select_related(
        "instruction__payer", "instruction__payee", "instruction__currency"
    ).get(pk=execution.pk)
    return _order(row, is_question=True)


def record(answers: Sequence[tuple[Claim, Answer]], *, at: datetime) -> Recorded:
    """
    Move executions on by what was answered; what was executed is posted in the same transaction.

    A fact counts whoever brings it and however late or often; silence counts for the latest claim alone.
    """
    assert connection.in_atomic_block, "recorded with the events it causes"
    keys = sorted({claim.id for claim, _ in answers})
    locked = Execution.objects.select_for_update(of=("self",)).filter(pk__in=keys).order_by("pk")
    rows = {row.pk: row for row in locked}
    before = {row.pk: (row.status, row.contradicted_at) for row in rows.values()}
    for claimed, answer in answers:
        _apply(rows[claimed.id], claimed, answer, at=at)
    changed = [row for row in rows.values() if row.status != before[row.pk][0]]
    completed = [row.instruction_id for row in changed if row.status == ExecutionStatus.COMPLETED]
    failed = [row for row in changed if row.status == ExecutionStatus.FAILED]
    Execution.objects.bulk_update(rows.values(), WRITTEN)
    if completed:
        ledger.post(completed, at=at)
    SettlementInstruction.objects.filter(pk__in=[row.instruction_id for row in failed]).update(
        status=InstructionStatus.FAILED
    )
    contradicted = [row for row in rows.values() if row.contradicted_at != before[row.pk][1]]
    return Recorded(completed, failed, contradicted)


def due_at(batch_id: UUID) -> datetime | None:
    """Return when the batch needs the next message; None if none can be sent as things are."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT, {"batch": batch_id, "agent": participants.agent().pk})
        (moment,) = cursor.fetchone()
    assert moment is None or isinstance(moment, datetime)
    return moment


def hurry(engine_ids: Sequence[str], *, at: datetime) -> list[Execution]:
    """
    Make executions due now, because the engine has something to say of them; ids are its own or ours.

    Returns:
        All that bear these ids, those that have ended included; ids nobody knows are left out.
    """
    theirs = [each for each in engine_ids if _can_be_asked(each)]
    ours = [UUID(each) for each in engine_ids if _is_uuid(each)]
    found = Execution.objects.filter(settlement_id__in=theirs) | Execution.objects.filter(pk__in=ours)
    rows = list(found.filter(rail=Rail.ENGINE).exclude(sends=0))
    Execution.objects.filter(
        pk__in=[row.pk for row in rows],
        status__in=(ExecutionStatus.EXECUTING, ExecutionStatus.UNKNOWN),
        next_at__gt=at,
    ).update(next_at=at)
    return rows


def _claim(row: Execution, *, at: datetime) -> Claim:
    """Write a due execution ahead: what is planned is sent, about everything else is asked."""
    is_question = row.status != ExecutionStatus.PLANNED
    if is_question:
        row.asks += 1
    else:
        row.sends += 1
        row.status, row.sent_at, row.refusal = ExecutionStatus.SENDING, at, ""
    if is_question and row.status == ExecutionStatus.SENDING:  # its sender is gone
        row.status = ExecutionStatus.UNKNOWN
    row.next_at = at + lease()
    row.save(update_fields=["status", "sends", "asks", "sent_at", "refusal", "next_at"])
    return _order(row, is_question=is_question)


def lease() -> timedelta:
    """How long a claim may take: every attempt of its call, twice over."""
    return timedelta(seconds=2 * settings.REMOTE["TIMEOUT_SECONDS"] * settings.REMOTE["ATTEMPTS_MAX"])


def _order(row: Execution, *, is_question: bool) -> Claim:
    instruction = row.instruction
    currency = instruction.currency.code
    is_urgent = instruction.instruction_type == InstructionType.EMERGENCY
    return Claim(
        id=row.pk,
        instruction_id=row.instruction_id,
        batch_id=row.batch_id,
        attempt=row.attempt,
        settlement_id=row.settlement_id,
        payer=instruction.payer.code,
        payee=instruction.payee.code,
        amount=money.format_minor(instruction.amount_minor, currency),
        currency=currency,
        instruction_type=instruction.instruction_type,
        priority=2 if is_urgent else min(max(instruction.priority, 0), 2),
        created_at=instruction.created_at,
        is_question=is_question,
        sends=row.sends,
        asks=row.asks,
    )


def _apply(row: Execution, claimed: Claim, answer: Answer, *, at: datetime) -> None:
    """Move one execution on; the row is locked and is written by the caller."""
    if row.status in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED):
        _compare(row, answer, at=at)
    elif answer.outcome in FACTS:
        row.status = FACTS[answer.outcome]
        row.settlement_id = answer.settlement_id if _can_be_asked(answer.settlement_id) else row.settlement_id
        row.reference = storable(answer.reference, length_max=ENGINE_TEXT_MAX) or row.reference
        row.confirmation_code = (
            storable(answer.confirmation_code, length_max=ENGINE_TEXT_MAX) or row.confirmation_code
        )
        row.message = storable(answer.message, length_max=MESSAGE_MAX)
        row.completed_at = at if row.status == ExecutionStatus.COMPLETED else None
        row.declared_at = at if answer.declared_by else None
        row.declared_by, row.declared_reason = answer.declared_by, answer.declared_reason
        row.next_at = at + _patience(row)
    elif (row.sends, row.asks) == (claimed.sends, claimed.asks):
        _apply_silence(row, answer, at=at)


def _apply_silence(row: Execution, answer: Answer, *, at: datetime) -> None:
    """The latest claim brought no fact: what is known stays known, what is not is asked again."""
    row.message = storable(answer.message, length_max=MESSAGE_MAX)
    row.next_at = at + _patience(row)
    row.refusal = answer.refusal[:32] or row.refusal
    has_more = row.status == ExecutionStatus.EXECUTING and answer.outcome == Outcome.ABSENT
    if has_more or answer.outcome == Outcome.DIFFERS:
        row.contradicted_at = row.contradicted_at or at
    if row.status == ExecutionStatus.SENDING:
        row.status = ExecutionStatus.UNKNOWN
    elif row.status == ExecutionStatus.UNKNOWN and answer.outcome == Outcome.ABSENT:
        was_refused = row.refusal in NOT_TAKEN  # it was told why, and knows nothing of it: never executed
        row.status = ExecutionStatus.FAILED if was_refused else ExecutionStatus.PLANNED
        row.next_at = at


def _compare(row: Execution, answer: Answer, *, at: datetime) -> None:
    """An execution that has ended stays as it is; an engine that says otherwise now is an alarm."""
    if answer.outcome in (OTHERWISE[row.status], Outcome.DIFFERS):
        row.contradicted_at = row.contradicted_at or at


def _patience(row: Execution) -> timedelta:
    return timedelta(seconds=min(ASK_SECONDS * 2 ** min(row.asks, 10), ASK_SECONDS_MAX))


def _can_be_asked(settlement_id: str) -> bool:
    """Whether the engine's id can be kept as it is; by another than that, we ask by our own."""
    return settlement_id != "" and settlement_id == storable(settlement_id, length_max=ENGINE_TEXT_MAX)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


FACTS = {
    Outcome.EXECUTING: ExecutionStatus.EXECUTING,
    Outcome.COMPLETED: ExecutionStatus.COMPLETED,
    Outcome.FAILED: ExecutionStatus.FAILED,
}
OTHERWISE: dict[str, Outcome] = {
    ExecutionStatus.COMPLETED: Outcome.FAILED,
    ExecutionStatus.FAILED: Outcome.COMPLETED,
}
WRITTEN = [
    "status",
    "settlement_id",
    "reference",
    "confirmation_code",
    "message",
    "refusal",
    "completed_at",
    "contradicted_at",
    "declared_at",
    "declared_by",
    "declared_reason",
    "next_at",
]

PLAN = """
    INSERT INTO settlement_execution (id, instruction_id, batch_id, attempt, rail, status, next_at)
    SELECT id, id, batch_id, 1, 'Engine', 'Planned', %s
    FROM settlement_settlementinstruction WHERE batch_id = %s
    ON CONFLICT (instruction_id, attempt) DO NOTHING
"""

# What the agent pays out waits for all that it is paid in the currency.
_LIVE = """
    WITH waiting AS MATERIALIZED (
        SELECT DISTINCT currency_id FROM settlement_settlementinstruction
        WHERE batch_id = %(batch)s AND payer_id <> %(agent)s AND status <> 'Completed'
    ), live AS (
        SELECT execution.id, execution.next_at
        FROM settlement_execution execution
        JOIN settlement_settlementinstruction instruction ON instruction.id = execution.instruction_id
        WHERE execution.batch_id = %(batch)s AND execution.rail = 'Engine'
          AND execution.status IN ('Planned', 'Sending', 'Unknown', 'Executing')
          AND NOT (execution.status = 'Planned' AND instruction.payer_id = %(agent)s
                   AND instruction.currency_id IN (SELECT currency_id FROM waiting))
    )
"""

NEXT = f"{_LIVE} SELECT min(next_at) FROM live"

DUE = f"""
    {_LIVE}
    SELECT execution.id FROM settlement_execution execution JOIN live USING (id)
    WHERE live.next_at <= %(at)s AND execution.next_at <= %(at)s
    ORDER BY execution.next_at, execution.id
    LIMIT %(limit)s
    FOR UPDATE OF execution SKIP LOCKED
"""
