"""An obligation waits for its own window, and one that comes too late goes to the next and says so."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from clearing import clockwork, queries, windows
from clearing.models import ClearingWindow, Obligation, ObligationKey, RegionSchedule, SetAside
from clearing.obligations import Intake, ObligationsConflict, acts, submit
from clearing.states import Region, WhenClosed
from tests.chaos import invariants
from tests.database import sql, together
from tests.factories import BY_HAND, circle, obligation, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # Global opens at 00, 06, 12 and 18 UTC
HOUR = timedelta(hours=1)


def send(at: datetime = NOON, region: Region = Region.GLOBAL, **fields: Any) -> Intake:
    named = fields.pop("window", None)
    return submit(
        [obligation(**fields)],
        region=region,
        submitter="@operator",
        at=at,
        all_or_nothing=True,
        window=named,
    )


def outcome(intake: Intake) -> tuple[Any, ...]:
    (found,) = intake.outcomes
    return found.status.value, found.window_id, found.details


def tick(at: datetime, region: Region = Region.GLOBAL) -> ClearingWindow:
    """Let the clock turn windows over until *at*, without clearing any."""
    windows.open_due(region, at=at)
    while (current := windows.accepting(region)).cutoff_at <= at:
        windows.begin_close(current, at=current.cutoff_at)
    return current


def where(reference: str) -> tuple[int | None, str | None]:
    """The window an obligation is in, or None, and how it came."""
    row = Obligation.objects.filter(reference=reference).first()
    row = row or SetAside.objects.get(reference=reference)  # type: ignore[assignment]
    assert row is not None
    return (row.window_id if isinstance(row, Obligation) else None), row.arrival


@pytest.mark.parametrize(
    ("not_before", "opens"),
    [
        ("2026-03-10T17:59:59Z", "10 12"),
        ("2026-03-10T18:00:00Z", "10 18"),
        ("2026-03-10T20:00:00+02:00", "10 18"),
        ("2026-03-11", "11 00"),
        ("2026-03-12T07:30:00Z", "12 06"),
        ("2026-03-10", "10 12"),
    ],
)
def test_not_before_lets_it_enter_the_first_window_whose_cutoff_is_later(not_before: str, opens: str) -> None:
    circle()
    first = tick(NOON)

    answer = outcome(send(reference="r", not_before=not_before))

    if opens == "10 12":
        assert answer == ("accepted", first.pk, None)
        return
    opens_at = datetime.strptime(f"2026-03-{opens}+0000", "%Y-%m-%d %H%z")
    expected = opens_at.strftime("%Y-%m-%dT%H:00:00.000000Z")
    assert answer == ("parked", None, {"state": "Parked", "reason": "not_before", "expected_at": expected})
    tick(opens_at - HOUR)
    assert where("r")[0] is None
    entered = tick(opens_at)
    assert where("r") == (entered.pk, "parked")
    assert entered.opens_at == opens_at
    assert invariants.broken({"USD": (1, 10_00)}) == []


@pytest.mark.parametrize(
    ("due_date", "opens"),
    [
        (date(2026, 3, 1), "10 12"),
        (date(2026, 3, 10), "10 12"),
        (date(2026, 3, 11), "11 12"),
        (date(2026, 3, 13), "13 12"),
    ],
)
def test_a_due_date_lets_it_enter_the_last_window_that_ends_on_that_day(due_date: date, opens: str) -> None:
    """Global's cutoffs are at 00, 06, 12, 18: the last on a day is 18:00, of the window from 12:00 on."""
    circle()
    first = tick(NOON)

    answer = outcome(send(reference="r", due_date=due_date))

    opens_at = datetime.strptime(f"2026-03-{opens}+0000", "%Y-%m-%d %H%z")
    if opens == "10 12":
        assert answer == ("accepted", first.pk, None)
        return
    assert answer[2]["expected_at"] == opens_at.strftime("%Y-%m-%dT%H:00:00.000000Z")
    assert answer[2]["reason"] == "due_date"
    tick(opens_at - timedelta(seconds=1))
    assert where("r")[0] is None
    entered = tick(opens_at)
    assert where("r") == (entered.pk, "parked")


def test_not_before_after_the_due_date_wins_and_where_windows_open_by_hand_a_due_date_waits_for_none() -> (
    None
):
    circle()
    tick(NOON)
    both = outcome(send(reference="both", not_before="2026-03-12", due_date=date(2026, 3, 11)))
    by_hand = window(BY_HAND)

    due = outcome(send(region=BY_HAND, reference="due", due_date=date(2026, 5, 1)))
    later = outcome(send(region=BY_HAND, reference="later", not_before="2026-05-01T00:00:00Z"))

    assert both[2]["expected_at"] == "2026-03-12T00:00:00.000000Z"
    assert due == ("accepted", by_hand.pk, None)
    assert later == ("parked", None, {"state": "Parked", "reason": "not_before"})


def test_a_schedule_that_changes_meanwhile_takes_what_would_be_late_for_the_next_window() -> None:
    circle()
    tick(NOON)
    send(reference="r", due_date=date(2026, 3, 12))
    RegionSchedule.objects.filter(region="Global").update(opening_times=["00:00"])

    entered = tick(NOON + 18 * HOUR)

    assert entered.cutoff_at == datetime(2026, 3, 12, tzinfo=UTC)
    assert where("r")[0] == entered.pk


def test_while_intake_waits_by_the_calendar_it_is_taken_and_enters_when_the_next_window_opens() -> None:
    circle()
    RegionSchedule.objects.filter(region="Europe").update(
        is_enabled=True,
        time_zone="UTC",
        opening_times=["08:00"],
        closes_at="17:00",
        when_closed=WhenClosed.WAIT,
    )
    night, morning = NOON + 9 * HOUR, NOON + 20 * HOUR

    answer = outcome(send(night, Region.EUROPE, reference="r"))
    again = outcome(send(night, Region.EUROPE, reference="r"))
    with pytest.raises(ObligationsConflict):
        send(night, Region.EUROPE, reference="r", amount_minor=1)

    assert answer[:2] == ("parked", None)
    assert answer[2] == {
        "state": "Parked",
        "reason": "no_window",
        "expected_at": "2026-03-11T08:00:00.000000Z",
    }
    assert again == ("duplicate", None, {"state": "Parked"})
    opened = windows.open_due(Region.EUROPE, at=morning)
    assert opened is not None
    assert where("r") == (opened.pk, "parked")
    assert outcome(send(morning, Region.EUROPE, reference="r")) == ("duplicate", opened.pk, None)
    assert invariants.broken({"USD": (1, 10_00)}) == []


def test_what_was_parked_beside_an_opening_is_let_in_by_the_tick() -> None:
    circle()
    opened = tick(NOON)
    send(reference="r", not_before="2026-03-12")
    sql("UPDATE clearing_setaside SET not_before = NULL")  # as if parked while no window was seen

    clockwork.keep(Region.GLOBAL, at=NOON + HOUR)

    assert where("r") == (opened.pk, "parked")
    assert ObligationKey.objects.get().window_id == opened.pk


def test_a_call_of_items_for_now_and_for_later_is_split_and_known_by_its_whole_body() -> None:
    circle()
    opened = tick(NOON)
    now, later = obligation(reference="now"), obligation(reference="later", not_before="2026-03-12")
    call = partial(submit, region=Region.GLOBAL, submitter="@operator", at=NOON, all_or_nothing=True)

    first, again = call([now, later]), call([later, now])

    assert [each.status.value for each in first.outcomes] == ["accepted", "parked"]
    assert [(each.status.value, each.window_id) for each in again.outcomes] == [
        ("duplicate", None),
        ("duplicate", opened.pk),
    ]
    with pytest.raises(ObligationsConflict) as refusal:
        call([obligation(reference="later", not_before="2026-03-13")])
    assert refusal.value.details["items"][0]["differing"] == ["not_before"]
    assert (Obligation.objects.count(), SetAside.objects.count(), ObligationKey.objects.count()) == (1, 1, 2)


def test_what_is_parked_may_be_held_and_released_and_still_waits_for_its_window() -> None:
    circle()
    tick(NOON)
    (parked,) = send(reference="r", not_before="2026-03-12").outcomes
    assert parked.id is not None
    by = acts.Actor("olivia")

    acts.hold(parked.id, by=by, reason="disputed", at=NOON)
    tick(NOON + 40 * HOUR)
    assert where("r")[0] is None
    acts.release(parked.id, by=by, reason="agreed", at=NOON + 40 * HOUR)

    assert where("r") == (windows.accepting(Region.GLOBAL).pk, "released")


def test_a_call_for_a_window_that_accepts_no_more_is_late_and_says_for_which() -> None:
    circle()
    missed = tick(NOON)
    following = tick(NOON + 10 * HOUR)

    answer = outcome(send(NOON + 10 * HOUR, reference="r", window=missed))

    assert answer == (
        "accepted",
        following.pk,
        {"arrival": "late", "origin_window_id": missed.pk},
    )
    row = Obligation.objects.get()
    assert (row.window_id, row.origin_window_id, row.arrival) == (following.pk, missed.pk, "late")
    assert outcome(send(NOON + 10 * HOUR, reference="r", window=missed))[:2] == ("duplicate", following.pk)
    on_time = outcome(send(NOON + 10 * HOUR, reference="s", window=following))
    assert on_time == ("accepted", following.pk, None)


@pytest.mark.parametrize(("seconds", "is_late"), [(0, True), (29, True), (30, False)])
def test_what_comes_in_the_grace_of_a_closing_window_is_late_for_it(seconds: int, is_late: bool) -> None:
    circle()
    missed = tick(NOON)
    at = missed.cutoff_at + timedelta(seconds=seconds)
    following = tick(at)

    send(at, reference="r")

    row = Obligation.objects.get()
    assert row.window_id == following.pk
    assert (row.origin_window_id, row.arrival) == ((missed.pk, "late") if is_late else (None, None))


def test_late_and_parked_at_once_is_told_both() -> None:
    circle()
    missed = tick(NOON)
    tick(NOON + 10 * HOUR)

    answer = outcome(send(NOON + 10 * HOUR, reference="r", window=missed, not_before="2026-03-13"))

    assert answer[:2] == ("parked", None)
    assert answer[2]["origin_window_id"] == missed.pk
    row = SetAside.objects.get()
    assert (row.arrival, row.origin_window_id) == ("late", missed.pk)
    assert isinstance(queries.obligation(row.key), SetAside)


@concurrent
def test_openings_ticks_and_acts_at_once_let_each_parked_obligation_in_once() -> None:
    circle()
    tick(NOON)
    keys = [
        send(reference=f"r{number}", not_before="2026-03-10T19:00:00Z").outcomes[0].id for number in range(6)
    ]
    at = NOON + 6 * HOUR
    by = acts.Actor("olivia")

    outcomes = together(
        *[partial(clockwork.keep, Region.GLOBAL, at=at) for _ in range(3)],
        *[partial(clockwork.let_in, Region.GLOBAL, at=at) for _ in range(2)],
        *[partial(acts.cancel, key, by=by, reason="test", at=at) for key in keys[:3] if key],
    )

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    clockwork.keep(Region.GLOBAL, at=at)
    assert SetAside.objects.filter(status="Cancelled").count() == 3
    assert Obligation.objects.filter(window=windows.accepting(Region.GLOBAL)).count() == 3
    assert invariants.broken({"USD": (6, 60_00)}) == []


def test_an_opening_takes_what_waits_for_it_with_one_statement_each_however_many() -> None:
    circle()
    tick(NOON)
    take_many = [
        obligation(reference=f"r{number}", not_before="2026-03-10T18:00:00Z") for number in range(500)
    ]
    submit(take_many, region=Region.GLOBAL, submitter="@operator", at=NOON, all_or_nothing=True)

    entered = tick(NOON + 6 * HOUR)

    assert entered.obligations.count() == 500
    assert not SetAside.objects.exists()
    assert [row.reference for row in entered.obligations.order_by("id")] == [
        item.reference for item in take_many
    ]
