"""A claim's time begins when it is made, and waiting for an engine is not being stuck."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from clearing import finality, pipeline, recovery
from clearing.faults import FaultInjected
from clearing.models import Dispatch
from clearing_project.celery import app
from settlement.models import Execution
from settlement.rails import executions
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, committed

pytestmark = pytest.mark.django_db

HELD_UP_SECONDS = 0.3


@pytest.fixture
def armoury(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(django_settings.CLEARING, "FAULTS", str(tmp_path))
    return tmp_path


def test_a_claim_s_time_begins_when_it_is_made_however_long_the_way_there_was(
    engine: Engine, armoury: Path
) -> None:
    engine.start()
    operation = committed()
    (armoury / "finality.after").write_text(f"hang {HELD_UP_SECONDS}")
    (armoury / "engine.claimed").write_text("raise")

    with pytest.raises(FaultInjected):
        finality.settle(operation.pk, at=AT)

    ends = {row.next_at for row in Execution.objects.exclude(sends=0)}
    assert min(ends) >= AT + timedelta(seconds=HELD_UP_SECONDS) + executions.lease()


def test_a_run_whose_engine_takes_its_time_is_looked_at_as_soon_as_ever(engine: Engine) -> None:
    """Its pauses once grew with each question, so that a worker's death was noticed minutes later."""
    engine.start(choose=lambda _: "late", late_seconds=600)
    operation = committed()
    Dispatch.objects.create(operation=operation, next_at=AT)
    finality.settle(operation.pk, at=AT)
    recovery.sweep(at=AT)
    at = AT + timedelta(minutes=2)
    for _ in range(8):
        finality.settle(operation.pk, at=at)
        at += timedelta(minutes=2)

        assert recovery.sweep(at=at) == 1

        dispatch = Dispatch.objects.get(operation=operation)
        assert (dispatch.attempts, dispatch.next_at) == (1, at + pipeline.lease(0))
    app.control.purge()
