"""
The outside risk engine: asked about each instruction before its batch may be final, its verdict kept.

No transaction is open while it is asked. What it has not answered is not approved; a verdict is asked for
once and stays.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx
from django.conf import settings
from django.db import connection

from clearing_project import remote, trace
from clearing_project.errors import Unavailable
from clearing_project.remote import CircuitOpen, RemoteRefused, RemoteUnavailable
from clearing_project.storable import storable
from netting import money
from settlement.models import RiskVerdict
from settlement.states import VerdictStatus

NAME = "risk engine"
PATH = "/api/v1/risk/evaluate"
REASON_MAX = 500
EVALUATE_SECONDS = 60.0  # one task's share


class RiskAnswerInvalid(Unavailable):
    """The risk engine answered something that is no verdict."""

    code = "risk_answer_invalid"
    fields = ("instruction_id", "said")
    message = "The risk engine gave no verdict about instruction {instruction_id}: {said}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How many instructions of a batch wait for their verdict or were rejected, and why the first was."""

    pending: int
    rejected: int
    reason: str


def plan(batch_id: UUID) -> int:
    """Note for each instruction of the batch that it needs a verdict; planning it again adds nothing."""
    with connection.cursor() as cursor:
        cursor.execute(PLAN, [batch_id])
        return int(cursor.rowcount)


def evaluate(batch_id: UUID, *, at: datetime, on_progress: Callable[[], None] = lambda: None) -> bool:
    """
    Ask about every instruction that has no verdict yet, a few side by side, and keep each answer.

    Stops at the first one that stays without an answer after the bounded attempts: it and those behind it
    stay without a verdict. May be repeated; what has a verdict is not asked about again.

    Args:
        on_progress: called between questions, so that who waits knows that we live.

    Returns:
        Whether the time was up before the questions were: call again.
    """
    since = perf_counter()
    while perf_counter() - since < EVALUATE_SECONDS:
        waiting = RiskVerdict.objects.filter(batch_id=batch_id, status=VerdictStatus.PENDING)
        rows = list(
            waiting.select_related(
                "instruction__payer", "instruction__payee", "instruction__currency"
            ).order_by("id")[: settings.CLEARING["SETTLEMENT_PARALLEL"]]
        )
        if not rows:
            return False
        with ThreadPoolExecutor(len(rows), thread_name_prefix="risk") as pool:
            verdicts = list(pool.map(trace.carrying(_ask), [_question(row) for row in rows]))
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict is not None:
                RiskVerdict.objects.filter(pk=row.pk, status=VerdictStatus.PENDING).update(
                    status=verdict[0], reason=verdict[1], given_at=at
                )
        if None in verdicts:
            return False
        on_progress()
    return True


def standing(batch_id: UUID) -> Standing:
    """Count what keeps the batch from being sent; of a batch that needs no verdicts nothing does."""
    batch = RiskVerdict.objects.filter(batch_id=batch_id)
    rejected = batch.filter(status=VerdictStatus.REJECTED)
    first = rejected.order_by("id").values_list("reason", flat=True).first()
    return Standing(batch.filter(status=VerdictStatus.PENDING).count(), rejected.count(), first or "")


def _question(row: RiskVerdict) -> dict[str, Any]:
    instruction = row.instruction
    currency = instruction.currency.code
    deadline = instruction.deadline_at
    return {
        "instruction_id": str(instruction.pk),
        "batch_id": str(instruction.batch_id),
        "from_bank": instruction.payer.code,
        "to_bank": instruction.payee.code,
        "amount": money.format_minor(instruction.amount_minor, currency),
        "currency": currency,
        "instruction_type": instruction.instruction_type,
        "priority": instruction.priority,
        "deadline": deadline.isoformat() if deadline else None,
    }


def _ask(question: dict[str, Any]) -> tuple[VerdictStatus, str] | None:
    """Ask about one instruction; None if no verdict came."""
    url = settings.RISK_ENGINE_URL.rstrip("/") + PATH

    def post(seconds: float) -> Any:
        answer = httpx.post(url, json=question, timeout=seconds).raise_for_status()
        return _verdict(answer, question["instruction_id"])

    try:
        approved, reason = remote.of(NAME).call(post)
    except (CircuitOpen, RemoteUnavailable, RemoteRefused, RiskAnswerInvalid) as silence:
        remote.logger.warning("instruction %s has no verdict: %s", question["instruction_id"], silence)
        return None
    return (VerdictStatus.APPROVED if approved else VerdictStatus.REJECTED), storable(
        reason, length_max=REASON_MAX
    )


def _verdict(answer: httpx.Response, instruction_id: str) -> tuple[bool, str]:
    """
    Read the answer; only a JSON true approves.

    Raises:
        RiskAnswerInvalid
    """
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
        raise RiskAnswerInvalid(instruction_id, answer.text[:100])
    return said["approved"], str(said.get("reason") or "")


PLAN = """
    INSERT INTO settlement_riskverdict (instruction_id, batch_id, status)
    SELECT id, batch_id, 'Pending' FROM settlement_settlementinstruction
    WHERE batch_id = %s ORDER BY id
    ON CONFLICT (instruction_id) DO NOTHING
"""
