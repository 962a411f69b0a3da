"""Nobody owes more net in a window than its limits allow, however many send at once."""

from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clearing import windows
from clearing.models import Limit, LimitChange, Obligation
from clearing.obligations import Intake, ObligationsRejected, acts
from settlement import participants
from tests.clearing.admin.conftest import client, staff
from tests.clearing.api.caller import Caller
from tests.clearing.api.conftest import operator  # noqa: F401 - a fixture
from tests.database import refused, sql, together
from tests.factories import AT, A, B, C, circle, obligation, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def limit(amount_minor: int, *, of: str = A, to: str | None = None, currency: str = "USD") -> Limit:
    return Limit.objects.create(
        participant=participants.get(of),
        counterparty=participants.get(to) if to else None,
        currency=participants.currency(currency),
        amount_minor=amount_minor,
    )


def owes(amount_minor: int, payer: str = A, payee: str = B, **fields: Any) -> Any:
    return obligation(payer, payee, amount_minor, **fields)


def answers(intake: Intake) -> list[str]:
    return [outcome.code or outcome.status.value for outcome in intake.outcomes]


def test_a_net_debit_cap_holds_to_the_minor_unit_and_says_who_how_much_and_what_is_allowed() -> None:
    circle()
    window()
    limit(100)

    intake = take(owes(60), owes(40, A, C), owes(1), all_or_nothing=False)

    assert answers(intake) == ["accepted", "accepted", "limit_exceeded"]
    assert intake.outcomes[2].details == {
        "participant": A,
        "counterparty": None,
        "currency": "USD",
        "amount": "1.01",
        "limit": "1.00",
    }
    with pytest.raises(ObligationsRejected) as refusal:
        take(owes(1), owes(1, B, C))
    assert refusal.value.public_code == "limit_exceeded"
    assert Obligation.objects.count() == 2


def test_a_bilateral_limit_counts_its_pair_alone_and_what_comes_back() -> None:
    circle()
    window()
    limit(100, to=B)

    first = take(owes(100), owes(5000, A, C), owes(1), owes(30, B, A), owes(30), all_or_nothing=False)
    second = take(owes(1), all_or_nothing=False)

    assert answers(first) == ["accepted", "accepted", "limit_exceeded", "accepted", "accepted"]
    assert answers(second) == ["limit_exceeded"]
    assert second.outcomes[0].details == {
        "participant": A,
        "counterparty": B,
        "currency": "USD",
        "amount": "1.01",
        "limit": "1.00",
    }


def test_other_currencies_payers_and_windows_are_not_concerned() -> None:
    circle()
    opened = window()
    limit(100)

    assert answers(take(owes(100), owes(101, currency="EUR"), owes(500, B, A))) == ["accepted"] * 3
    assert answers(take(owes(501), all_or_nothing=False)) == ["limit_exceeded"]
    windows.close(opened, at=AT)
    window()
    assert answers(take(owes(100))) == ["accepted"]


def test_a_repetition_is_no_second_debt_and_one_over_the_limit_no_first() -> None:
    circle()
    window()
    limit(100)
    known, over = owes(100, reference="known"), owes(1, reference="over")
    take(known)

    again = take(known, over, known, over, all_or_nothing=False)

    assert answers(again) == ["duplicate", "limit_exceeded", "duplicate", "limit_exceeded"]


def test_what_is_cancelled_or_held_makes_room_and_what_is_released_takes_it() -> None:
    circle()
    window()
    limit(100)
    by = acts.Actor("olivia")
    cancelled, held = (outcome.id for outcome in take(owes(50), owes(50)).outcomes)
    assert cancelled is not None
    assert held is not None

    acts.cancel(cancelled, by=by, reason="test", at=AT)
    acts.hold(held, by=by, reason="test", at=AT)
    assert answers(take(owes(100))) == ["accepted"]
    acts.release(held, by=by, reason="test", at=AT)

    (refusal,) = take(owes(1), all_or_nothing=False).outcomes
    assert (refusal.code, (refusal.details or {})["amount"]) == ("limit_exceeded", "1.51")


def test_a_limit_counts_what_the_window_holds_already_and_an_inactive_one_nothing() -> None:
    circle()
    window()
    take(owes(90))
    cap = limit(100)

    assert answers(take(owes(11), all_or_nothing=False)) == ["limit_exceeded"]
    Limit.objects.filter(pk=cap.pk).update(amount_minor=101)
    assert answers(take(owes(11))) == ["accepted"]
    Limit.objects.filter(pk=cap.pk).update(is_active=False)
    assert answers(take(owes(1000))) == ["accepted"]


def test_what_waits_for_a_later_window_is_counted_there() -> None:
    circle()
    window()
    limit(100)

    intake = take(owes(5000, not_before="2027-01-01"), owes(100))

    assert answers(intake) == ["parked", "accepted"]


def test_who_has_no_limit_pays_one_query_that_finds_nothing() -> None:
    circle()
    window()

    with CaptureQueriesContext(connection) as asked:
        take(owes(100))

    assert sum("limit" in each["sql"].lower() and "clearing_limit" in each["sql"] for each in asked) == 1
    assert not any("FOR UPDATE" in each["sql"] and "clearing_limit" in each["sql"] for each in asked)


def test_every_setting_of_a_limit_stays_on_record() -> None:
    circle()
    cap = limit(100)

    Limit.objects.filter(pk=cap.pk).update(amount_minor=200)
    Limit.objects.filter(pk=cap.pk).update(is_active=False)

    settings = LimitChange.objects.order_by("id").values_list("amount_minor", "is_active")
    assert list(settings) == [(100, True), (200, True), (200, False)]
    with refused("append_only"):
        sql("DELETE FROM clearing_limit")
    with refused("append_only"):
        sql("UPDATE clearing_limit SET participant_id = %s", participants.get(B).pk)
    with refused("append_only"):
        sql("UPDATE clearing_limitchange SET amount_minor = 1")
    with refused("one_limit"):
        limit(1)


def test_an_operator_sets_a_limit_in_the_admin_and_participants_see_theirs(operator: Caller) -> None:  # noqa: F811
    circle()
    browser: Client = client(staff("olivia", "view_limit", "add_limit", "change_limit"))
    currency = participants.currency("USD")
    entered = {"participant": participants.get(A).pk, "counterparty": "", "currency": currency.pk}

    browser.post(reverse("admin:clearing_limit_add"), {**entered, "limit": "12.34", "is_active": "on"})
    browser.post(reverse("admin:clearing_limit_add"), {**entered, "limit": "1.234", "is_active": "on"})
    cap = Limit.objects.get()
    browser.post(reverse("admin:clearing_limit_change", args=[cap.pk]), {"limit": "20", "is_active": "on"})

    cap.refresh_from_db()
    assert cap.amount_minor == 20_00
    assert operator.get(f"participants/{A}").json()["limits"] == [
        {"counterparty": None, "currency": "USD", "limit": "20.00"}
    ]
    assert operator.get(f"participants/{B}").json()["limits"] == []


@concurrent
@pytest.mark.parametrize("to", [None, B])
def test_calls_at_once_do_not_slip_under_a_limit_together(to: str | None) -> None:
    circle()
    window()
    limit(100, to=to)

    outcomes = together(*[partial(take, owes(30), owes(1, B, C), all_or_nothing=False) for _ in range(10)])

    intakes = [outcome for outcome in outcomes if isinstance(outcome, Intake)]
    assert len(intakes) == 10, outcomes
    assert sorted(code for intake in intakes for code in answers(intake)) == (
        ["accepted"] * 13 + ["limit_exceeded"] * 7
    )
    assert sql("SELECT sum(amount_minor) FROM clearing_obligation WHERE amount_minor = 30") == [(90,)]
