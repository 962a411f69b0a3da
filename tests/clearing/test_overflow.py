"""A window keeps the first it took in; the rest moves on, and nothing is dropped."""

from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clearing import operations, partitions, queries, windows
from clearing.models import ClearingWindow, FrozenSet, Obligation, ObligationKey, RollOn, SetAside
from clearing.states import Region, WindowStatus
from netting.money import AMOUNT_MAX
from tests.chaos import invariants
from tests.database import refused, sql, together
from tests.factories import AT, BY_HAND, A, B, C, circle, obligation, running, settled, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)
NAMES = ("a", "b", "c", "d", "e")


def send(*references: str, region: Region = BY_HAND) -> None:
    for reference in references:
        take(obligation(reference=reference), region=region)


def held(by: ClearingWindow) -> list[str]:
    return list(Obligation.objects.filter(window=by).order_by("id").values_list("reference", flat=True))


def test_the_first_stay_in_order_of_intake_and_the_rest_moves_on_with_its_keys() -> None:
    circle()
    full = window(Region.GLOBAL, max_obligations=2)
    send(*NAMES, region=Region.GLOBAL)

    windows.close(full, at=AT)

    following = windows.accepting(Region.GLOBAL)
    assert (held(full), held(following)) == (["a", "b"], ["c", "d", "e"])
    assert {(row.origin_window_id, row.arrival) for row in Obligation.objects.filter(window=following)} == {
        (full.pk, "overflow")
    }
    rolled = RollOn.objects.get()
    assert (rolled.source_id, rolled.target_id, rolled.kind, rolled.obligations_count) == (
        full.pk,
        following.pk,
        "overflow",
        3,
    )
    event = full.events.get(event_type="Overflowed")
    assert event.data == {
        "reason": "more than 2 obligations, or than 64 bits add up to",
        "rolled_on_to_window_id": following.pk,
        "obligations_count": 3,
    }
    assert invariants.broken({"USD": (5, 50_00)}) == []


def test_what_is_too_much_for_the_next_window_moves_on_at_its_close_before_what_came_later() -> None:
    circle()
    first = window(Region.GLOBAL, max_obligations=2)
    send(*NAMES, region=Region.GLOBAL)
    windows.close(first, at=AT)
    second = windows.accepting(Region.GLOBAL)
    send("f", region=Region.GLOBAL)
    ClearingWindow.objects.filter(pk=second.pk).update(max_obligations=2)

    windows.close(second, at=AT + timedelta(hours=7))

    third = windows.accepting(Region.GLOBAL)
    assert [held(each) for each in (first, second, third)] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert dict(Obligation.objects.filter(window=third).values_list("reference", "origin_window_id")) == {
        "e": first.pk,
        "f": second.pk,
    }
    assert invariants.broken({"USD": (6, 60_00)}) == []


def test_with_no_window_open_the_rest_waits_and_enters_the_next_one() -> None:
    circle()
    full = window(max_obligations=2)
    send(*NAMES)
    shut = windows.close(full, at=AT)
    waiting = list(SetAside.objects.order_by("id").values_list("reference", "status", "reason"))

    following = window()

    assert waiting == [(name, "Parked", "overflow") for name in ("c", "d", "e")]
    assert (held(shut), held(following), SetAside.objects.count()) == (["a", "b"], ["c", "d", "e"], 0)
    assert {row.origin_window_id for row in following.obligations.all()} == {full.pk}
    assert invariants.broken({"USD": (5, 50_00)}) == []


def test_what_waits_is_found_by_its_id_and_a_retry_is_a_duplicate_of_it() -> None:
    circle()
    full = window(max_obligations=1)
    sent = obligation(reference="b")
    send("a")
    key = take(sent).outcomes[0].id
    windows.close(full, at=AT)
    window(Region.ASIA_PACIFIC)
    assert key is not None

    found = queries.obligation(key)
    again = take(sent, region=Region.ASIA_PACIFIC)

    assert (type(found), found.reference) == (SetAside, "b")
    assert [(each.status, each.id, each.window_id) for each in again.outcomes] == [("duplicate", key, None)]
    assert Obligation.objects.count() == 1


def test_a_window_with_room_moves_nothing_and_is_read_once() -> None:
    circle()
    roomy = window(Region.GLOBAL, max_obligations=100)
    send(*NAMES, region=Region.GLOBAL)

    with CaptureQueriesContext(connection) as asked:
        first = partitions.first_surplus(roomy.pk, kept_max=100)

    assert (first, len(asked)) == (None, 1)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_window_just_full_keeps_all(spare: int) -> None:
    circle()
    full = window(max_obligations=len(NAMES) + spare)
    send(*NAMES)

    windows.close(full, at=AT)

    assert held(full) == list(NAMES)
    assert not RollOn.objects.exists()


def test_a_window_keeps_no_more_than_64_bits_add_up_to_in_each_currency() -> None:
    circle()
    opened = window(Region.GLOBAL)
    for item in (
        obligation(A, B, AMOUNT_MAX - 5, reference="a"),
        obligation(A, B, AMOUNT_MAX, "JPY", reference="b"),
        obligation(B, A, 5, reference="c"),
        obligation(B, A, 1, reference="d"),
        obligation(A, C, 7, "EUR", reference="e"),
    ):
        take(item, region=Region.GLOBAL)

    windows.close(opened, at=AT)

    following = windows.accepting(Region.GLOBAL)
    assert (held(opened), held(following)) == (["a", "b", "c"], ["d", "e"])
    run = running(windows.get(opened.pk), applied=2)
    frozen = FrozenSet.objects.filter(operation=run).values_list("gross_minor", flat=True)
    assert list(frozen) == [AMOUNT_MAX, AMOUNT_MAX]


def test_a_full_window_clears_what_it_kept_and_can_still_be_given_up() -> None:
    circle()
    full = window(Region.GLOBAL, max_obligations=2)
    send(*NAMES, region=Region.GLOBAL)
    shut = windows.close(full, at=AT)
    operations.roll_back(running(shut, applied=4).pk, at=AT, reason="test")

    windows.give_up(windows.get(shut.pk), at=AT, reason="hopeless")

    following = windows.accepting(Region.GLOBAL)
    assert held(following) == list(NAMES)
    assert dict(following.obligations.values_list("reference", "arrival")) == {
        **dict.fromkeys(("a", "b"), "given_up"),
        **dict.fromkeys(("c", "d", "e"), "overflow"),
    }
    settled(windows.close(following, at=AT + timedelta(hours=7)))
    assert invariants.broken({"USD": (5, 50_00)}) == []


def test_postgresql_lets_no_obligation_leave_for_nowhere() -> None:
    circle()
    opened = window()
    send("a", "b")
    (row, other) = Obligation.objects.order_by("id")

    for statement in (
        f"DELETE FROM clearing_obligation WHERE id = {row.pk}",
        f"UPDATE clearing_obligationkey SET window_id = NULL WHERE key = '{row.key}';"
        f"DELETE FROM clearing_obligation WHERE id = {row.pk}",
    ):
        with refused("obligation_is_kept"):
            sql(statement)
    windows.close(opened, at=AT)
    with refused("obligation_is_kept"):
        sql(
            f"UPDATE clearing_obligationkey SET window_id = 0 WHERE key = '{other.key}';"
            f"DELETE FROM clearing_obligation WHERE id = {other.pk}"
        )


def test_postgresql_keeps_what_is_set_aside_as_it_is() -> None:
    circle()
    full = window(max_obligations=1)
    send("a", "b")
    windows.close(full, at=AT)

    with refused("obligation_is_kept"):
        sql("DELETE FROM clearing_setaside")
    with refused("append_only"):
        sql("UPDATE clearing_setaside SET amount_minor = 1")
    sql("UPDATE clearing_setaside SET status = 'Cancelled'")
    with refused("append_only"):
        sql("UPDATE clearing_setaside SET reason = 'another'")


@concurrent
def test_intake_into_the_next_window_and_an_overflow_into_it_do_not_disturb_each_other() -> None:
    circle()
    full = window(Region.GLOBAL, max_obligations=2)
    send(*NAMES, region=Region.GLOBAL)
    windows.begin_close(full, at=AT)
    retried = [obligation(reference=name) for name in NAMES]

    outcomes = together(
        partial(windows.finish_close, full, at=AT),
        *[
            partial(take, *retried, obligation(reference=f"new-{turn}"), region=Region.GLOBAL)
            for turn in range(6)
        ],
    )

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert windows.get(full.pk).status == WindowStatus.CLOSED
    assert ObligationKey.objects.count() == 11
    assert invariants.broken({"USD": (11, 110_00)}) == []
