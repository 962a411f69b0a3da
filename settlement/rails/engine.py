"""The outside settlement engine's client: one message for one claim. No database, no repetition of a send."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from django.conf import settings

from clearing_project import remote, trace
from clearing_project.remote import AddressInvalid, CircuitOpen, RemoteRefused, RemoteUnavailable
from settlement.rails.executions import Answer, Claim, Outcome
from settlement.rails.pb import settlement_pb2 as pb
from settlement.rails.pb import settlement_pb2_grpc

NAME = "settlement engine"
OUTCOME = {
    pb.COMPLETED: Outcome.COMPLETED,
    pb.FAILED: Outcome.FAILED,
    pb.ROLLED_BACK: Outcome.FAILED,
}  # every other status, a new one included: it is at it
ENDS = {
    pb.SETTLEMENT_COMPLETED: Outcome.COMPLETED,
    pb.SETTLEMENT_FAILED: Outcome.FAILED,
    pb.SETTLEMENT_ROLLED_BACK: Outcome.FAILED,
}


def deliver(claims: Sequence[Claim]) -> list[tuple[Claim, Answer]]:
    """
    Send what was claimed, side by side, and return what came back for each, in order.

    An execution is sent once: whoever gets no answer asks later. Questions are repeated within bounds.
    """
    if not claims:
        return []
    with ThreadPoolExecutor(len(claims), thread_name_prefix="settlement") as pool:
        return list(zip(claims, pool.map(trace.carrying(_deliver), claims), strict=True))


def events(call: Any) -> Iterator[tuple[str, str, Outcome]]:
    """
    Yield what the engine tells on the stream *call*: its id and ours as far as named, and what happened.

    Raises:
        grpc.RpcError: the stream broke, or was cancelled.
    """
    for event in call:
        outcome = ENDS.get(event.event_type, Outcome.EXECUTING)
        yield event.settlement_id, event.data.get("obligation_id", ""), outcome


def subscribe() -> Any:
    """Open the stream of every settlement's events; cancel it to end it."""
    return _stub().StreamSettlementEvents(pb.StreamRequest(), wait_for_ready=True)


def _deliver(claim: Claim) -> Answer:
    try:
        return _ask(claim) if claim.is_question else _send(claim)
    except (CircuitOpen, AddressInvalid) as nothing_sent:
        return Answer(Outcome.UNKNOWN, message=str(nothing_sent), is_away=True)
    except RemoteUnavailable as silence:
        return Answer(Outcome.UNKNOWN, message=str(silence), is_away=True)
    except RemoteRefused as refused:
        status = str(refused.args[1])
        if claim.is_question and status == grpc.StatusCode.NOT_FOUND.name:
            return Answer(Outcome.ABSENT, message=str(refused))
        return Answer(Outcome.UNKNOWN, message=str(refused), refusal="" if claim.is_question else status)


def _send(claim: Claim) -> Answer:
    if not claim.may_be_sent():
        return Answer(Outcome.UNKNOWN, message="paused for too long before sending; nothing was sent")
    request = pb.SettlementRequest(
        obligation_id=str(claim.id),
        from_bank=claim.payer,
        to_bank=claim.payee,
        amount=claim.amount,
        currency=claim.currency,
        settlement_date=int(claim.created_at.timestamp()),
        priority=claim.priority,  # type: ignore[arg-type]  # an enum is its number
        method=settings.CLEARING["SETTLEMENT_METHOD"],
        metadata={
            "instruction_id": str(claim.instruction_id),
            "attempt": str(claim.attempt),
            "batch_id": str(claim.batch_id),
            "instruction_type": claim.instruction_type,
        },
    )
    told = remote.of(NAME).call(
        lambda seconds: _stub().ExecuteSettlement(request, timeout=seconds), attempts_max=1
    )
    return Answer(
        OUTCOME.get(told.status, Outcome.EXECUTING),
        settlement_id=told.settlement_id,
        reference=told.reference,
        confirmation_code=told.confirmation_code,
        message=told.message,
    )


def _ask(claim: Claim) -> Answer:
    request = pb.SettlementStatusRequest(settlement_id=claim.settlement_id or str(claim.id))
    told = remote.of(NAME).call(lambda seconds: _stub().GetSettlementStatus(request, timeout=seconds))
    ours = (claim.payer, claim.payee, claim.amount, claim.currency)
    theirs = (told.from_bank, told.to_bank, told.amount, told.currency)
    if any(their and their != our for their, our in zip(theirs, ours, strict=True)):
        return Answer(Outcome.DIFFERS, message=f"the engine has {' '.join(theirs)} under this id")
    return Answer(
        OUTCOME.get(told.status, Outcome.EXECUTING),
        settlement_id=told.settlement_id,
        message=told.error_message,
    )


def _stub() -> Any:
    channel = remote.channel(settings.SETTLEMENT_ENGINE_URL)
    return settlement_pb2_grpc.SettlementServiceStub(channel)  # type: ignore[no-untyped-call]
