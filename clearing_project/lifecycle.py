"""
The only way a status changes.

Statuses and their moves are tables, read as graphs. PostgreSQL holds the same tables in triggers
(function ``refuse_illegal_move``), so that no path around this module exists either.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from django.db import models

from clearing_project.errors import Conflict

Status = TypeVar("Status", bound=models.TextChoices)
Moves = Mapping[Status, frozenset[Status]]


class IllegalMove(Conflict):
    """The row's status does not lead to the one asked for."""

    code = "illegal_move"
    fields = ("kind", "id", "from_status", "to_status")
    message = "{kind} {id} is {from_status}; that does not lead to {to_status}."


def move(row: models.Model, *, to: Status, moves: Moves[Status], **changes: Any) -> None:
    """
    Move *row* to status *to*, writing *changes* along with it.

    One UPDATE guarded by the status that *row* was read with: of two callers one wins.

    Raises:
        IllegalMove: the table does not allow it, or another caller moved the row first.
    """
    kind, held = row._meta.object_name, row.status  # type: ignore[attr-defined]
    if to not in moves[type(to)(held)]:
        raise IllegalMove(kind, str(row.pk), held, to.value)
    manager = type(row)._default_manager
    if not manager.filter(pk=row.pk, status=held).update(status=to.value, **changes):
        found = manager.filter(pk=row.pk).values_list("status", flat=True).first()
        raise IllegalMove(kind, str(row.pk), found, to.value)
    for name, value in {"status": to.value, **changes}.items():
        setattr(row, name, value)


def edges(moves: Moves[Status], *, first: Status) -> Iterator[str]:
    """Yield the table as the arguments of the PostgreSQL trigger: ``>First`` and ``From>To``."""
    yield f">{first.value}"
    for origin, targets in moves.items():
        for target in sorted(targets):
            yield f"{origin.value}>{target.value}"
