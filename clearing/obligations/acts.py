"""
Cancel, hold and release one obligation, as long as no window has closed over it.

Whoever takes an obligation out of a window passes the window's gate, as intake does: the closer waits for
it, so the obligation is either out or cleared, never both.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from clearing import aside, partitions, windows
from clearing.aside import LOOKS_MAX, UnknownObligation
from clearing.events import facts, outbox
from clearing.models import ClearingWindow, Obligation, ObligationAct, ObligationKey, SetAside
from clearing.states import ASIDE_MOVES, Act, Arrival, AsideStatus, Region
from clearing.windows import NoAcceptingWindow
from clearing_project.errors import Conflict, Denied
from clearing_project.lifecycle import move
from settlement.models import Participant

Row = TypeVar("Row", bound=Obligation | SetAside)


class CutoffPassed(Conflict):
    """The window's intake has ended: what it holds will be cleared."""

    code = "cutoff_passed"
    fields = ("obligation_id", "window_id")
    message = (
        "Obligation {obligation_id} is in window {window_id}, whose intake has ended."
        " Correct it by an opposite obligation."
    )


class ObligationCancelled(Conflict):
    """The obligation was cancelled, for good."""

    code = "obligation_cancelled"
    fields = ("obligation_id",)
    message = "Obligation {obligation_id} is cancelled."


class ObligationHeld(Conflict):
    """The obligation is held already, by somebody else."""

    code = "obligation_held"
    fields = ("obligation_id",)
    message = "Obligation {obligation_id} is held already."


class ObligationNotHeld(Conflict):
    """There is nothing to release."""

    code = "obligation_not_held"
    fields = ("obligation_id",)
    message = "Obligation {obligation_id} is not held."


class NotTheSubmitter(Denied):
    """Only who submitted an obligation, or an operator, may cancel it."""

    code = "not_the_submitter"
    fields = ("obligation_id",)
    message = "Obligation {obligation_id} was submitted by another; only its submitter may cancel it."


class NotTheHolder(Denied):
    """Only who holds an obligation, or an operator, may release it."""

    code = "not_the_holder"
    fields = ("obligation_id",)
    message = "Obligation {obligation_id} is held by another; only its holder or an operator may release it."


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, for a participant or, with none, as an operator."""

    name: str
    participant: Participant | None = None


@transaction.atomic
def cancel(key: UUID, *, by: Actor, reason: str, at: datetime) -> SetAside:
    """
    Cancel an obligation for good; its reference stays taken. One that is cancelled is returned as it is.

    Raises:
        UnknownObligation, NotTheSubmitter
        CutoffPassed: its window's intake has ended.
    """
    row = _claim(key, by=by, at=at)
    if by.participant is not None and row.submitter != by.participant.code:
        raise NotTheSubmitter(str(key))
    if isinstance(row, SetAside) and row.status == AsideStatus.CANCELLED:
        return row
    return _set_aside(row, Act.CANCELLED, by=by, reason=reason, at=at)


@transaction.atomic
def hold(key: UUID, *, by: Actor, reason: str, at: datetime) -> SetAside:
    """
    Keep an obligation out of netting until it is released. One that the caller holds is returned as it is.

    Raises:
        UnknownObligation, ObligationCancelled, ObligationHeld
        CutoffPassed: its window's intake has ended.
    """
    row = _claim(key, by=by, at=at)
    if isinstance(row, SetAside):
        if row.status == AsideStatus.CANCELLED:
            raise ObligationCancelled(str(key))
        if row.status == AsideStatus.HELD:
            if row.party_id != _party_id(by):
                raise ObligationHeld(str(key))
            return row
    return _set_aside(row, Act.HELD, by=by, reason=reason, at=at)


@transaction.atomic
def release(key: UUID, *, by: Actor, reason: str, at: datetime) -> Obligation | SetAside:
    """
    Let a held obligation go on: into its region's accepting window, or parked until there is one.

    Raises:
        UnknownObligation, ObligationNotHeld, NotTheHolder
    """
    found = SetAside.objects.filter(key=key).first()
    if found is None:
        _seen(aside.find(key), by)
        raise ObligationNotHeld(str(key))
    _seen(found, by)
    try:
        window: ClearingWindow | None = windows.enter(Region(found.region), at=at)
    except NoAcceptingWindow:
        window = None
    row = SetAside.objects.select_for_update(of=("self",)).filter(pk=found.pk).first()
    if row is None or row.status != AsideStatus.HELD:
        raise ObligationNotHeld(str(key))
    if by.participant is not None and row.party_id != by.participant.pk:
        raise NotTheHolder(str(key))
    changes = {**_stamp(by, reason=reason, at=at), "arrival": Arrival.RELEASED.value}
    move(row, to=AsideStatus.PARKED, moves=ASIDE_MOVES, **changes)
    entered = window is not None and aside.enter_due(windows.span(window), obligation_id=row.pk)
    window_id = window.pk if window is not None and entered else None
    _record(row, Act.RELEASED, by=by, reason=reason, window_id=window_id, at=at)
    return aside.find(key)


def _claim(key: UUID, *, by: Actor, at: datetime) -> Obligation | SetAside:
    """Find the obligation and lock it where it is; in a window with its gate passed before the cutoff."""
    for _ in range(LOOKS_MAX):
        place = ObligationKey.objects.filter(pk=key).first()
        if place is None:
            raise UnknownObligation(str(key))
        if place.window_id is None:
            waiting = SetAside.objects.select_related("payer", "payee", "currency")
            row = waiting.select_for_update(of=("self",)).filter(pk=place.obligation_id).first()
            if row is not None:
                return _seen(row, by)
            continue
        # The gate before the row: to seal, the closer waits for whoever has so much as read the partition.
        partitions.pass_gate(place.window_id)
        # Looked at before it is locked: holding it, nobody may wait for another gate.
        looks = (
            ObligationKey.objects.filter(pk=key),
            ObligationKey.objects.select_for_update().filter(pk=key),
        )
        if any(look.get().window_id != place.window_id for look in looks):
            continue
        found = _seen(aside.find(key), by)
        assert isinstance(found, Obligation), "its key is locked"
        if windows.is_past_cutoff(found.window, at=at):
            raise CutoffPassed(str(key), found.window.pk)
        return found
    raise AssertionError("an obligation does not move on for ever")


def _seen(row: Row, by: Actor) -> Row:
    """Return the row to whom it concerns."""
    if by.participant is not None and by.participant.pk not in (row.payer_id, row.payee_id):
        raise UnknownObligation(str(row.key))
    return row


def _set_aside(row: Obligation | SetAside, act: Act, *, by: Actor, reason: str, at: datetime) -> SetAside:
    stamp = _stamp(by, reason=reason, at=at)
    window_id = None
    if isinstance(row, Obligation):
        window_id = row.window.pk
        row = aside.take_out(row, **stamp)
    move(row, to=AsideStatus(act.value), moves=ASIDE_MOVES, **stamp, expected_at=None)
    _record(row, act, by=by, reason=reason, window_id=window_id, at=at)
    return row


def _stamp(by: Actor, *, reason: str, at: datetime) -> dict[str, Any]:
    return {"by": by.name, "party_id": _party_id(by), "reason": reason, "aside_at": at}


def _party_id(by: Actor) -> int | None:
    return by.participant.pk if by.participant else None


EVENTS = {
    Act.CANCELLED: facts.ObligationCancelled,
    Act.HELD: facts.ObligationHeld,
    Act.RELEASED: facts.ObligationReleased,
}


def _record(row: SetAside, act: Act, *, by: Actor, reason: str, window_id: int | None, at: datetime) -> None:
    """Write the act down, and tell it last: the event locks the window's row until we commit."""
    ObligationAct.objects.create(
        obligation_id=row.pk,
        key=row.key,
        act=act,
        reason=reason,
        by=by.name,
        party_id=_party_id(by),
        window_id=window_id,
        at=at,
    )
    latest = ClearingWindow.objects.filter(region=row.region).order_by("-id").values_list("pk", flat=True)
    told_of = window_id or latest.first()
    if told_of is not None:  # a region that never had a window has no events
        outbox.append(told_of, EVENTS[act](obligation_id=row.key), at=at)
