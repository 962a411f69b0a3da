"""
Set the limits of a participant: all of them at once, or one by one in the admin.

Whoever sets limits first holds the participant, then its limits, in the order in which intake locks them.
So no two decide on the same state, and a tag of what holds tells whether a writer has seen the latest.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from clearing.models import Limit
from clearing_project.errors import Conflict, Invalid
from netting import money
from netting.errors import NettingError
from settlement import participants
from settlement.models import Currency, Participant

TAG_LENGTH = 32  # hexadecimal digits of a SHA-256

Side = tuple[int | None, int]  # a counterparty, or all of them, and a currency


class LimitsChanged(Conflict):
    """The participant's limits are not those that the caller has seen."""

    code = "limits_changed"
    fields = ("participant",)
    message = "The limits of {participant} have changed since you read them: read them again, then decide."


class LimitInvalid(Invalid):
    """A limit cannot be one of the participant's."""

    code = "limit_invalid"
    fields = ("index", "reason")
    message = "Limit {index}: {reason}"


class Wanted(NamedTuple):
    """A limit to set, in major units; without a counterparty it holds towards all together."""

    counterparty: str | None
    currency: str
    limit: str


class Setter(NamedTuple):
    """Who sets limits, and why; the reason may be empty."""

    user_id: int
    reason: str


def active(participant: Participant) -> list[Limit]:
    """Return the limits that hold, by currency, the net debit cap first, then by counterparty."""
    return _holding(_rows(participant.pk))


def tag(limits: Iterable[Limit]) -> str:
    """Return a digest that is the same for the same limits, and for no others."""
    told = sorted(
        (each.currency.code, each.counterparty.code if each.counterparty else "", each.amount_minor)
        for each in limits
    )
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:TAG_LENGTH]


def hold(participant_id: int) -> list[Limit]:
    """Let nobody else set this participant's limits until our transaction ends; return all it has had."""
    Participant.objects.select_for_update(no_key=True).get(pk=participant_id)
    return list(_rows(participant_id).select_for_update(of=("self",)).order_by("id"))


@transaction.atomic
def replace(
    participant: Participant, wanted: Sequence[Wanted], *, seen: Collection[str] | None, by: Setter
) -> list[Limit]:
    """
    Make *wanted* the participant's limits, all of them or none. Those left out hold no more; none is deleted.

    Each limit that this changes is noted in the admin's log with who changed it, from what, and why.

    Args:
        seen: tags of limits to which this is the answer; None: whatever they are.

    Returns:
        The limits that hold from now on, as ``active``.

    Raises:
        LimitsChanged: they are not those seen.
        LimitInvalid: by its place in *wanted*, counted from 0.
    """
    rows = hold(participant.pk)
    if seen is not None and tag(_holding(rows)) not in seen:
        raise LimitsChanged(participant.code)
    amounts = _read(participant, wanted)
    known: dict[Side, Limit] = {(row.counterparty_id, row.currency_id): row for row in rows}
    entries = [
        _change(row, amounts.get(side), by=by)
        for side, row in known.items()
        if (row.amount_minor if row.is_active else None) != amounts.get(side)
    ]
    new = [
        Limit(participant=participant, counterparty_id=side[0], currency_id=side[1], amount_minor=amount)
        for side, amount in amounts.items()
        if side not in known
    ]
    try:
        with transaction.atomic():
            Limit.objects.bulk_create(new)
    except IntegrityError as first:  # somebody set one past us
        raise LimitsChanged(participant.code) from first
    made = _rows(participant.pk).filter(pk__in=[row.pk for row in new])
    entries += [_entry(row, ADDITION, f"Set to {_shown(row)}.", by=by) for row in made]
    LogEntry.objects.bulk_create(entries)
    return active(participant)


def _read(participant: Participant, wanted: Sequence[Wanted]) -> dict[Side, int]:
    """Return what is wanted in minor units, by counterparty and currency."""
    members = participants.directory().member_ids
    currencies = dict(Currency.objects.values_list("code", "id"))
    amounts: dict[Side, int] = {}
    for index, (counterparty, currency, limit) in enumerate(wanted):
        if counterparty is not None and counterparty not in members:
            raise LimitInvalid(index, f"no participant has the code {counterparty}.")
        if counterparty == participant.code:
            raise LimitInvalid(index, "a participant has no limit towards itself.")
        if currency not in currencies:
            raise LimitInvalid(index, f"currency {currency} is not cleared here.")
        side = (members[counterparty] if counterparty is not None else None, currencies[currency])
        if side in amounts:
            raise LimitInvalid(index, "there is another one of this counterparty and currency.")
        try:
            amounts[side] = money.parse_minor(limit, currency, zero_ok=True)
        except NettingError as fault:
            raise LimitInvalid(index, str(fault)) from fault
    return amounts


def _change(row: Limit, amount_minor: int | None, *, by: Setter) -> LogEntry:
    """Set a limit to another amount or, with none, make it inactive."""
    before = _shown(row) if row.is_active else "inactive"
    if amount_minor is None:
        row.is_active = False
        row.save(update_fields=["is_active"])
        return _entry(row, CHANGE, f"Made inactive; it was {before}.", by=by)
    row.amount_minor, row.is_active = amount_minor, True
    row.save(update_fields=["amount_minor", "is_active"])
    return _entry(row, CHANGE, f"Set to {_shown(row)}; it was {before}.", by=by)


def _entry(row: Limit, flag: int, text: str, *, by: Setter) -> LogEntry:
    return LogEntry(
        user_id=by.user_id,
        content_type=ContentType.objects.get_for_model(Limit),
        object_id=str(row.pk),
        object_repr=str(row)[:200],
        action_flag=flag,
        change_message=f"{text} Reason: {by.reason}" if by.reason else text,
    )


def _rows(participant_id: int) -> QuerySet[Limit]:
    rows = Limit.objects.select_related("participant", "counterparty", "currency")
    return rows.filter(participant_id=participant_id)


def _holding(rows: Iterable[Limit]) -> list[Limit]:
    return sorted((row for row in rows if row.is_active), key=_place)


def _place(row: Limit) -> tuple[str, str]:
    return (row.currency.code, row.counterparty.code if row.counterparty else "")


def _shown(row: Limit) -> str:
    return f"{money.format_minor(row.amount_minor, row.currency.code)} {row.currency.code}"
