"""Nothing enters a window after its cutoff, whether or not anyone is awake."""

import threading
from datetime import timedelta
from queue import Queue

import pytest
from django.db import transaction

from clearing import windows
from clearing.models import ClearingWindow, RegionSchedule
from clearing.obligations import submit
from clearing.states import Region, WindowStatus
from tests.database import PATIENCE_SECONDS, backend, together, wait_until_blocked
from tests.factories import AT, circle, obligation, window

pytestmark = pytest.mark.django_db


def test_past_the_cutoff_obligations_go_to_the_next_window_although_no_tick_came() -> None:
    circle()
    due = window(Region.GLOBAL, opens_at=AT, cutoff_at=AT + timedelta(hours=1))

    late = submit(
        [obligation()],
        region=Region.GLOBAL,
        submitter="@operator",
        at=due.cutoff_at,
        all_or_nothing=True,
    )

    assert late.window_id != due.pk
    assert windows.get(due.pk).status == WindowStatus.CLOSING
    assert windows.get(late.window_id or 0).opens_at == due.cutoff_at


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_who_stood_at_the_gate_of_a_window_that_closed_enters_the_next_one() -> None:
    """Let in on what was read before the gate, an obligation would be late, or refused by the seal."""
    RegionSchedule.objects.filter(pk=Region.EUROPE).update(is_enabled=True)
    opened = window(Region.EUROPE)
    at = opened.opens_at + timedelta(minutes=1)
    shut = threading.Event()
    waiting: Queue[int] = Queue()

    def close() -> ClearingWindow:
        with transaction.atomic():
            closing = windows.close(opened, at=at)
            shut.set()
            wait_until_blocked(waiting.get(timeout=PATIENCE_SECONDS))
            return closing

    def enter() -> ClearingWindow:
        assert shut.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            waiting.put(backend())
            return windows.enter(Region.EUROPE, at=at)

    closed_, entered = together(close, enter)

    assert isinstance(closed_, ClearingWindow), closed_
    assert closed_.status == WindowStatus.CLOSED
    assert entered == windows.accepting(Region.EUROPE) != opened
