"""What a limited participant owes is counted along: at any commit the sum of its window's rows."""

from functools import partial
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from clearing import clockwork, counters, partitions, windows
from clearing.models import ClearingWindow, Limit, LimitCount, LimitCounter, Obligation
from clearing.obligations import Intake, acts
from clearing.states import Region
from settlement import participants
from tests.chaos import invariants
from tests.clearing.test_limits import answers, limit, owes
from tests.database import aside, backend, refused, sql, together, wait_until_someone_waits_for
from tests.factories import AT, BY_HAND, A, B, C, circle, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)
BY = acts.Actor("olivia")
PLENTY = 10**12


def net(window_: ClearingWindow, code: str = A) -> int:
    """Return what the counter says that a participant owes in US dollars."""
    rows = LimitCount.objects.filter(
        window=window_, limit__participant=participants.get(code), limit__currency__code="USD"
    )
    return int(sum(row.amount_minor for row in rows))


def test_whatever_brings_or_takes_a_row_is_counted(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    circle()
    limit(PLENTY)
    limit(PLENTY, of=B, to=A)
    limit(PLENTY, of=C, to=B)
    monkeypatch.setitem(settings.CLEARING, "MAX_OBLIGATIONS_PER_WINDOW", 4)
    first = window()

    take(owes(100), owes(30, B, A), owes(5, C, A), owes(1000, currency="EUR"))
    assert net(first) == 65
    cancelled, held = (outcome.id for outcome in take(owes(7), owes(8, A, C)).outcomes)
    assert cancelled is not None
    assert held is not None
    acts.cancel(cancelled, by=BY, reason="test", at=AT)
    acts.hold(held, by=BY, reason="test", at=AT)
    assert net(first) == 65
    acts.release(held, by=BY, reason="test", at=AT)
    take(owes(11, not_before="2026-03-11"))
    assert (net(first), net(first, B), net(first, C)) == (73, -70, 0)
    assert invariants.broken() == []

    windows.close(first, at=AT, reason="test")  # the fifth is one too many: parked, and waiting as the sixth
    second = window(opens_at=first.cutoff_at, cutoff_at=first.cutoff_at.replace(day=12))

    assert net(second) == 8 + 11
    assert invariants.broken() == []


def test_what_a_window_gives_up_is_counted_in_the_one_that_takes_it() -> None:
    circle()
    limit(PLENTY)
    given_up = window()
    take(owes(100), owes(30, B, A))
    windows.close(given_up, at=AT, reason="test")
    target = window()
    take(owes(1))

    windows.give_up(given_up, at=AT, reason="test")

    assert net(target) == 71
    assert not LimitCounter.objects.filter(window=given_up).exists()
    assert invariants.broken() == []


def test_a_row_written_past_the_engine_is_counted_too_and_no_count_is_changed() -> None:
    circle()
    limit(PLENTY)
    opened = window()
    take(owes(100))
    row = Obligation.objects.get()

    sql(
        "INSERT INTO clearing_obligation (window_id, id, amount_minor, key, submitted_at, payer_id, payee_id,"
        " currency_id, priority, reference, submitter)"
        " SELECT window_id, id + 1, amount_minor, gen_random_uuid(), submitted_at, payer_id, payee_id,"
        " currency_id, priority, reference, submitter FROM clearing_obligation WHERE id = %s",
        row.pk,
    )

    assert net(opened) == 200
    with refused("append_only"):
        sql("UPDATE clearing_limitcount SET amount_minor = 0")
    with refused("append_only"):
        sql("UPDATE clearing_limitcounter SET limit_id = 0")


def test_the_checker_sees_a_counter_that_is_wrong() -> None:
    circle()
    limit(PLENTY)
    window()
    take(owes(100))

    sql("DELETE FROM clearing_limitcount")

    (found,) = invariants.broken()
    assert found.startswith("a limit's counter differs")


def test_a_call_of_a_limited_payer_does_not_read_the_window() -> None:
    circle()
    limit(100)
    opened = window()
    take(owes(60))

    with CaptureQueriesContext(connection) as asked:
        refusal = take(owes(41), all_or_nothing=False)

    assert answers(refusal) == ["limit_exceeded"]
    assert not [each["sql"] for each in asked if partitions.name(opened.pk) in each["sql"]]


def test_where_nobody_has_a_limit_nothing_is_counted() -> None:
    circle()
    opened = window()
    take(owes(60))

    clockwork.keep(BY_HAND, at=AT)

    assert (
        sql(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE '%%_is_counted'",
            partitions.name(opened.pk),
        )
        == []
    )
    assert not LimitCounter.objects.exists()


def test_a_limit_set_in_an_open_window_starts_from_its_true_sum_before_and_after_the_tick() -> None:
    circle()
    opened = window()
    take(owes(90), owes(10, B, A), owes(500, A, C, currency="EUR"))
    limit(100)

    before = take(owes(21), all_or_nothing=False)
    assert not LimitCounter.objects.exists()
    clockwork.keep(BY_HAND, at=AT)
    after = take(owes(21), all_or_nothing=False)

    assert net(opened) == 80
    assert answers(before) == answers(after) == ["limit_exceeded"]
    assert before.outcomes[0].details == after.outcomes[0].details
    assert answers(take(owes(20))) == ["accepted"]
    limit(PLENTY, of=C)
    clockwork.keep(BY_HAND, at=AT)
    assert (net(opened), net(opened, C)) == (100, 0)
    assert invariants.broken() == []


def test_a_counter_of_many_rows_is_folded_by_the_next_call_or_the_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circle()
    limit(PLENTY)
    opened = window()
    monkeypatch.setattr(counters, "ROWS_MAX", 3)
    for _ in range(6):
        take(owes(10, B, A))

    clockwork.keep(BY_HAND, at=AT)
    assert [int(row.amount_minor) for row in LimitCount.objects.all()] == [-60]
    for _ in range(5):
        take(owes(10, B, A))
    take(owes(1), owes(1, A, C))

    assert sorted(int(row.amount_minor) for row in LimitCount.objects.all()) == [-110, 2]
    assert net(opened) == -108
    assert invariants.broken() == []


def test_sums_beyond_64_bits_are_counted() -> None:
    circle()
    cap = limit(2**63 - 1)
    opened = window()
    most = 2**63 - 1

    take(owes(most, B, A), owes(most, C, A), owes(most, B, A))

    assert net(opened) == -3 * most
    assert counters.owed(opened.pk, [cap.pk]) == {cap.pk: -3 * most}


@concurrent
def test_counting_begins_once_no_writer_is_in_the_window_and_misses_none() -> None:
    circle()
    opened = window()
    written, may_commit = Event(), Event()

    def write_slowly() -> None:
        with transaction.atomic():
            take(owes(70))
            written.set()
            assert may_commit.wait(30)

    def begin() -> list[bool]:
        assert written.wait(30)
        limit(PLENTY)
        tried = [counters.begin(opened.pk)]
        may_commit.set()
        while not tried[-1]:
            tried.append(counters.begin(opened.pk))
        return tried

    _, tried = together(write_slowly, begin)

    assert isinstance(tried, list)
    assert tried[0] is False
    assert tried[-1] is True
    assert net(opened) == 70
    assert counters.begin(opened.pk)
    assert net(opened) == 70


@concurrent
def test_calls_at_once_keep_a_counted_limit_while_it_is_folded_and_room_is_made_and_taken() -> None:
    circle()
    limits = [limit(100).pk, limit(PLENTY, of=B).pk]
    opened = window()
    keys = [outcome.id for outcome in take(*[owes(10) for _ in range(4)]).outcomes]

    def meddle() -> None:
        for key in keys:
            assert key is not None
            acts.hold(key, by=BY, reason="test", at=AT)
            counters.fold(opened.pk, limits)

    outcomes = together(
        meddle, *[partial(take, owes(30), owes(1, B, C), all_or_nothing=False) for _ in range(6)]
    )

    intakes = [outcome for outcome in outcomes if isinstance(outcome, Intake)]
    assert len(intakes) == 6, outcomes
    assert 0 < net(opened) <= 100
    assert aside(partial(net, opened, B)) == 6 - net(opened)
    assert invariants.broken() == []


@concurrent
def test_a_limit_that_is_made_to_hold_again_waits_for_the_calls_in_flight() -> None:
    circle()
    window()
    cap = limit(100)
    Limit.objects.filter(pk=cap.pk).update(is_active=False)
    written = Event()
    sessions: list[int] = []

    def write_slowly() -> Intake:
        with transaction.atomic():
            taken = take(owes(60))
            sessions.append(backend())
            written.set()
            wait_until_someone_waits_for(sessions[0])
        return taken

    def hold_again() -> Intake:
        assert written.wait(30)
        Limit.objects.filter(pk=cap.pk).update(is_active=True)
        return take(owes(60), all_or_nothing=False)

    first, second = together(write_slowly, hold_again)

    assert isinstance(first, Intake), first
    assert isinstance(second, Intake), second
    assert answers(second) == ["limit_exceeded"]


def test_a_limit_holds_in_the_window_of_each_region_by_itself() -> None:
    circle()
    limit(100)
    here = window()
    there = window(Region.ASIA_PACIFIC)

    take(owes(100))
    take(owes(100), region=Region.ASIA_PACIFIC)

    assert (net(here), net(there)) == (100, 100)
    assert answers(take(owes(1), region=Region.ASIA_PACIFIC, all_or_nothing=False)) == ["limit_exceeded"]
