"""
Compare our net positions with those that the obligation engine computes itself over the same obligations.

Where the window holds nothing but the engine's obligations, ours are the run's own positions; where others
came by other doors, the engine cannot know them, and ours are those of its obligations alone.
"""

from collections.abc import Mapping

from django.db import connection

from clearing import partitions
from clearing.engine import client, pulls
from clearing.models import AtomicOperation, MultilateralPosition
from clearing.states import PullStatus
from clearing_project.errors import Conflict
from netting import money

SUBMITTER = "@engine"  # scope of the engine's references: no participant has such a code
SHOWN_MAX = 5

Positions = Mapping[tuple[str, str], str]  # participant and currency -> net amount in major units


class NettingDiffers(Conflict):
    """The obligation engine nets the same obligations to other positions."""

    code = "netting_differs"
    fields = ("window_id", "difference")
    message = "Window {window_id}: the obligation engine's netting is not ours: {difference}"


def check(operation: AtomicOperation) -> None:
    """
    Hold our positions against the engine's; without a complete pull there is nothing to compare.

    Raises:
        NettingDiffers, CircuitOpen, RemoteUnavailable, RemoteRefused
    """
    window_id = operation.window_id
    pull = pulls.of(window_id)
    if pull is None or pull.status != PullStatus.COMPLETE:
        return
    assert not connection.in_atomic_block, "nobody waits for the engine inside a transaction"
    answer = client.netting(
        window_id,
        without=_references(WITHOUT, window_id),
        with_=_references(WITH.format(partition=partitions.name(window_id)), window_id),
    )
    count, is_all = _counted(window_id)
    ours = _of_run(operation) if is_all else _of_engine(window_id)
    theirs = {(each.participant, each.currency): each.net_amount for each in answer.net_positions}
    difference = _difference(ours, theirs)
    if len(theirs) < len(answer.net_positions):
        difference = "a position is told twice"
    if answer.obligations_count != count:
        difference = f"{answer.obligations_count} obligations there, {count} here"
    if difference:
        raise NettingDiffers(window_id, difference)


def _difference(ours: Positions, theirs: Positions) -> str:
    differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    return "; ".join(
        f"{participant} {currency} {theirs.get((participant, currency), 'nothing')} there,"
        f" {ours.get((participant, currency), 'nothing')} here"
        for participant, currency in differing[:SHOWN_MAX]
    )


def _of_run(operation: AtomicOperation) -> dict[tuple[str, str], str]:
    rows = MultilateralPosition.objects.filter(operation=operation).exclude(net_minor=0)
    return _named(list(rows.values_list("participant__code", "currency__code", "net_minor")))


def _of_engine(window_id: int) -> dict[tuple[str, str], str]:
    with connection.cursor() as cursor:
        cursor.execute(NET.format(partition=partitions.name(window_id)), [SUBMITTER, SUBMITTER])
        return _named(cursor.fetchall())


def _named(rows: list[tuple[str, str, int]]) -> dict[tuple[str, str], str]:
    return {
        (participant, currency): money.format_minor(int(net), currency) for participant, currency, net in rows
    }


def _counted(window_id: int) -> tuple[int, bool]:
    """Return how many of the window's obligations are the engine's, and whether all are."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FILTER (WHERE submitter = %s), count(*) FROM {partitions.name(window_id)}",
            [SUBMITTER],
        )
        own, total = cursor.fetchone()
    return own, own == total


def _references(statement: str, window_id: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"submitter": SUBMITTER, "window": window_id})
        return [row[0] for row in cursor.fetchall()]


NET = """
    SELECT participant.code, currency.code, sum(side.minor)
    FROM (
        SELECT payer_id AS party_id, currency_id, -amount_minor AS minor FROM {partition} WHERE submitter = %s
        UNION ALL
        SELECT payee_id, currency_id, amount_minor FROM {partition} WHERE submitter = %s
    ) AS side
    JOIN settlement_participant participant ON participant.id = side.party_id
    JOIN settlement_currency currency ON currency.id = side.currency_id
    GROUP BY 1, 2 HAVING sum(side.minor) <> 0
"""

WITH = """
    SELECT reference FROM {partition}
    WHERE submitter = %(submitter)s AND origin_window_id IS NOT NULL AND origin_window_id <> %(window)s
    ORDER BY id
"""

WITHOUT = """
    SELECT reference FROM clearing_obligation
    WHERE submitter = %(submitter)s AND window_id > %(window)s AND origin_window_id = %(window)s
    UNION ALL
    SELECT reference FROM clearing_setaside
    WHERE submitter = %(submitter)s AND origin_window_id = %(window)s
    ORDER BY 1
"""
