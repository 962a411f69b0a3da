"""The cycle with a real worker: a day completes, a short file goes back, and no message counts twice."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from celery.result import AsyncResult
from django.conf import settings
from django.db.models import Count, Sum
from django.utils import timezone

from clearing import pipeline, tasks
from clearing.models import (
    AtomicOperation,
    FrozenSet,
    MultilateralPosition,
    NettingResult,
    WindowEvent,
    WindowMetrics,
)
from clearing.states import OperationStatus, Region, WindowStatus
from clearing_project.celery import app
from clearing_project.stack.processes import Process
from netting import money
from settlement.models import LedgerEntry, Posting, SettlementAccount, SettlementInstruction
from tests.cycle.day import (
    checkpoints,
    cleared,
    ended,
    idle_in,
    lapse,
    load_sample_participants,
    sample_obligations,
    status,
    tampered,
)
from tests.database import sql
from tests.factories import DAY, A, B, C, balances, circle, closed, obligation, snapshot, story

pytestmark = [pytest.mark.cycle, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

QUEUE = settings.CELERY_TASK_DEFAULT_QUEUE


def held() -> dict[tuple[str, str], int]:
    rows = SettlementAccount.objects.filter(participant__kind="Member")
    columns = ("participant__code", "currency__code", "balance_minor")
    return {(code, currency): balance for code, currency, balance in rows.values_list(*columns)}


def test_the_sample_day_completes_and_the_short_file_after_it_goes_back(worker: Process) -> None:
    load_sample_participants()
    day = sample_obligations("obligations.csv")
    before = held()
    prefunding = -sum(
        SettlementAccount.objects.filter(participant__code="FUNDING").values_list("balance_minor", flat=True)
    )

    operation = cleared(closed(*day))

    assert (operation.status, status(operation.window)) == (OperationStatus.COMMITTED, WindowStatus.COMPLETED)
    assert checkpoints(operation) == ["Applied"] * 4
    expected: Counter[tuple[str, str]] = Counter(before)
    for owed in day:
        minor = money.parse_minor(owed.amount, owed.currency)
        expected[owed.payer, owed.currency] -= minor
        expected[owed.payee, owed.currency] += minor
    assert held() == dict(expected)
    sums = (
        MultilateralPosition.objects.filter(operation=operation).values("currency").annotate(Sum("net_minor"))
    )
    assert [row["net_minor__sum"] for row in sums] == [0] * 6
    assert set(balances("AGENT").values()) == {(0, 0)}
    assert sum(held().values()) == prefunding
    assert set(SettlementInstruction.objects.values_list("status", flat=True)) == {"Completed"}
    assert WindowMetrics.objects.get(window=operation.window).obligations_count == len(day)

    settled = snapshot()
    short = cleared(closed(*sample_obligations("obligations_short.csv")))
    assert (short.status, short.error_code) == (OperationStatus.ROLLED_BACK, "insufficient_funds")
    assert "CORVPL20XXX" in short.error_message
    assert status(short.window) == WindowStatus.ROLLED_BACK
    assert checkpoints(short) == ["Undone"] * 4
    after = snapshot()
    assert {name: rows for name, rows in after.items() if name != "Obligation"} == {
        name: rows for name, rows in settled.items() if name != "Obligation"
    }


def test_an_empty_window_completes_at_once_without_a_message(worker: Process) -> None:
    app.control.cancel_consumer(QUEUE, reply=True)
    try:
        operation = pipeline.clear(closed(), at=timezone.now())

        assert status(operation.window) == WindowStatus.COMPLETED
        assert checkpoints(operation) == ["Applied"] * 4
        assert app.control.purge() == 0
    finally:
        app.control.add_consumer(QUEUE, reply=True)


def test_the_events_of_a_run_tell_its_story_in_order(worker: Process) -> None:
    circle()

    operation = cleared(closed(obligation(A, B), obligation(B, A)))

    events = list(operation.window.events.order_by("sequence"))
    assert [(row.sequence, row.event_type) for row in events] == [
        (1, "Opened"),
        (2, "Closing"),
        (3, "Closed"),
        (4, "Processing"),
        (5, "Completed"),
    ]
    assert events[-1].data["operation_id"] == str(operation.pk)
    assert all(earlier.pk < later.pk for earlier, later in pairwise(events))


def test_windows_of_two_regions_clear_side_by_side_on_the_same_accounts(worker: Process) -> None:
    circle(1000)
    shut = [
        closed(*story(DAY), obligation(C, A, 300), region=region, min_netting_efficiency_bps=0)
        for region in (Region.AMERICAS, Region.ASIA_PACIFIC)
    ]

    runs = [pipeline.clear(window, at=timezone.now()) for window in shut]

    assert [ended(run).status for run in runs] == [OperationStatus.COMMITTED] * 2
    assert [balances(code)["USD"] for code in (A, B, C)] == [(600, 0), (1400, 0), (1000, 0)]


def test_a_canvas_lost_with_the_queue_is_sent_again_by_the_sweep(worker: Process) -> None:
    circle()
    app.control.cancel_consumer(QUEUE, reply=True)
    try:
        operation = pipeline.clear(closed(*story(DAY), min_netting_efficiency_bps=0), at=timezone.now())
        assert app.control.purge() == 1
    finally:
        app.control.add_consumer(QUEUE, reply=True)
    assert checkpoints(operation) == ["Applied", "Planned", "Planned", "Planned"]

    tasks.sweep()
    assert app.control.purge() == 0, "the lease has not lapsed: nothing is sent"
    lapse(operation)
    tasks.sweep()

    assert ended(operation).status == OperationStatus.COMMITTED


def test_a_rollback_lost_with_the_queue_is_sent_again_by_the_sweep(worker: Process) -> None:
    circle()
    shut = closed(*story(DAY))
    before = snapshot()
    app.control.cancel_consumer(QUEUE, reply=True)
    try:
        operation = pipeline.clear(shut, at=timezone.now())
        assert app.control.purge() == 1
        sql(
            "UPDATE clearing_atomicoperation SET rolling_back_at = now(), error_code = 'test' WHERE id = %s",
            operation.pk,
        )
    finally:
        app.control.add_consumer(QUEUE, reply=True)
    lapse(operation)

    tasks.sweep()

    assert ended(operation).status == OperationStatus.ROLLED_BACK
    assert snapshot() == before


def test_after_finality_a_failed_settlement_is_finished_forward_by_the_sweep(worker: Process) -> None:
    circle(1000)
    shut = closed(*story(DAY), min_netting_efficiency_bps=0)
    with tampered("settlement_posting", "RAISE EXCEPTION 'the disk is full'"):
        operation = pipeline.clear(shut, at=timezone.now())
        idle_in(operation, WindowStatus.SETTLING)
    lapse(operation)

    tasks.sweep()

    assert ended(operation).status == OperationStatus.COMMITTED
    assert balances(A)["USD"] == (500, 0)


def messages(operation: AtomicOperation) -> list[Any]:
    """Every task of the cycle, as it is sent."""
    key = str(operation.pk)
    currencies = NettingResult.objects.filter(operation=operation).values_list("currency_id", flat=True)
    return [
        pipeline.collect.si(key),
        *[pipeline.net_currency.si(key, currency) for currency in currencies or (840, 392)],
        pipeline.seal.si(key),
        pipeline.instruct.si(key),
        pipeline.settle.si(key),
        pipeline.roll_back.si(key),
    ]


def deliver(operation: AtomicOperation) -> None:
    """Deliver every task of the run once more, and wait until all of them are done."""
    results: list[AsyncResult[Any]] = [message.apply_async() for message in messages(operation)]
    for result in results:
        result.get(timeout=30, propagate=False)


def test_every_task_delivered_again_after_the_end_changes_nothing(worker: Process) -> None:
    circle()
    operation = cleared(closed(*story(DAY), min_netting_efficiency_bps=0))
    before, events = snapshot(), WindowEvent.objects.count()

    deliver(operation)

    again = ended(operation)
    assert (again.status, again.rolling_back_at) == (OperationStatus.COMMITTED, None)
    assert snapshot() == before
    assert WindowEvent.objects.count() == events


def test_every_task_delivered_again_after_a_rollback_changes_nothing(worker: Process) -> None:
    circle(100)
    operation = cleared(closed(*story(DAY)))
    assert operation.status == OperationStatus.ROLLED_BACK
    before, events = snapshot(), WindowEvent.objects.count()

    deliver(operation)

    assert ended(operation).error_code == "insufficient_funds"
    assert snapshot() == before
    assert WindowEvent.objects.count() == events


def test_the_same_canvas_sent_five_times_clears_once(worker: Process) -> None:
    circle(1000)
    operation = pipeline.clear(closed(*story(DAY), min_netting_efficiency_bps=0), at=timezone.now())
    for _ in range(4):
        pipeline.advance(operation.pk)

    assert ended(operation).status == OperationStatus.COMMITTED
    deliver(operation)

    assert balances(A)["USD"] == (500, 0)
    assert Posting.objects.filter(kind="Settlement").count() == SettlementInstruction.objects.count() == 5
    assert LedgerEntry.objects.filter(posting__kind="Settlement").count() == 10
    counted = FrozenSet.objects.filter(operation=operation).values("currency").annotate(Count("id"))
    assert [row["id__count"] for row in counted] == [1, 1]
    assert WindowEvent.objects.filter(event_type="Completed").count() == 1
