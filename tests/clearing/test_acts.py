"""One obligation cancelled, held or released: it is out of netting or in it, never both, never lost."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from clearing import operations, queries, windows
from clearing.models import ClearingWindow, HeldTotal, Obligation, ObligationAct, SetAside
from clearing.obligations import acts
from clearing.obligations.acts import (
    Actor,
    CutoffPassed,
    NotTheHolder,
    NotTheSubmitter,
    ObligationCancelled,
    ObligationHeld,
    ObligationNotHeld,
)
from clearing.queries import UnknownObligation
from clearing.states import Region, WindowStatus
from settlement import participants
from tests.chaos import invariants
from tests.database import refused, sql, together
from tests.factories import AT, A, B, C, balances, circle, obligation, running, settled, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)
OPERATOR = Actor("olivia")


def member(code: str) -> Actor:
    return Actor(code, participants.get(code))


def sent(payer: str = A, payee: str = B, *, reference: str = "r", region: Region = Region.AMERICAS) -> UUID:
    """Take one obligation of 10.00 USD, submitted by its payer; return its public id."""
    (outcome,) = take(obligation(payer, payee, reference=reference), submitter=payer, region=region).outcomes
    assert outcome.id is not None
    return outcome.id


def cancel(key: UUID, *, by: Actor = OPERATOR, at: datetime = AT) -> SetAside:
    return acts.cancel(key, by=by, reason="sent twice", at=at)


def hold(key: UUID, *, by: Actor = OPERATOR, at: datetime = AT) -> SetAside:
    return acts.hold(key, by=by, reason="disputed", at=at)


def release(key: UUID, *, by: Actor = OPERATOR, at: datetime = AT) -> Obligation | SetAside:
    return acts.release(key, by=by, reason="settled between us", at=at)


def test_a_cancelled_obligation_clears_nowhere_and_stays_on_record() -> None:
    circle()
    opened = window()
    key = sent()
    kept = sent(reference="kept")

    cancelled = cancel(key, by=member(A))

    found = queries.obligation(key)
    assert isinstance(found, SetAside)
    assert (found.status, found.reason, found.by, found.origin_window_id) == (
        "Cancelled",
        "sent twice",
        A,
        opened.pk,
    )
    assert (found.amount_minor, found.payer.code, found.payee.code, found.submitter) == (10_00, A, B, A)
    assert cancelled.pk == found.pk
    assert [(row.act, row.by, row.window_id) for row in ObligationAct.objects.all()] == [
        ("Cancelled", A, opened.pk)
    ]
    event = opened.events.get(event_type="ObligationCancelled")
    assert event.data == {"obligation_id": str(key)}
    assert invariants.broken({"USD": (2, 20_00)}) == []
    settled(windows.close(opened, at=opened.cutoff_at))
    assert balances(A)["USD"] == (1_000_00 - 10_00, 0)
    assert isinstance(queries.obligation(kept), Obligation)


def test_a_retry_of_a_cancelled_obligation_is_answered_as_cancelled_and_takes_nothing() -> None:
    circle()
    window()
    again = obligation(A, B, reference="r")
    key = sent()
    cancel(key)

    intake = take(again, submitter=A)

    (outcome,) = intake.outcomes
    assert (outcome.status, outcome.id, outcome.window_id) == ("duplicate", key, None)
    assert outcome.as_json()["state"] == "Cancelled"
    assert not Obligation.objects.exists()


def test_cancelling_twice_is_answered_with_the_first_cancellation() -> None:
    circle()
    window()
    key = sent()
    first = cancel(key)

    again = acts.cancel(key, by=OPERATOR, reason="another", at=AT + timedelta(minutes=1))

    assert (again.reason, again.aside_at) == (first.reason, first.aside_at)
    assert ObligationAct.objects.count() == 1


@pytest.mark.parametrize("status", [WindowStatus.CLOSING, WindowStatus.CLOSED, WindowStatus.COMPLETED])
@pytest.mark.parametrize("act", [cancel, hold])
def test_after_the_cutoff_nothing_leaves_a_window(act: object, status: WindowStatus) -> None:
    circle()
    opened = window()
    key = sent()
    windows.begin_close(opened, at=AT)
    if status != WindowStatus.CLOSING:
        windows.finish_close(opened, at=AT)
    if status == WindowStatus.COMPLETED:
        settled(windows.get(opened.pk))

    with pytest.raises(CutoffPassed) as refusal:
        act(key)  # type: ignore[operator]

    assert refusal.value.details["window_id"] == opened.pk
    assert not SetAside.objects.exists()
    assert not ObligationAct.objects.exists()


def test_the_cutoff_of_a_scheduled_window_counts_although_no_tick_came() -> None:
    circle()
    due = window(Region.GLOBAL)
    key = sent(region=Region.GLOBAL)

    with pytest.raises(CutoffPassed):
        cancel(key, at=due.cutoff_at)

    cancel(key, at=due.cutoff_at - timedelta(microseconds=1))


def test_who_may_cancel_hold_and_release() -> None:
    circle()
    window()
    key = sent(A, B)

    with pytest.raises(NotTheSubmitter):
        cancel(key, by=member(B))
    with pytest.raises(UnknownObligation):
        cancel(key, by=member(C))
    with pytest.raises(UnknownObligation):
        hold(key, by=member(C))
    hold(key, by=member(B))
    with pytest.raises(NotTheHolder):
        release(key, by=member(A))
    with pytest.raises(UnknownObligation):
        release(key, by=member(C))
    with pytest.raises(ObligationHeld):
        hold(key, by=member(A))
    assert hold(key, by=member(B)).status == "Held"
    assert isinstance(release(key, by=member(B)), Obligation)
    hold(key)
    with pytest.raises(NotTheHolder):
        release(key, by=member(B))
    assert isinstance(release(key), Obligation)
    cancel(key, by=member(A))
    with pytest.raises(ObligationCancelled):
        hold(key)
    with pytest.raises(ObligationNotHeld):
        release(key)


def test_an_unknown_obligation_is_not_there() -> None:
    for act in (cancel, hold, release):
        with pytest.raises(UnknownObligation):
            act(UUID(int=7))


def test_what_is_held_is_no_part_of_the_result_is_reported_and_rolls_on_until_it_is_released() -> None:
    circle()
    first = window()
    disputed, _plain = sent(A, B, reference="disputed"), sent(A, B, reference="plain")
    hold(disputed, by=member(B))

    settled(windows.close(first, at=first.cutoff_at))
    second = window()
    settled(windows.close(second, at=second.cutoff_at))
    third = window()
    release(disputed, by=member(B))
    settled(windows.close(third, at=third.cutoff_at))

    reported = HeldTotal.objects.order_by("window").values_list("window", "obligations_count", "gross_minor")
    assert [(window_id, many, int(gross)) for window_id, many, gross in reported] == [
        (first.pk, 1, 10_00),
        (second.pk, 1, 10_00),
    ]
    found = queries.obligation(disputed)
    assert isinstance(found, Obligation)
    assert (found.window_id, found.origin_window_id, found.arrival) == (third.pk, first.pk, "released")
    assert balances(B)["USD"] == (1_000_00 + 20_00, 0)
    assert [row.act for row in ObligationAct.objects.all()] == ["Held", "Released"]
    assert [row.window_id for row in ObligationAct.objects.all()] == [first.pk, third.pk]
    assert invariants.broken({"USD": (2, 20_00)}) == []


def test_what_is_released_while_no_window_is_open_enters_the_next_one() -> None:
    circle()
    first = window()
    key = sent()
    hold(key)
    windows.close(first, at=AT)

    released = release(key)
    following = window()

    assert isinstance(released, SetAside)
    assert released.status == "Parked"
    assert [row.key for row in following.obligations.all()] == [key]
    assert not SetAside.objects.exists()


def test_held_and_parked_obligations_may_still_be_cancelled() -> None:
    circle()
    window(max_obligations=10)
    held = sent(reference="held")
    hold(held, by=member(B))

    cancelled = cancel(held, by=member(A))

    assert (cancelled.status, cancelled.by) == ("Cancelled", A)
    assert [row.act for row in ObligationAct.objects.all()] == ["Held", "Cancelled"]


def test_an_act_is_never_rewritten() -> None:
    circle()
    opened = window()
    hold(sent())
    windows.close(opened, at=AT)

    for table in ("clearing_obligationact", "clearing_heldtotal"):
        with refused("append_only"):
            sql(f"DELETE FROM {table}")
    with refused("append_only"):
        sql("UPDATE clearing_obligationact SET reason = 'none'")


def test_a_rolled_back_window_keeps_what_was_cancelled_out_of_it() -> None:
    circle()
    opened = window()
    key, _ = sent(reference="a"), sent(reference="b")
    cancel(key)
    shut = windows.close(opened, at=AT)

    operations.roll_back(running(shut, applied=4).pk, at=AT, reason="test")

    assert invariants.broken({"USD": (2, 20_00)}) == []
    with pytest.raises(CutoffPassed):
        cancel(next(row.key for row in shut.obligations.all()))


@concurrent
def test_of_a_cancellation_and_a_close_at_once_the_obligation_is_cancelled_or_cleared() -> None:
    circle()
    for turn in range(6):
        opened = window(Region.GLOBAL) if not turn else windows.accepting(Region.GLOBAL)
        keys = [sent(reference=f"{turn}-{number}", region=Region.GLOBAL) for number in range(6)]

        outcomes = together(
            partial(windows.close, opened, at=AT + timedelta(minutes=turn)),
            *[partial(cancel, key) for key in keys],
        )

        assert isinstance(outcomes[0], ClearingWindow), outcomes
        cancelled = {row.key for row in SetAside.objects.filter(origin_window_id=opened.pk)}
        kept = {row.key for row in opened.obligations.all()}
        assert cancelled | kept == set(keys)
        assert not cancelled & kept
        for key, outcome in zip(keys, outcomes[1:], strict=True):
            assert isinstance(outcome, SetAside if key in cancelled else CutoffPassed), outcome
    assert invariants.broken({"USD": (36, 360_00)}) == []


@concurrent
def test_of_many_acts_on_one_obligation_at_once_each_finds_it_in_one_place() -> None:
    circle()
    window()
    key = sent()

    together(*[partial(act, key) for act in (cancel, hold, release, hold, cancel, release, hold)])

    (row,) = SetAside.objects.all()
    assert row.status == "Cancelled"
    assert not Obligation.objects.exists()
    assert invariants.broken({"USD": (1, 10_00)}) == []
