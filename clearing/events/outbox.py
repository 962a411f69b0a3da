"""Write events in the transaction that causes them."""

from datetime import datetime
from typing import Any

from django.db import connection

from clearing.models import WindowEvent
from clearing.states import EventType


def append(window_id: int, event_type: EventType, *, at: datetime, **data: Any) -> WindowEvent:
    """
    Write the window's next event. The window's row is locked until the transaction ends, so that
    sequences are gapless and in the order of commits.
    """
    assert connection.in_atomic_block, "an event is written in the transaction that causes it"
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE clearing_clearingwindow SET event_count = event_count + 1 WHERE id = %s"
            " RETURNING event_count",
            [window_id],
        )
        (sequence,) = cursor.fetchone()
    return WindowEvent.objects.create(
        window_id=window_id, sequence=sequence, event_type=event_type, occurred_at=at, data=data
    )
