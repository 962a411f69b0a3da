"""
Hold limits at intake, on what each limited payer owes net in the accepting window.

The position is added up from the window's own rows, so whatever was cancelled, held or moved on is right
without being counted along. That takes a pass over the partition, for calls with limited payers alone; they
come one after the other, so that two cannot both slip under a limit. Who has no limit pays one small query.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from clearing import partitions
from clearing.models import Limit, ObligationKey
from clearing.obligations.items import Item
from clearing.obligations.placing import Place
from clearing.obligations.screen import Fault
from netting import money

Side = tuple[int, int]  # a participant and a currency


class Pair(NamedTuple):
    """Who owes whom, in which currency."""

    currency_id: int
    payer_id: int
    payee_id: int


def exceeded(place: Place, items: Mapping[int, Item], *, waiting: Collection[bytes]) -> dict[int, Fault]:
    """
    Find the items that would take their payer over a limit, in the order of the call.

    Its limits stay locked until our transaction ends. What is known already, or waits for a later window,
    takes nobody anywhere.
    """
    if place.window is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(LIMITED)
        limited: set[Side] = set(cursor.fetchall())
    if not limited:
        return {}
    concerned = [
        item
        for item in items.values()
        if (item.payer_id, item.currency_id) in limited and item.key not in waiting
    ]
    if not concerned:
        return {}
    limits = _lock({(item.payer_id, item.currency_id) for item in concerned})
    keys = [UUID(bytes=item.key) for item in items.values()]
    known = {key.bytes for key in ObligationKey.objects.filter(key__in=keys).values_list("key", flat=True)}
    passed = {*known, *waiting}
    return _hold(
        limits, {index: item for index, item in items.items() if item.key not in passed}, place.window.pk
    )


def _hold(limits: Mapping[Side, list[Limit]], items: Mapping[int, Item], window_id: int) -> dict[int, Fault]:
    """Let the items in one after the other, as far as the limits allow."""
    owed = _owed(window_id, {payer_id for payer_id, _ in limits})
    position = {limit.pk: _position(limit, owed) for rows in limits.values() for limit in rows}
    faults: dict[int, Fault] = {}
    for index, item in items.items():
        out = _towards(limits, item.payer_id, item.payee_id, item.currency_id)
        over = next((each for each in out if position[each.pk] + item.amount_minor > each.amount_minor), None)
        if over is not None:
            faults[index] = _fault(over, position[over.pk] + item.amount_minor)
            continue
        for limit in out:
            position[limit.pk] += item.amount_minor
        for limit in _towards(limits, item.payee_id, item.payer_id, item.currency_id):
            position[limit.pk] -= item.amount_minor
    return faults


def _towards(
    limits: Mapping[Side, list[Limit]], participant_id: int, other_id: int, currency_id: int
) -> list[Limit]:
    """List the participant's limits that an obligation between it and the other counts for."""
    rows = limits.get((participant_id, currency_id), [])
    return [limit for limit in rows if limit.counterparty_id in (None, other_id)]


def _lock(sides: set[Side]) -> dict[Side, list[Limit]]:
    """Lock the limits of these payers and currencies, always in the same order."""
    rows = Limit.objects.select_for_update(of=("self",)).select_related(
        "participant", "counterparty", "currency"
    )
    found: dict[Side, list[Limit]] = defaultdict(list)
    payers = {participant_id for participant_id, _ in sides}
    for limit in rows.filter(is_active=True, participant_id__in=payers).order_by("id"):
        found[limit.participant_id, limit.currency_id].append(limit)
    return found


def _owed(window_id: int, parties: set[int]) -> dict[Pair, int]:
    """Add up what these participants owe and are owed, by pair."""
    with connection.cursor() as cursor:
        cursor.execute(OWED.format(partition=partitions.name(window_id)), [list(parties)] * 2)
        return {Pair(*row[:3]): int(row[3]) for row in cursor.fetchall()}


def _position(limit: Limit, owed: Mapping[Pair, int]) -> int:
    """Return what the participant owes net, to the counterparty or to all."""
    position = 0
    for pair, amount_minor in owed.items():
        if pair.currency_id == limit.currency_id:
            if pair.payer_id == limit.participant_id and limit.counterparty_id in (None, pair.payee_id):
                position += amount_minor
            elif pair.payee_id == limit.participant_id and limit.counterparty_id in (None, pair.payer_id):
                position -= amount_minor
    return position


def _fault(limit: Limit, position: int) -> Fault:
    currency = limit.currency.code
    amount, most = (money.format_minor(each, currency) for each in (position, limit.amount_minor))
    towards = f" {limit.counterparty.code}" if limit.counterparty else ""
    return Fault(
        "limit_exceeded",
        f"{limit.participant.code} would owe{towards} {amount} {currency} net; its limit is {most}.",
        participant=limit.participant.code,
        counterparty=limit.counterparty.code if limit.counterparty else None,
        currency=currency,
        amount=amount,
        limit=most,
    )


LIMITED = "SELECT participant_id, currency_id FROM clearing_limit WHERE is_active"

OWED = """
    SELECT currency_id, payer_id, payee_id, sum(amount_minor) FROM {partition}
    WHERE payer_id = ANY (%s) OR payee_id = ANY (%s) GROUP BY 1, 2, 3
"""
