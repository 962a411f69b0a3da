"""
Obligations in no window: they wait for one, are held in dispute, or are cancelled for good.

Whatever moves here moves together with its key, whose window is empty as long as the obligation is set
aside: an obligation is in exactly one place at every commit.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from clearing import partitions
from clearing.events import facts, outbox
from clearing.models import ClearingWindow, Obligation, ObligationKey, RollOn, SetAside
from clearing.states import Arrival, AsideStatus, Region
from clearing_project.errors import NotFound

LOOKS_MAX = 5  # an obligation may move on between the look at its key and the look at its row


class UnknownObligation(NotFound):
    """No obligation bears this id, or none that concerns the caller."""

    code = "unknown_obligation"
    fields = ("obligation_id",)
    message = "No obligation has the id {obligation_id}."


@dataclass(frozen=True, slots=True)
class Span:
    """
    A window as far as waiting obligations go by it.

    Attributes:
        next_cutoff_at: of the window after it, if the calendar knows that; a due date is kept by this window
            when the next one would be too late.
    """

    window_id: int
    region: Region
    cutoff_at: datetime
    next_cutoff_at: datetime | None


@dataclass(frozen=True, slots=True)
class Surplus:
    """What a closing window may not hold: from which obligation on, and where it goes; None: nowhere yet."""

    window: ClearingWindow
    first_id: int
    target: ClearingWindow | None


def find(key: UUID) -> Obligation | SetAside:
    """
    Return the obligation, in its window or set aside, with parties and currency: two reads by primary key.

    Raises:
        UnknownObligation
    """
    for _ in range(LOOKS_MAX):
        place = ObligationKey.objects.filter(key=key).first()
        if place is None:
            raise UnknownObligation(str(key))
        row = _at(place)
        if row is not None:
            return row
    raise AssertionError("a key that is taken has its row")


def _at(place: ObligationKey) -> Obligation | SetAside | None:
    """Return the row, or None if it has moved on since its key was read."""
    if place.window_id is None:
        waiting = SetAside.objects.select_related("payer", "payee", "currency")
        return waiting.filter(pk=place.obligation_id).first()
    rows = Obligation.objects.select_related("window", "payer", "payee", "currency")
    return rows.filter(window_id=place.window_id, pk=place.obligation_id).first()


def is_waiting(span: Span) -> bool:
    """Whether a parked obligation waits for this window."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM clearing_setaside WHERE {DUE})", _values(span, None))
        return bool(cursor.fetchone()[0])


def enter_due(span: Span, *, obligation_id: int | None = None) -> int:
    """
    Move the parked obligations whose window this is into it; the caller has passed its gate.

    Args:
        obligation_id: move this one alone, if its window this is.

    Returns:
        How many moved; each once, whoever else asks. One that somebody acts upon is left out.
    """
    values = _values(span, obligation_id)
    with connection.cursor() as cursor:
        cursor.execute(ENTER.format(partition=partitions.name(span.window_id)), values)
        moved: int = cursor.rowcount
        if moved:
            cursor.execute(LEAVE, values)
            assert cursor.rowcount == moved, "what entered is what waits no more"
    return moved


def _values(span: Span, obligation_id: int | None) -> dict[str, int | str | datetime | None]:
    return {
        "window": span.window_id,
        "region": span.region.value,
        "cutoff": span.cutoff_at,
        "next_cutoff": span.next_cutoff_at,
        "one": obligation_id,
    }


def take_out(obligation: Obligation, **stamp: Any) -> SetAside:
    """
    Move an obligation out of its window, whose gate the caller has passed; its key is locked.

    Args:
        stamp: who set it aside, when and why, as fields of the row.
    """
    window = obligation.window
    content = {name: getattr(obligation, name) for name in CONTENT}
    row = SetAside.objects.create(
        **{**content, "origin_window_id": obligation.origin_window_id or window.pk},
        region=window.region,
        status=AsideStatus.PARKED,
        **stamp,
    )
    ObligationKey.objects.filter(pk=obligation.key).update(window_id=None)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {partitions.name(window.pk)} WHERE id = %s", [obligation.pk])
        assert cursor.rowcount == 1, "it was there: its key is locked"
    return row


def report_held(window_id: int, *, region: Region) -> None:
    """Write down what is held back in the region as one of its windows closes."""
    with connection.cursor() as cursor:
        cursor.execute(REPORT, [window_id, region.value])


def move_on(surplus: Surplus, *, at: datetime) -> None:
    """Move what a window may not hold to the next, whose own close decides again; or park it."""
    window, target = surplus.window, surplus.target
    if target is None:
        count = _park(surplus, at=at)
    else:
        count = partitions.move_surplus(window.pk, first_id=surplus.first_id, target_id=target.pk)
    reason = f"more than {window.max_obligations} obligations, or than 64 bits add up to"
    RollOn.objects.create(
        source=window,
        target=target,
        kind=Arrival.OVERFLOW,
        reason=reason,
        obligations_count=count,
        rolled_at=at,
    )
    outbox.append(
        window.pk,
        facts.Overflowed(
            reason=reason, obligations_count=count, rolled_on_to_window_id=target.pk if target else None
        ),
        at=at,
    )


def _park(surplus: Surplus, *, at: datetime) -> int:
    window, first = surplus.window, surplus.first_id
    source = partitions.name(window.pk)
    with connection.cursor() as cursor:
        cursor.execute(PARK.format(source=source), {"region": window.region, "at": at, "first": first})
        parked: int = cursor.rowcount
        cursor.execute(
            f"UPDATE clearing_obligationkey known SET window_id = NULL FROM {source} obligation"
            " WHERE known.key = obligation.key AND obligation.id >= %s",
            [first],
        )
        assert cursor.rowcount == parked, "every obligation has its key"
        cursor.execute(f"DELETE FROM {source} WHERE id >= %s", [first])
        assert cursor.rowcount == parked, "what was copied is what is deleted"
    return parked


REPORT = """
    INSERT INTO clearing_heldtotal (window_id, currency_id, obligations_count, gross_minor)
    SELECT %s, currency_id, count(*), sum(amount_minor) FROM clearing_setaside
    WHERE region = %s AND status = 'Held' GROUP BY currency_id
"""

CONTENT = (
    "id",
    "amount_minor",
    "key",
    "submitted_at",
    "payer_id",
    "payee_id",
    "currency_id",
    "priority",
    "due_date",
    "not_before",
    "reference",
    "submitter",
    "link",
    "arrival",
)  # what an obligation is, wherever it is

DUE = """
    region = %(region)s AND status = 'Parked'
    AND (not_before IS NULL OR not_before < %(cutoff)s)
    AND (%(one)s::bigint IS NULL OR id = %(one)s)
    AND (due_by IS NULL OR %(next_cutoff)s::timestamptz IS NULL OR due_by <= %(next_cutoff)s)
"""

# Keys first: PostgreSQL lets a row go only to where its key points by then.
ENTER = f"""
    WITH due AS MATERIALIZED (
        SELECT {partitions.ROW}, origin_window_id, arrival FROM clearing_setaside
        WHERE {DUE} ORDER BY id FOR UPDATE SKIP LOCKED
    ), pointed AS (
        UPDATE clearing_obligationkey known SET window_id = %(window)s FROM due WHERE known.key = due.key
    )
    INSERT INTO {{partition}} ({partitions.ROW}, window_id, origin_window_id, arrival)
    SELECT {partitions.ROW}, %(window)s, origin_window_id, coalesce(arrival, 'parked') FROM due ORDER BY id
"""

LEAVE = f"""
    DELETE FROM clearing_setaside aside WHERE {DUE} AND EXISTS (
        SELECT FROM clearing_obligationkey known WHERE known.key = aside.key AND known.window_id = %(window)s)
"""

PARK = f"""
    INSERT INTO clearing_setaside
        ({partitions.ROW}, origin_window_id, arrival, region, status, reason, by, aside_at)
    SELECT {partitions.ROW}, coalesce(origin_window_id, window_id), 'overflow', %(region)s, 'Parked',
           'overflow', '', %(at)s
    FROM {{source}} WHERE id >= %(first)s ORDER BY id
"""
