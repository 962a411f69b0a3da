"""Write events in the transaction that causes them."""

import logging
from datetime import datetime
from functools import partial

import msgspec
from django.db import connection, transaction

from clearing.events.facts import Fact
from clearing.models import WindowEvent
from clearing_project import trace

logger = logging.getLogger(__name__)


def append(window_id: int, fact: Fact, *, at: datetime) -> WindowEvent:
    """
    Write the window's next event. The window's row is locked until the transaction ends, so that
    sequences are gapless and in the order of commits. The event keeps the id of the request it came from.
    """
    assert connection.in_atomic_block, "an event is written in the transaction that causes it"
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE clearing_clearingwindow SET event_count = event_count + 1 WHERE id = %s"
            " RETURNING event_count",
            [window_id],
        )
        (sequence,) = cursor.fetchone()
    data = msgspec.to_builtins(fact)
    if request_id := trace.request_id():
        data["request_id"] = request_id
    told = {"window_id": window_id, "event_type": fact.event_type.value, "sequence": sequence}
    transaction.on_commit(partial(trace.carrying(logger.info), "event", extra=told), robust=True)
    return WindowEvent.objects.create(
        window_id=window_id, sequence=sequence, event_type=fact.event_type, occurred_at=at, data=data
    )
