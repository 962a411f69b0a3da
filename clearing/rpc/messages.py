"""Rows as messages: amounts as decimal strings, moments as RFC 3339, absent ones empty."""

import json
from datetime import datetime

from clearing import queries
from clearing.events.catalog import rfc3339
from clearing.events.feed import Cursor
from clearing.models import AtomicOperation, BilateralPosition, ClearingWindow, WindowEvent
from clearing.queries import ResultError
from clearing.rpc.callers import Caller
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.rpc.topics import Standing
from clearing.states import EventType
from netting import money
from settlement.models import SettlementInstruction

BPS = 10_000
UPDATES = frozenset(
    {
        EventType.OPENED,
        EventType.CLOSING,
        EventType.CLOSED,
        EventType.PROCESSING,
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.ROLLED_BACK,
    }
)  # the promised kinds; other events of a window go to NATS and REST alone
FOR_STAFF = ("error_message", "reason")  # may name another participant


def moment(at: datetime | None) -> str:
    """Write a moment; none is empty."""
    return rfc3339(at) if at else ""


def window(row: ClearingWindow, *, caller: Caller) -> pb.Window:
    """Describe a window with its traffic and, once it is cleared, its result."""
    volumes, result = queries.single_currency_total(row), queries.result(row)
    return pb.Window(
        id=row.pk,
        start_time=moment(row.opens_at),
        end_time=moment(row.cutoff_at),
        status=row.status,
        region=row.region,
        total_obligations=result.obligations_count,
        total_volume=volumes.total,
        netted_volume=volumes.netted,
        saved_amount=volumes.saved,
        netting_efficiency=result.efficiency_bps / BPS,
        settlement_instructions=[str(each.pk) for each in instructions(row, caller=caller)],
        metadata=pb.WindowMetadata(
            cutoff_time=moment(row.cutoff_at),
            grace_period_seconds=row.grace_seconds,
            max_obligations=row.max_obligations,
            min_netting_efficiency=row.min_netting_efficiency_bps / BPS,
            auto_settle=row.auto_settle,
            emergency_mode=row.emergency_mode,
            netting_mode=row.netting_mode,
            transfers=row.transfers,
            weights=row.weights,
        ),
        created_at=moment(row.created_at),
        closed_at=moment(row.closed_at),
        processed_at=moment(row.processed_at),
    )


def window_status(row: ClearingWindow, *, at: datetime) -> pb.WindowStatusResponse:
    """Describe where a window stands."""
    volumes, result = queries.single_currency_total(row), queries.result(row)
    return pb.WindowStatusResponse(
        status=row.status,
        obligations_count=result.obligations_count,
        total_volume=volumes.total,
        netted_volume=volumes.netted,
        netting_efficiency=result.efficiency_bps / BPS,
        timestamp=moment(at),
    )


def clearing_result(row: ClearingWindow, *, caller: Caller) -> pb.ClearingResult:
    """Describe what clearing gave: all of it, or what concerns the participant who asks."""
    result = queries.result(row)
    return pb.ClearingResult(
        window_id=row.pk,
        status=result.status or "",
        obligations_processed=result.obligations_count,
        net_positions=[_position(each) for each in positions(row, caller=caller)],
        settlement_instructions=[_instruction(row, each) for each in instructions(row, caller=caller)],
        total_saved=queries.single_currency_total(row).saved,
        efficiency=result.efficiency_bps / BPS,
        errors=[_error(each, result.operation, caller=caller) for each in result.errors],
        processing_time_ms=result.processing_ms or 0,
    )


def instructions(row: ClearingWindow, *, caller: Caller) -> list[SettlementInstruction]:
    """Return the window's instructions that *caller* may see."""
    own = caller.participant_id
    return [
        each for each in queries.instructions(row) if caller.sees_all or own in (each.payer_id, each.payee_id)
    ]


def positions(row: ClearingWindow, *, caller: Caller) -> list[BilateralPosition]:
    """Return the window's bilateral positions that *caller* may see."""
    own = caller.participant_id
    return [
        each
        for each in queries.positions(row).bilateral
        if caller.sees_all or own in (each.participant_a_id, each.participant_b_id)
    ]


def operation_status(operation: AtomicOperation) -> pb.OperationStatusResponse:
    """Describe where an operation stands."""
    return pb.OperationStatusResponse(
        operation_id=str(operation.pk),
        operation_type=operation.operation_type,
        state=operation.status,
        started_at=moment(operation.started_at),
        completed_at=moment(operation.completed_at),
        error_message=operation.error_message,
    )


def window_update(event: WindowEvent, cursor: Cursor, *, region: str, caller: Caller) -> pb.WindowUpdate:
    """Describe an event; *cursor* is where its reader is with it."""
    data = {key: value for key, value in event.data.items() if caller.sees_all or key not in FOR_STAFF}
    return pb.WindowUpdate(
        window_id=event.window_id,
        event_type=event.event_type,
        timestamp=moment(event.occurred_at),
        details=json.dumps(data),
        metadata={
            "event_id": str(event.event_id),
            "sequence": str(event.sequence),
            "region": region,
            "resume_after": str(cursor),
        },
    )


def settlement_update(window_id: int, standing: Standing) -> pb.SettlementStatusUpdate:
    """Describe where an instruction stands; the moment is that of its status as far as it is kept."""
    details = {
        "from_bank": standing.payer,
        "to_bank": standing.payee,
        "amount": money.format_minor(standing.amount_minor, standing.currency),
        "currency": standing.currency,
    }
    if standing.is_withdrawn:
        details["reason"] = "withdrawn: its clearing run was rolled back"
    return pb.SettlementStatusUpdate(
        window_id=window_id,
        settlement_id=str(standing.id),
        status=standing.status,
        timestamp=moment(standing.settled_at or standing.created_at),
        details=json.dumps(details),
    )


def _position(row: BilateralPosition) -> pb.NetPosition:
    currency = row.currency.code
    return pb.NetPosition(
        bank_pair=pb.BankPair(bank_a=row.participant_a.code, bank_b=row.participant_b.code),
        currency=currency,
        gross_debit=money.format_minor(row.gross_debit_minor, currency),
        gross_credit=money.format_minor(row.gross_credit_minor, currency),
        net_amount=money.format_minor(row.net_minor, currency),
        direction=row.direction,
        obligations_count=row.obligations_count,
        netting_ratio=row.netting_ratio_bps / BPS,
    )


def _instruction(window: ClearingWindow, row: SettlementInstruction) -> pb.SettlementInstructionProto:
    return pb.SettlementInstructionProto(
        id=str(row.pk),
        window_id=window.pk,
        from_bank=row.payer.code,
        to_bank=row.payee.code,
        amount=money.format_minor(row.amount_minor, row.currency.code),
        currency=row.currency.code,
        instruction_type=row.instruction_type,
        priority=row.priority,
        deadline=moment(row.deadline_at),
        metadata=json.dumps({"status": row.status, "settled_at": moment(row.settled_at)}),
    )


def _error(error: ResultError, run: AtomicOperation | None, *, caller: Caller) -> pb.ClearingError:
    return pb.ClearingError(
        error_type=error.code,
        message=error.message if caller.sees_all else "The run was rolled back.",
        timestamp=moment(error.at),
        details=json.dumps({"operation_id": str(run.pk)} if run else {}),
    )
