"""
Hold limits at intake, on what each limited payer owes net in the accepting window.

The position is counted along by PostgreSQL (clearing.counters), or added up from the window's rows as long as
it is not. Calls with limited payers come one after the other per payer, so that two cannot both slip under a
limit. Who has no limit pays one small query.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.db import connection

from clearing import counters
from clearing.models import Limit
from clearing.obligations.items import Item
from clearing.obligations.placing import Place
from clearing.obligations.screen import Fault
from netting import money


class Side(NamedTuple):
    """A participant in one currency."""

    participant_id: int
    currency_id: int


def exceeded(place: Place, items: Mapping[int, Item], *, waiting: Collection[bytes]) -> dict[int, Fault]:
    """
    Find the items that would take their payer over a limit, in the order of the call.

    Its limits stay locked until our transaction ends. What is known already, or waits for a later window,
    takes nobody anywhere.
    """
    if place.window is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(LIMITED, [list({item.payer_id for item in items.values()})])
        limited = {Side(*row) for row in cursor.fetchall()}
    if not limited:
        return {}
    concerned = {
        Side(item.payer_id, item.currency_id) for item in items.values() if item.key not in waiting
    } & limited
    if not concerned:
        return {}
    limits = _lock(concerned)
    counting = {
        index: item
        for index, item in items.items()
        if item.key not in waiting
        and ((item.payer_id, item.currency_id) in limits or (item.payee_id, item.currency_id) in limits)
    }
    for index in _known(counting):
        del counting[index]
    return _hold(limits, counting, place.window.pk) if limits else {}


def _known(items: Mapping[int, Item]) -> list[int]:
    """Find the items whose reference has its obligation already."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [[item.key.hex() for item in items.values()]])
        known = {row[0].bytes for row in cursor.fetchall()}
    return [index for index, item in items.items() if item.key in known]


def _hold(limits: Mapping[Side, list[Limit]], items: Mapping[int, Item], window_id: int) -> dict[int, Fault]:
    """Let the items in one after the other, as far as the limits allow."""
    position = counters.owed(window_id, [limit.pk for rows in limits.values() for limit in rows])
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
    rows = limits.get(Side(participant_id, currency_id), [])
    return [limit for limit in rows if limit.counterparty_id in (None, other_id)]


def _lock(sides: set[Side]) -> dict[Side, list[Limit]]:
    """Lock the limits of these payers, always in the same order; return those that hold."""
    rows = Limit.objects.select_for_update(of=("self",)).select_related(
        "participant", "counterparty", "currency"
    )
    found: dict[Side, list[Limit]] = defaultdict(list)
    payers = {side.participant_id for side in sides}
    for limit in rows.filter(participant_id__in=payers).order_by("id"):
        if limit.is_active:
            found[Side(limit.participant_id, limit.currency_id)].append(limit)
    return found


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


# Active or not: who makes a limit hold waits for the calls in flight, by the lock on its row.
LIMITED = "SELECT participant_id, currency_id FROM clearing_limit WHERE participant_id = ANY (%s)"

KNOWN = "SELECT key FROM clearing_obligationkey WHERE key = ANY (%s::uuid[])"
