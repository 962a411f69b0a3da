"""Query parameters: only what a view names, each checked before it reaches a query."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from django.db.models import TextChoices
from msgspec import Meta
from rest_framework.request import Request

from clearing_project.errors import Invalid
from settlement import participants
from settlement.models import Participant

ID_MAX = 2**63 - 1


class ParameterUnknown(Invalid):
    """A query parameter means nothing here; ignoring it would answer another question."""

    code = "parameter_unknown"
    fields = ("parameter", "known")
    message = "There is no query parameter {parameter} here; there are: {known}."


class ParameterInvalid(Invalid):
    """A query parameter has a value it cannot have."""

    code = "parameter_invalid"
    fields = ("parameter", "reason")
    message = "The query parameter {parameter} {reason}."


def only(request: Request, *known: str) -> None:
    """
    Refuse parameters that are not *known*, and any given twice or empty.

    An empty cursor is the first page's.

    Raises:
        ParameterUnknown, ParameterInvalid
    """
    for name, values in request.query_params.lists():
        if name not in known:
            raise ParameterUnknown(name, ", ".join(known) or "none")
        if len(values) > 1:
            raise ParameterInvalid(name, "is given more than once")
        if not values[0] and name != "cursor":
            raise ParameterInvalid(name, "is empty")


def text(request: Request, name: str) -> str | None:
    """Return the parameter's value; None if it is not there."""
    return request.query_params.get(name) or None


def choice(request: Request, name: str, choices: type[TextChoices]) -> str | None:
    """
    Return the parameter's value, one of *choices*.

    Raises:
        ParameterInvalid
    """
    value = text(request, name)
    if value is not None and value not in choices.values:
        raise ParameterInvalid(name, f"is none of {', '.join(choices.values)}")
    return value


def one_of(request: Request, name: str, values: Iterable[str], *, default: str) -> str:
    """
    Return the parameter's value, one of *values*.

    Raises:
        ParameterInvalid
    """
    value, known = text(request, name) or default, list(values)
    if value not in known:
        raise ParameterInvalid(name, f"is none of {', '.join(known)}")
    return value


def several(request: Request, name: str, values: Iterable[str]) -> frozenset[str]:
    """
    Return the parameter's comma-separated values, each one of *values*.

    Raises:
        ParameterInvalid
    """
    known, wanted = list(values), (text(request, name) or "").split(",")
    found = frozenset(value for value in wanted if value)
    if not found <= set(known):
        raise ParameterInvalid(name, f"names none of {', '.join(known)}, separated by commas")
    return found


def currency(request: Request, name: str = "currency") -> str | None:
    """
    Return the parameter's value, of the shape of an ISO 4217 code.

    Raises:
        ParameterInvalid
    """
    code = text(request, name)
    if code is not None and not (len(code) == 3 and code.isascii() and code.isupper()):
        raise ParameterInvalid(name, "is not a currency's code")
    return code


def moment(request: Request, name: str) -> datetime | None:
    """
    Return the parameter's value as a moment with its zone.

    Raises:
        ParameterInvalid
    """
    value = text(request, name)
    if value is None:
        return None
    try:
        found: datetime = msgspec.convert(value, Annotated[datetime, Meta(tz=True)])
    except msgspec.ValidationError:
        raise ParameterInvalid(name, "is not a moment of RFC 3339 with its zone") from None
    return found


def number(request: Request, name: str, *, least: int = 0, most: int = ID_MAX) -> int | None:
    """
    Return the parameter's value as a whole number.

    Raises:
        ParameterInvalid
    """
    value = text(request, name)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 19 or not least <= int(value) <= most:
        raise ParameterInvalid(name, f"is not a whole number from {least} to {most}")
    return int(value)


def uuid(request: Request, name: str) -> UUID | None:
    """
    Return the parameter's value as a UUID.

    Raises:
        ParameterInvalid
    """
    value = text(request, name)
    if value is None:
        return None
    try:
        found = UUID(value)
    except ValueError as wrong:
        raise ParameterInvalid(name, "is not a UUID") from wrong
    if str(found) != value.lower():
        raise ParameterInvalid(name, "is not a UUID in its usual form")
    return found


def member(request: Request, name: str = "participant") -> Participant | None:
    """
    Return the participant whose code the parameter holds.

    Raises:
        ParameterInvalid: the code is none that a participant could have.
        UnknownParticipant
    """
    code = text(request, name)
    if code is None:
        return None
    return participants.get(printable(name, code))


def printable(name: str, value: str) -> str:
    """
    Return the value; PostgreSQL takes no NUL.

    Raises:
        ParameterInvalid
    """
    if not value.isprintable():
        raise ParameterInvalid(name, "holds characters that cannot be printed")
    return value
