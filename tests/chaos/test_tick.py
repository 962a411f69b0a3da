"""Beat's tick where a window or a region is broken: the others have their turn, and it is tried again."""

import contextlib
from pathlib import Path

import pytest
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from clearing import operations, pipeline, recovery, tasks, windows
from clearing.faults import FaultInjected
from clearing.models import Obligation
from clearing.states import Region, WindowStatus
from tests.chaos import invariants
from tests.database import sql
from tests.factories import circle, closed, obligation, window

pytestmark = pytest.mark.django_db


def test_a_window_that_cannot_be_taken_keeps_the_tick_from_no_other_region() -> None:
    due = {region: window(region, cutoff_at=None) for region in (Region.AMERICAS, Region.ASIA_PACIFIC)}
    sql("UPDATE clearing_clearingwindow SET grace_seconds = 0")
    sql(
        "CREATE FUNCTION jam() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'the disk is full'; END $$"
    )
    sql(
        "CREATE TRIGGER jam BEFORE UPDATE ON clearing_clearingwindow FOR EACH ROW"
        f" WHEN (NEW.status = 'Closed' AND NEW.id = {due[Region.AMERICAS].pk}) EXECUTE FUNCTION jam()"
    )

    with pytest.raises(DatabaseError, match="the disk is full"):
        tasks.tick()

    assert windows.get(due[Region.AMERICAS].pk).status == WindowStatus.CLOSING
    assert windows.get(due[Region.ASIA_PACIFIC].pk).status == WindowStatus.PROCESSING


@pytest.mark.parametrize("code", ["internal_error", "rolled_back_by_request"])
def test_a_window_whose_first_step_keeps_failing_is_tried_again_with_growing_pauses(
    armoury: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setitem(settings.CLEARING, "RUNS_MAX", 9)
    shut = closed()
    sql("UPDATE clearing_clearingwindow SET grace_seconds = 0")
    runs = operations.clearings().filter(window=shut)
    at = timezone.now()
    for count in (1, 2, 3, 4):
        (armoury / "window_status_changed.before").write_text("raise")
        if count == 1:
            with pytest.raises(FaultInjected):
                tasks.tick()
            at = timezone.now()
        else:
            at += pipeline.lease(count - 2)
            recovery.sweep(at=at)
        assert runs.count() == count
        runs.update(error_code=code)

        tasks.tick()
        recovery.sweep(at=at)
        assert runs.count() == count, "not before its pause is over"
        assert windows.get(shut.pk).status == WindowStatus.CLOSED

    recovery.sweep(at=at + pipeline.lease(4))
    assert windows.get(shut.pk).status == WindowStatus.PROCESSING


@pytest.mark.parametrize("code", ["internal_error", "rolled_back_by_request"])
def test_a_window_whose_first_step_never_succeeds_comes_to_its_end_and_its_obligations_move_on(
    armoury: Path, code: str
) -> None:
    """It once stayed Closed for ever, whose obligations nobody would clear."""
    circle()
    shut, runs_max = closed(obligation(amount_minor=7)), settings.CLEARING["RUNS_MAX"]
    runs, at = operations.clearings().filter(window=shut), timezone.now()
    for count in range(runs_max):
        (armoury / "window_status_changed.before").write_text("raise")
        with contextlib.suppress(FaultInjected):
            pipeline.clear(shut, at=at)
        at += pipeline.lease(count)
        runs.update(error_code=code)
        assert windows.get(shut.pk).status == WindowStatus.CLOSED

    recovery.sweep(at=at)
    assert windows.get(shut.pk).status == WindowStatus.CLOSED, "nowhere to move them to yet"
    following = window()
    recovery.sweep(at=at)

    assert (windows.get(shut.pk).status, runs.count()) == (WindowStatus.FAILED, runs_max)
    assert list(Obligation.objects.values_list("window_id", "amount_minor")) == [(following.pk, 7)]
    assert shut.events.latest("sequence").event_type == "Failed"
    assert invariants.broken({"USD": (1, 7)}) == []
