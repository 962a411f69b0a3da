"""Who was paused past its lease writes nothing and condemns nobody."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from clearing import finality, operations, pipeline, steps
from clearing.models import Dispatch
from tests.factories import AT, DAY, circle, closed, running, story

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("token", "is_condemned"), [(1, False), (2, True), (None, True)])
def test_who_was_paused_past_its_lease_condemns_nobody(token: int | None, is_condemned: bool) -> None:
    """A worker that woke up and met its soft time limit once condemned the healthy run that others had."""
    circle()
    operation = running(closed(*story(DAY)), applied=1)
    Dispatch.objects.create(operation=operation, count=2, next_at=AT)

    had_a_say = operations.condemn(operation.pk, SoftTimeLimitExceeded(), at=AT, token=token)

    assert had_a_say is is_condemned
    assert (steps.get(operation.pk).rolling_back_at is not None) is is_condemned


@pytest.mark.parametrize("task", ["collect", "seal", "instruct", "settle", "net_currency"])
def test_a_late_task_that_fails_of_anything_leaves_the_run_to_others(
    monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    circle()
    operation = running(closed(*story(DAY)), applied=1)
    Dispatch.objects.create(operation=operation, count=2, next_at=AT)

    def limit(*_: object, **__: object) -> None:
        raise SoftTimeLimitExceeded

    for place in ("begin", "run_step"):
        monkeypatch.setattr(steps, place, limit)
    monkeypatch.setattr(finality, "commit", limit)

    with pytest.raises(SoftTimeLimitExceeded):
        getattr(pipeline, task)(str(operation.pk), *((840, 1) if task == "net_currency" else (1,)))

    assert steps.get(operation.pk).rolling_back_at is None
