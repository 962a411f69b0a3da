"""
Pages of a list: ``?cursor=&limit=``, answered as ``{"results": [...], "next": CURSOR or null}``.

A cursor holds the sort key of the last row shown, so pages neither repeat nor skip rows that were
there all the time, at any depth and at the same cost. It is signed and belongs to its address and
filters: with others it is refused.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.core import signing
from django.db.models import Model, Q, QuerySet
from rest_framework.request import Request

from clearing.api import parameters
from clearing.api.wire import Page
from clearing_project.errors import Invalid

LIMIT = 100
LIMIT_MAX = 1000

Row = TypeVar("Row", bound=Model)
Wire = TypeVar("Wire")


class CursorInvalid(Invalid):
    """The cursor is not one that this list gave out."""

    code = "cursor_invalid"
    message = "The cursor is not one of this list with these filters; start without it."


def page(
    request: Request, rows: QuerySet[Row], show: Callable[[Row], Wire], *, key: Sequence[str]
) -> Page[Wire]:
    """
    Return the page of *rows* that the request asks for, each row as *show* gives it.

    Args:
        key: fields that together are unique, in sort order; ``-`` in front for descending.

    Raises:
        ParameterInvalid, CursorInvalid
    """
    limit = parameters.number(request, "limit", least=1, most=LIMIT_MAX) or LIMIT
    cursor = parameters.text(request, "cursor")
    names = [name.removeprefix("-") for name in key]
    if cursor is not None:
        rows = rows.filter(_after(key, _opened(request, cursor, len(key))))
    found = list(rows.order_by(*key)[: limit + 1])
    following = None
    if len(found) > limit:
        found = found[:limit]
        following = signing.dumps([_value(found[-1], name) for name in names], salt=_salt(request))
    return Page(results=[show(row) for row in found], next=following)


def _after(key: Sequence[str], values: Sequence[Any]) -> Q:
    """Select behind *values*: greater in the first field, or equal there and greater in the next."""
    behind, equal = Q(), Q()
    for field, value in zip(key, values, strict=True):
        name, comparison = field.removeprefix("-"), "lt" if field.startswith("-") else "gt"
        behind |= equal & Q(**{f"{name}__{comparison}": value})
        equal &= Q(**{name: value})
    return behind


def _opened(request: Request, cursor: str, fields: int) -> list[Any]:
    try:
        values = signing.loads(cursor, salt=_salt(request))
    except signing.BadSignature as forged:
        raise CursorInvalid from forged
    assert len(values) == fields, "a signed cursor is as it was made"
    return list(values)


def _salt(request: Request) -> str:
    filters = sorted(
        (name, value) for name, value in request.query_params.items() if name not in ("cursor", "limit")
    )
    return f"page of {request.path} {filters}"


def _value(row: Model, name: str) -> Any:
    value: Any = row
    for part in name.split("__"):
        value = getattr(value, part)
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | str) else str(value)
