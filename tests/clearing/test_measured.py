"""Ages, durations, intake and queues, as Prometheus is told of them."""

import socket
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import override_settings
from kombu import Connection, Queue
from pytest_django import DjangoCaptureOnCommitCallbacks

from clearing import operations
from clearing.metrics import TableCollector
from clearing.models import AtomicOperation, Checkpoint
from clearing.obligations import ObligationsRejected
from clearing_project import counts
from tests.factories import AT, A, B, circle, closed, obligation, running, settled, take, window

pytestmark = pytest.mark.django_db

Figures = dict[tuple[str, ...], float]


def told(at: object = AT) -> Figures:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in TableCollector(at=at).collect()  # type: ignore[arg-type]
        for sample in family.samples
    }


def obligations() -> dict[str, int]:
    return counts.counted("obligations")


def test_each_window_and_operation_that_is_not_final_has_its_age() -> None:
    circle(1000)
    final = closed(obligation(A, B, 5), min_netting_efficiency_bps=0)
    settled(final)
    shut = closed(obligation(A, B, 5))
    run = running(shut, applied=1)
    AtomicOperation.objects.filter(pk=run.pk).update(created_at=AT)

    ages = told(shut.opens_at + timedelta(hours=9))

    name = "deltran_clearing_window_age_seconds"
    assert ages[name, "Americas", "Processing", str(shut.pk)] == 9 * 3600
    assert not [key for key in ages if key[0] == name and str(final.pk) in key]
    (age,) = [
        value
        for key, value in ages.items()
        if key[0] == "deltran_clearing_operation_age_seconds" and "WindowClearing" in key
    ]
    assert age == (shut.opens_at + timedelta(hours=9) - AT).total_seconds()


def test_checkpoints_and_rollbacks_have_durations() -> None:
    circle(1000)
    run = running(closed(obligation(A, B, 5)), applied=2)
    Checkpoint.objects.filter(operation=run, name="window_status_changed").update(
        started_at=AT, applied_at=AT + timedelta(seconds=2)
    )
    operations.roll_back(run.pk, at=AT, reason="test")
    AtomicOperation.objects.filter(pk=run.pk).update(
        rolling_back_at=AT, completed_at=AT + timedelta(milliseconds=40)
    )

    figures = told()

    steps = "deltran_clearing_checkpoint_duration_seconds"
    assert figures[f"{steps}_count", "obligations_collected"] == 1
    assert figures[f"{steps}_sum", "window_status_changed"] == 2
    assert figures[f"{steps}_bucket", "window_status_changed", "1"] == 0
    assert figures[f"{steps}_bucket", "window_status_changed", "2.5"] == 1
    back = "deltran_clearing_rollback_duration_seconds"
    assert figures[f"{back}_sum", "Americas"] == 0.04
    assert figures[f"{back}_bucket", "0.025", "Americas"] == 0


def test_obligations_are_counted_by_what_came_of_them(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    circle(1000)
    window()
    before = obligations()

    with django_capture_on_commit_callbacks(execute=True):
        take(obligation(A, B, reference="one"), obligation(A, A), all_or_nothing=False)
        take(obligation(A, B, reference="one"))
        with pytest.raises(ObligationsRejected):
            take(obligation(A, B), obligation(A, "NOBODY"), obligation(A, "NOBODY"))

    grown = {label: count - before.get(label, 0) for label, count in obligations().items()}
    assert {label: count for label, count in grown.items() if count} == {
        "accepted:": 1,
        "duplicate:": 1,
        "rejected:same_payer_and_payee": 1,
        "rejected:unknown_participant": 2,
    }
    total = told()["deltran_clearing_obligations_total", "unknown_participant", "rejected"]
    assert total == obligations()["rejected:unknown_participant"]


def test_what_is_not_committed_is_not_counted() -> None:
    circle(1000)
    window()
    before = obligations()

    take(obligation(A, B))  # inside the test's transaction, which never commits

    assert obligations() == before


def test_messages_that_wait_are_counted() -> None:
    with (
        override_settings(CELERY_TASK_DEFAULT_QUEUE="measured-by-a-test"),
        Connection(settings.BROKER_URL) as broker,
    ):
        queue = Queue("measured-by-a-test", durable=True)
        assert told()["deltran_clearing_queue_depth", "measured-by-a-test"] == 0
        with broker.Producer() as producer:
            for number in range(3):
                producer.publish({"n": number}, routing_key=queue.name, declare=[queue])

        figures = told()

        assert figures["deltran_clearing_queue_depth", "measured-by-a-test"] == 3
        assert figures["deltran_clearing_broker_up",] == 1
        queue(broker.default_channel).delete()


def test_a_broker_and_redis_that_are_away_cost_their_figures_alone() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        with override_settings(BROKER_URL=away, REDIS_URL=away):
            figures = told()
            counts.add("obligations", {"accepted:": 1})

    names = {key[0] for key in figures}
    assert figures["deltran_clearing_broker_up",] == 0
    assert "deltran_clearing_queue_depth" not in names
    assert "deltran_clearing_obligations_total" not in names
    assert "deltran_clearing_outbox_lag_seconds" in names


def test_the_age_of_beat_is_told() -> None:
    counts.beat(AT.timestamp() - 7)

    assert told()["deltran_clearing_beat_age_seconds",] == 7
