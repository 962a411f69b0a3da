"""Nothing enters a window after its cutoff, whether or not anyone is awake."""

from datetime import timedelta

import pytest

from clearing import windows
from clearing.obligations import submit
from clearing.states import Region, WindowStatus
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
