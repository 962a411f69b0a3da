"""Obligations as the structures of ``obligation_wire``."""

from typing import Any

from clearing import models, queries
from clearing.api import obligation_wire
from clearing.states import Act, Arrival, ObligationState, WindowStatus
from netting.money import format_minor
from settlement import models as settlement


def obligation(row: models.Obligation | models.SetAside) -> obligation_wire.Obligation:
    """Show an obligation; *row* comes with its window, if it is in one, its parties and currency."""
    return obligation_wire.Obligation(**_obligation(row))


def obligation_detail(
    row: models.Obligation | models.SetAside, *, own: settlement.Participant | None = None
) -> obligation_wire.ObligationDetail:
    """Show an obligation with its discharge, as far as that concerns *own*."""
    found = None if isinstance(row, models.SetAside) else queries.of_obligation(row)
    return obligation_wire.ObligationDetail(
        **_obligation(row),
        origin_window_id=row.origin_window_id,
        arrival=Arrival(row.arrival) if row.arrival else None,
        not_before=row.not_before,
        aside=_aside(row) if isinstance(row, models.SetAside) else None,
        acts=[_act(each) for each in models.ObligationAct.objects.filter(key=row.key)],
        discharge=None if found is None else _discharge(row, found, own),
    )


def _act(row: models.ObligationAct) -> obligation_wire.ObligationAct:
    return obligation_wire.ObligationAct(
        act=Act(row.act), by=row.by, reason=row.reason, window_id=row.window_id, at=row.at
    )


def _aside(row: models.SetAside) -> obligation_wire.Aside:
    return obligation_wire.Aside(reason=row.reason, by=row.by, at=row.aside_at, expected_at=row.expected_at)


def _obligation(row: models.Obligation | models.SetAside) -> dict[str, Any]:
    window = row.window if isinstance(row, models.Obligation) else None
    return {
        "id": row.key,
        "state": ObligationState(row.status)
        if isinstance(row, models.SetAside)
        else ObligationState.IN_WINDOW,
        "window_id": window.pk if window else None,
        "window_status": WindowStatus(window.status) if window else None,
        "reference": row.reference,
        "payer": row.payer.code,
        "payee": row.payee.code,
        "currency": row.currency.code,
        "amount": format_minor(row.amount_minor, row.currency.code),
        "priority": row.priority,
        "due_date": row.due_date,
        "link": row.link,
        "submitter": row.submitter,
        "submitted_at": row.submitted_at,
    }


def _discharge(
    row: models.Obligation | models.SetAside, found: queries.Discharge, own: settlement.Participant | None
) -> obligation_wire.Discharge:
    currency = row.currency.code
    is_concern = own is None or own.pk == row.payer_id or found.through != queries.Through.NET_POSITION
    return obligation_wire.Discharge(
        operation_id=found.operation_id,
        set_off=format_minor(found.set_off_minor, currency),
        through=found.through,
        paid=format_minor(found.paid_minor, currency),
        payments=[
            obligation_wire.Payment(
                part.instruction_id, format_minor(part.amount_minor, currency), part.corrected_by
            )
            for part in (found.payments if is_concern else [])
        ],
    )
