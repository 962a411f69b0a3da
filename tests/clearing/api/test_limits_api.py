"""The limits of a participant over REST: read by tag, replaced as one, and only where they were seen."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import override_settings
from django.urls import reverse

from clearing.models import Limit, LimitChange
from clearing.obligations import set_limits
from clearing.obligations.set_limits import LimitsChanged, Setter, Wanted
from settlement import participants
from tests.clearing.admin.conftest import client, staff
from tests.clearing.api.caller import Caller, is_problem
from tests.database import PATIENCE_SECONDS, backend, sql, together, wait_until_blocked
from tests.factories import A, B, C, circle, obligation, participant, take, window

pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True, serialized_rollback=True)

LIMITS = f"participants/{A}/limits"
CAP = {"counterparty": None, "currency": "USD", "limit": "10.00"}
TO_B = {"counterparty": B, "currency": "JPY", "limit": "500"}


@pytest.fixture
def tag(operator: Caller) -> str:
    """Three participants without limits; the tag of that."""
    circle()
    etag: str = operator.get(LIMITS).headers["ETag"]
    return etag


def body(*limits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"limits": list(limits), **more}


def test_limits_are_replaced_as_one_and_those_left_out_hold_no_more(operator: Caller, tag: str) -> None:
    first = operator.put(LIMITS, body(CAP, TO_B), if_match=tag)
    raised = {**CAP, "limit": "20.00"}
    second = operator.put(LIMITS, body(raised), if_match=first.headers["ETag"])

    assert (first.status_code, first.json()) == (200, body(TO_B, CAP))
    assert second.json() == operator.get(LIMITS).json() == body(raised)
    assert operator.get(f"participants/{A}").json()["limits"] == [raised]
    standing = Limit.objects.order_by("currency__code").values_list("amount_minor", "is_active")
    assert list(standing) == [(500, False), (20_00, True)]
    assert LimitChange.objects.count() == 4

    again = operator.put(LIMITS, operator.get(LIMITS).json(), if_match=second.headers["ETag"])
    back = operator.put(LIMITS, body(TO_B), if_match=again.headers["ETag"])

    assert again.headers["ETag"] == second.headers["ETag"]
    assert back.json() == body(TO_B)
    assert (Limit.objects.count(), LimitChange.objects.count()) == (2, 6)


def test_what_is_set_holds_at_intake(operator: Caller, tag: str) -> None:
    window()
    operator.put(LIMITS, body(CAP), if_match=tag)

    outcomes = take(obligation(A, B, 10_00), obligation(A, C, 1), all_or_nothing=False).outcomes

    assert [outcome.code for outcome in outcomes] == ["", "limit_exceeded"]


def test_a_change_of_what_was_not_seen_is_refused_and_changes_nothing(operator: Caller, tag: str) -> None:
    current = operator.put(LIMITS, body(CAP), if_match=tag).headers["ETag"]

    for stale in (tag, f"W/{current}", current.strip('"'), '"nonsense"', ""):
        refused = operator.put(LIMITS, body(TO_B), if_match=stale)
        assert is_problem(refused, 412, "limits_changed")["participant"] == A
    is_problem(operator.put(LIMITS, body(TO_B)), 428, "precondition_required")

    assert operator.get(LIMITS).json() == body(CAP)
    assert LimitChange.objects.count() == 1
    assert operator.put(LIMITS, body(TO_B), if_match=f"{tag}, {current}").json() == body(TO_B)
    assert operator.put(LIMITS, body(), if_match="*").json() == body()


def test_the_tag_of_a_participant_is_good_for_a_change_of_its_limits(operator: Caller, tag: str) -> None:
    shown = operator.get(f"participants/{A}").headers["ETag"]

    assert operator.put(LIMITS, body(CAP), if_match=shown).status_code == 200
    is_problem(operator.put(LIMITS, body(TO_B), if_match=shown), 412, "limits_changed")


def test_what_has_not_changed_is_not_sent_again(operator: Caller, tag: str) -> None:
    for path in (LIMITS, f"participants/{A}"):
        first = operator.get(path)
        etag = first.headers["ETag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            unchanged = operator.get_unless(path, known)
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["ETag"] == etag
            assert "Content-Type" not in unchanged.headers

        operator.put(LIMITS, body({**CAP, "limit": f"{len(path)}.00"}), if_match="*")
        changed = operator.get_unless(path, etag)

        assert (changed.status_code, changed.headers["ETag"] != etag) == (200, True)


def test_the_tag_of_a_participant_is_of_its_accounts_too(operator: Caller, tag: str) -> None:
    etag = operator.get(f"participants/{A}").headers["ETag"]
    sql("UPDATE settlement_settlementaccount SET floor_minor = -1 WHERE floor_minor = 0")

    shown = operator.get_unless(f"participants/{A}", etag)

    assert shown.status_code == 200
    assert shown.headers["ETag"] != etag


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({**CAP, "counterparty": "NOBODY"}, "no participant has the code NOBODY"),
        ({**CAP, "counterparty": "AGENT"}, "no participant has the code AGENT"),
        ({**CAP, "counterparty": A}, "towards itself"),
        ({**CAP, "currency": "XXX"}, "currency XXX is not cleared here"),
        ({**CAP, "limit": "1.234"}, "decimals"),
        ({**CAP, "limit": "-1.00"}, "-1.00"),
        ({**CAP, "limit": "1" * 40}, ""),
        (TO_B, "another one"),
    ],
)
def test_a_limit_that_cannot_be_is_named_by_its_place(
    operator: Caller, tag: str, limit: dict[str, Any], reason: str
) -> None:
    refused = operator.put(LIMITS, body(TO_B, limit), if_match=tag)

    problem = is_problem(refused, 422, "limit_invalid")
    assert problem["index"] == 1
    assert reason in problem["reason"]
    assert not Limit.objects.exists()


def test_only_members_have_limits_and_a_body_of_another_shape_is_none(operator: Caller, tag: str) -> None:
    is_problem(operator.put("participants/AGENT/limits", body(), if_match="*"), 404, "unknown_participant")
    is_problem(operator.put(LIMITS, body({**CAP, "limit": 10}), if_match=tag), 422, "body_invalid")
    is_problem(operator.put(LIMITS, {**body(), "limit": []}, if_match=tag), 422, "body_invalid")
    is_problem(operator.put(LIMITS, body(*[CAP] * 1001), if_match=tag), 422, "body_invalid")
    is_problem(operator.put(LIMITS, body(reason="x" * 501), if_match=tag), 422, "reason_invalid")


def test_a_participant_reads_its_own_limits_and_sets_none(
    operator: Caller, tag: str, as_participant: Callable[[str], Caller]
) -> None:
    operator.put(LIMITS, body(CAP), if_match=tag)
    bank_a, bank_b = as_participant(A), as_participant(B)

    assert bank_a.get(LIMITS).json() == body(CAP)
    is_problem(bank_b.get(LIMITS), 404, "unknown_participant")
    is_problem(bank_a.put(LIMITS, body(), if_match="*"), 403, "permission_denied")


def test_who_changed_what_and_why_is_in_the_limits_history(operator: Caller, tag: str) -> None:
    operator.put(LIMITS, body(CAP, TO_B), if_match=tag, x_request_id="r-1")
    operator.put(LIMITS, body({**CAP, "limit": "5.00"}, reason="rating cut"), if_match="*")

    told = LogEntry.objects.order_by("id").values_list("user__username", "object_repr", "change_message")
    assert list(told) == [
        ("operator", f"limit of {A} in USD", "Set to 10.00 USD."),
        ("operator", f"limit of {A} to {B} in JPY", "Set to 500 JPY."),
        ("operator", f"limit of {A} in USD", "Set to 5.00 USD; it was 10.00 USD. Reason: rating cut"),
        ("operator", f"limit of {A} to {B} in JPY", "Made inactive; it was 500 JPY. Reason: rating cut"),
    ]
    history = reverse(
        "admin:clearing_limit_history", args=[Limit.objects.get(amount_minor=5_00, is_active=True).pk]
    )
    page = client(User.objects.create_superuser("root")).get(history)
    assert b"it was 10.00 USD. Reason: rating cut" in page.content


def test_a_change_counts_among_the_tokens_changes(operator: Caller, tag: str) -> None:
    with override_settings(CLEARING={**settings.CLEARING, "POSTS_PER_MINUTE": 1}):
        answers = [operator.put(LIMITS, body(), if_match=tag).status_code for _ in range(3)]

    assert answers.count(429) >= 1  # two minutes of the clock at most
    assert answers[0] == 200


def test_the_admin_refuses_a_limit_that_was_set_since_it_was_shown(operator: Caller, tag: str) -> None:
    operator.put(LIMITS, body(CAP), if_match=tag)
    cap = Limit.objects.get()
    page = reverse("admin:clearing_limit_change", args=[cap.pk])
    browser = client(staff("olivia", "view_limit", "change_limit"))
    form = browser.get(page).context["adminform"].form
    entered = {"limit": "30", "is_active": "on", "shown": form.initial["shown"]}
    operator.put(LIMITS, body({**CAP, "limit": "20.00"}), if_match="*")

    stale = browser.post(page, entered)

    assert b"Somebody has set this limit since it was shown" in stale.content
    assert operator.get(LIMITS).json() == body({**CAP, "limit": "20.00"})
    fresh = browser.get(page).context["adminform"].form.initial["shown"]
    assert browser.post(page, {**entered, "shown": fresh}).status_code == 302
    assert operator.get(LIMITS).json() == body({**CAP, "limit": "30.00"})


def test_who_may_only_look_sees_the_limit_in_the_admin(operator: Caller, tag: str) -> None:
    operator.put(LIMITS, body(CAP), if_match=tag)

    page = client(staff("vera", "view_limit")).get(
        reverse("admin:clearing_limit_change", args=[Limit.objects.get().pk])
    )

    assert (page.status_code, b"10.00" in page.content) == (200, True)


def replace(*wanted: Wanted, seen: str) -> list[Limit]:
    by = Setter(User.objects.get_or_create(username="olivia")[0].pk, "")
    return set_limits.replace(participants.get(A), wanted, seen={seen}, by=by)


@committing
def test_of_writers_at_once_that_saw_the_same_one_wins_and_the_others_know() -> None:
    for code in (A, B):
        participant(code)
    User.objects.create(username="olivia")
    seen = set_limits.tag([])

    wanted = [Wanted(to, code, "1") for to in (None, B) for code in ("USD", "EUR", "JPY")]  # no two the same

    outcomes = together(*[partial(replace, each, seen=seen) for each in wanted])

    won = [outcome for outcome in outcomes if isinstance(outcome, list)]
    assert len(won) == 1, outcomes
    assert sum(isinstance(outcome, LimitsChanged) for outcome in outcomes) == 5, outcomes
    assert set_limits.active(participants.get(A)) == won[0]


@committing
def test_a_writer_waits_for_who_holds_the_limits_and_then_sees_what_was_set() -> None:
    participant(A)
    User.objects.create(username="olivia")
    seen = set_limits.tag([])
    _, outcome = _while_another_waits(
        lambda: set_limits.hold(participants.get(A).pk),
        partial(replace, Wanted(None, "JPY", "1"), seen=seen),
    )

    assert isinstance(outcome, LimitsChanged)


@committing
def test_a_limit_set_past_everyone_is_met_at_the_constraint() -> None:
    participant(A)
    User.objects.create(username="olivia")
    _, outcome = _while_another_waits(
        lambda: None, partial(replace, Wanted(None, "USD", "1.00"), seen=set_limits.tag([]))
    )

    assert isinstance(outcome, LimitsChanged)
    assert [row.amount_minor for row in Limit.objects.all()] == [7_00]


def _while_another_waits(first: Callable[[], object], second: Callable[[], object]) -> tuple[object, object]:
    """Do *first* and set a limit in a transaction that stays open until *second* waits for it."""
    known, its_backend = threading.Event(), [0]

    def wait_behind() -> object:
        try:
            its_backend[0] = backend()
            known.set()
            return second()
        except LimitsChanged as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            done = first()
            currency = participants.currency("USD")
            Limit.objects.create(participant=participants.get(A), currency=currency, amount_minor=7_00)
            waiting = pool.submit(wait_behind)
            assert known.wait(PATIENCE_SECONDS)
            wait_until_blocked(its_backend[0])
        return done, waiting.result(PATIENCE_SECONDS)
