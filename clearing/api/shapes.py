"""Rows as the structures of ``wire``."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q

from clearing import models, queries
from clearing.api import wire
from clearing.api.pagination import LIMIT_MAX
from clearing.states import (
    CheckpointStatus,
    Direction,
    EventType,
    NettingMode,
    OperationStatus,
    OperationType,
    Region,
    Weights,
    WindowStatus,
)
from netting.money import format_minor
from settlement import models as settlement
from settlement.states import LIVE_EXECUTION, ExecutionStatus, InstructionStatus, InstructionType, Rail

BPS = 10_000

WINDOW_FIELDS = (
    "id",
    "region",
    "status",
    "opens_at",
    "cutoff_at",
    "grace_seconds",
    "netting_mode",
    "transfers",
    "weights",
    "max_obligations",
    "auto_settle",
    "emergency_mode",
    "created_at",
    "closing_at",
    "closed_at",
    "processing_at",
    "processed_at",
)


def window(row: models.ClearingWindow) -> wire.Window:
    """Show a window as it stands in a list."""
    return wire.Window(**_window(row))


def window_detail(row: models.ClearingWindow) -> wire.WindowDetail:
    """Show a window with its traffic; the traffic of an open one costs a pass over its partition."""
    run, traffic, volumes = queries.run_of(row), queries.traffic(row), queries.single_currency_total(row)
    return wire.WindowDetail(
        **_window(row),
        obligations_count=sum(each.obligations_count for each in traffic),
        total_volume=volumes.total,
        netted_volume=volumes.netted,
        saved_amount=volumes.saved,
        netting_efficiency=queries.efficiency_bps(row) / BPS,
        traffic=[
            wire.Traffic(
                currency=each.currency,
                obligations_count=each.obligations_count,
                gross=format_minor(each.gross_minor, each.currency),
            )
            for each in traffic
        ],
        operation_id=run.pk if run else None,
    )


def standing(row: models.ClearingWindow, *, at: datetime) -> wire.WindowStanding:
    """Show where a window stands at a moment."""
    volumes = queries.single_currency_total(row)
    return wire.WindowStanding(
        window_id=row.pk,
        status=WindowStatus(row.status),
        obligations_count=sum(each.obligations_count for each in queries.traffic(row)),
        total_volume=volumes.total,
        netted_volume=volumes.netted,
        netting_efficiency=queries.efficiency_bps(row) / BPS,
        timestamp=at,
    )


def preview(found: queries.Preview) -> wire.Preview:
    """Show what clearing would give."""
    return wire.Preview(
        window_id=found.window.pk,
        window_status=WindowStatus(found.window.status),
        netting_mode=NettingMode(found.window.netting_mode),
        weights=Weights(found.window.weights),
        obligations_count=found.obligations_count,
        efficiency=found.efficiency_bps / BPS,
        instructions_count=found.instructions_count,
        currencies=[currency_result(each) for each in found.currencies],
        positions=[previewed(each) for each in found.positions],
    )


def result(row: models.ClearingWindow, *, own: settlement.Participant | None = None) -> wire.Result:
    """Show what clearing the window gave; with *own*, as far as it concerns that participant."""
    found, positions, batch = (
        queries.result(row),
        queries.positions(row).multilateral,
        queries.instructions(row),
    )
    if own is not None:
        positions, batch = positions.filter(participant=own), batch.filter(Q(payer=own) | Q(payee=own))
    return wire.Result(
        window_id=row.pk,
        operation_id=found.operation.pk if found.operation else None,
        window_status=WindowStatus(row.status),
        status=found.status,
        obligations_count=found.obligations_count,
        efficiency=found.efficiency_bps / BPS,
        currencies=[currency_result(each) for each in found.currencies],
        positions=[position(each) for each in positions[:LIMIT_MAX]],
        instructions_count=found.instructions_count if own is None else batch.count(),
        instructions=[instruction(each, window_id=row.pk) for each in batch[:LIMIT_MAX]],
        held=[_held(each) for each in row.held_totals.select_related("currency")] if own is None else [],
        errors=[run_error(each, is_told=own is None) for each in found.errors],
        processing_time_ms=found.processing_ms,
    )


def run_error(row: queries.ResultError, *, is_told: bool) -> wire.RunError:
    """Show why a run was rolled back; only to whom every participant's figures are shown, in words."""
    return wire.RunError(code=row.code, message=row.message if is_told else "", at=row.at)


def metrics(found: queries.Summary, *, at: datetime) -> wire.Metrics:
    """Show the counts of the whole engine."""
    bps = found.efficiency_bps
    return wire.Metrics(
        timestamp=at,
        windows=found.windows,
        operations=found.operations,
        instructions=found.instructions,
        obligations_cleared=found.obligations_cleared,
        netting_efficiency=None if bps is None else bps / BPS,
        events_unpublished=found.events_unpublished,
        oldest_unpublished_event_seconds=found.oldest_unpublished_seconds,
    )


def currency_result(row: queries.CurrencyResult) -> wire.CurrencyResult:
    """Show one currency netted."""
    return wire.CurrencyResult(
        currency=row.currency,
        obligations_count=row.obligations_count,
        participants_count=row.participants_count,
        gross=format_minor(row.gross_minor, row.currency),
        net=format_minor(row.net_minor, row.currency),
        saved=format_minor(row.saved_minor, row.currency),
        bound=format_minor(row.bound_minor, row.currency),
        efficiency=row.efficiency_bps / BPS,
    )


def position(row: models.MultilateralPosition) -> wire.Position:
    """Show a net position."""
    return _position(
        row.participant.code, row.currency.code, (row.debit_minor, row.credit_minor, row.net_minor)
    )


def previewed(row: queries.PreviewPosition) -> wire.Position:
    """Show a net position that clearing would give."""
    return _position(row.participant, row.currency, (row.debit_minor, row.credit_minor, row.net_minor))


def bilateral(row: models.BilateralPosition) -> wire.BilateralPosition:
    """Show what a pair owes each other."""
    currency = row.currency.code
    return wire.BilateralPosition(
        participant_a=row.participant_a.code,
        participant_b=row.participant_b.code,
        currency=currency,
        gross_debit=format_minor(row.gross_debit_minor, currency),
        gross_credit=format_minor(row.gross_credit_minor, currency),
        net_amount=format_minor(row.net_minor, currency),
        direction=Direction(row.direction),
        obligations_count=row.obligations_count,
        netting_ratio=row.netting_ratio_bps / BPS,
    )


def instruction(row: Any, *, window_id: int | None) -> wire.Instruction:
    """Show a settlement instruction; *row* comes with its parties, its currency and what corrected it."""
    return wire.Instruction(
        id=row.pk,
        window_id=window_id,
        operation_id=row.batch_id,
        payer=row.payer.code,
        payee=row.payee.code,
        currency=row.currency.code,
        amount=format_minor(row.amount_minor, row.currency.code),
        instruction_type=InstructionType(row.instruction_type),
        status=InstructionStatus(row.status),
        priority=row.priority,
        deadline_at=row.deadline_at,
        created_at=row.created_at,
        settled_at=row.settled_at,
        corrects=row.corrects_id,
        corrected_by=row.corrected_by_id,
    )


def execution(row: settlement.Execution, *, is_told: bool) -> wire.Execution:
    """Show an attempt outside; only to whom every participant's figures are shown, in words."""
    facts = ("attempt", "settlement_id", "reference", "confirmation_code", "sends", "asks", "created_at")
    moments = ("sent_at", "completed_at", "contradicted_at", "declared_at")
    words = ("message", "refusal", "actor", "reason", "declared_by", "declared_reason")
    shown: dict[str, Any] = {name: getattr(row, name) if is_told else "" for name in words}
    return wire.Execution(
        id=row.pk,
        rail=Rail(row.rail),
        status=ExecutionStatus(row.status),
        next_at=row.next_at if row.status in LIVE_EXECUTION else None,
        **{name: getattr(row, name) for name in (*facts, *moments)},
        **shown,
    )


def event(row: models.WindowEvent) -> wire.Event:
    """Show an event; *row* comes with its window."""
    return wire.Event(
        event_id=row.event_id,
        event_type=EventType(row.event_type),
        window_id=row.window_id,
        region=Region(row.window.region),
        occurred_at=row.occurred_at,
        sequence=row.sequence,
        data=row.data,
    )


def operation(row: models.AtomicOperation) -> wire.Operation:
    """Show an operation with its checkpoints."""
    names = (
        "reason",
        "requested_by",
        "error_code",
        "error_message",
        "created_at",
        "started_at",
        "held_at",
        "hold_reason",
    )
    return wire.Operation(
        id=row.pk,
        window_id=row.window_id,
        parent_id=row.parent_id,
        operation_type=OperationType(row.operation_type),
        status=OperationStatus(row.status),
        final_at=row.final_at,
        completed_at=row.completed_at,
        checkpoints=[_checkpoint(each) for each in row.checkpoints.all()],
        **{name: getattr(row, name) for name in names},
    )


def account(row: settlement.SettlementAccount) -> wire.Account:
    """Show an account; *row* comes with its participant and currency."""
    currency, floor = row.currency.code, row.floor_minor
    free = None if floor is None else row.balance_minor - row.reserved_minor - floor
    return wire.Account(
        participant=row.participant.code,
        currency=currency,
        balance=format_minor(row.balance_minor, currency),
        reserved=format_minor(row.reserved_minor, currency),
        available=None if free is None else format_minor(free, currency),
        floor=None if floor is None else format_minor(floor, currency),
    )


def participant(row: settlement.Participant) -> wire.Participant:
    """Show a participant."""
    return wire.Participant(**_participant(row))


def participant_detail(
    row: settlement.Participant,
    accounts: Iterable[settlement.SettlementAccount],
    limits: Iterable[models.Limit],
) -> wire.ParticipantDetail:
    """Show a participant with its accounts and limits."""
    return wire.ParticipantDetail(
        **_participant(row),
        accounts=[account(each) for each in accounts],
        limits=[limit(each) for each in limits],
    )


def limit(row: models.Limit) -> wire.Limit:
    """Show a limit; *row* comes with its counterparty and currency."""
    return wire.Limit(
        counterparty=row.counterparty.code if row.counterparty else None,
        currency=row.currency.code,
        limit=format_minor(row.amount_minor, row.currency.code),
    )


def _held(row: models.HeldTotal) -> wire.Traffic:
    currency = row.currency.code
    return wire.Traffic(currency, row.obligations_count, format_minor(int(row.gross_minor), currency))


def _window(row: models.ClearingWindow) -> dict[str, Any]:
    shown = {name: getattr(row, name) for name in WINDOW_FIELDS}
    return {**shown, "min_netting_efficiency": row.min_netting_efficiency_bps / BPS}


def _participant(row: settlement.Participant) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("code", "name", "country", "kind", "status")}


def _position(participant: str, currency: str, minor: tuple[int, int, int]) -> wire.Position:
    debit, credit, net = (format_minor(each, currency) for each in minor)
    return wire.Position(participant=participant, currency=currency, debit=debit, credit=credit, net=net)


def _checkpoint(row: models.Checkpoint) -> wire.Checkpoint:
    return wire.Checkpoint(
        position=row.position,
        name=row.name,
        status=CheckpointStatus(row.status),
        started_at=row.started_at,
        applied_at=row.applied_at,
        undone_at=row.undone_at,
    )
