"""What an operator may enter: participants, currencies, floors, schedules, tokens."""

import re
from datetime import time
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from clearing.access import digest
from clearing.models import ApiToken, RegionSchedule
from settlement import accounts
from settlement.models import Currency, Participant, SettlementAccount
from tests import factories
from tests.clearing.admin.conftest import client, staff


def post(browser: Client, page: str, /, *args: Any, **fields: Any) -> Any:
    """Fill in a page and save it."""
    return browser.post(reverse(f"admin:{page}", args=args), fields)


def errors(answer: Any) -> str:
    """What the page finds wrong."""
    assert answer.status_code == 200, answer.status_code
    return str(answer.context["adminform"].form.errors)


def test_a_participant_is_registered_and_renamed_but_its_code_stays(superuser: Client) -> None:
    made = post(superuser, "settlement_participant_add", code="NEWBBE20", name="New Bank", country="BE")
    bank = Participant.objects.get(code="NEWBBE20")
    post(superuser, "settlement_participant_change", bank.pk, code="OTHER", name="Newer Bank", country="NL")

    assert made.status_code == 302
    bank.refresh_from_db()
    assert (bank.code, bank.name, bank.country, bank.kind) == ("NEWBBE20", "Newer Bank", "NL", "Member")


@pytest.mark.parametrize("code", ["x", "lower", "A B", "-AB", "A" * 17, ""])
def test_a_malformed_code_is_refused(superuser: Client, code: str) -> None:
    answer = post(superuser, "settlement_participant_add", code=code, name="New Bank", country="BE")

    assert "code" in errors(answer)


def test_participants_are_suspended_and_reinstated_by_actions(superuser: Client) -> None:
    bank, agent = factories.participant(), Participant.objects.get(code="AGENT")
    chosen = {"_selected_action": [bank.pk, agent.pk]}

    superuser.post(reverse("admin:settlement_participant_changelist"), {"action": "suspend", **chosen})
    bank.refresh_from_db()
    suspended = bank.status
    superuser.post(reverse("admin:settlement_participant_changelist"), {"action": "reinstate", **chosen})
    again = superuser.post(
        reverse("admin:settlement_participant_changelist"), {"action": "reinstate", **chosen}, follow=True
    )

    bank.refresh_from_db()
    agent.refresh_from_db()
    assert (suspended, bank.status, agent.status) == ("Suspended", "Active", "Active")
    assert "(illegal_move)" in again.content.decode()
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == [
        "Suspended.",
        "Reinstated.",
    ]


def test_a_viewer_cannot_suspend(db: None) -> None:
    bank = factories.participant()
    viewer = client(staff("victor", "view_participant"))

    viewer.post(
        reverse("admin:settlement_participant_changelist"),
        {"action": "suspend", "_selected_action": [bank.pk]},
    )

    bank.refresh_from_db()
    assert bank.status == "Active"


def test_a_new_currency_gets_its_exponent_from_iso_4217(superuser: Client) -> None:
    post(superuser, "settlement_currency_add", code="TND", id=788, is_enabled="on")

    tnd = Currency.objects.get(code="TND")
    assert (tnd.pk, tnd.exponent, tnd.is_enabled) == (788, 3, True)


@pytest.mark.parametrize("code", ["ABC", "XAU", "US", ""])
def test_a_currency_outside_iso_4217_is_refused(superuser: Client, code: str) -> None:
    answer = post(superuser, "settlement_currency_add", code=code, id=999, is_enabled="on")

    assert "code" in errors(answer)


def test_of_a_currency_only_its_use_is_changed(superuser: Client) -> None:
    usd = Currency.objects.get(code="USD")

    post(superuser, "settlement_currency_change", usd.pk, code="ABC", id=1, exponent=4)

    usd.refresh_from_db()
    assert (usd.pk, usd.code, usd.exponent, usd.is_enabled) == (840, "USD", 2, False)


def account_page(superuser: Client, **fields: str) -> Any:
    """Save the floor of an account that holds 100.00 USD."""
    factories.funded(USD=100_00)
    return post(
        superuser,
        "settlement_settlementaccount_change",
        SettlementAccount.objects.get(participant__code="BANK-A").pk,
        **fields,
    )


@pytest.mark.parametrize(
    ("floor", "minor"), [("50", 50_00), ("100.00", 100_00), ("-250.5", -250_50), ("0", 0), ("", None)]
)
def test_a_floor_is_entered_in_major_units(superuser: Client, floor: str, minor: int | None) -> None:
    answer = account_page(superuser, floor=floor)

    assert answer.status_code == 302
    account = SettlementAccount.objects.get(participant__code="BANK-A")
    assert (account.floor_minor, account.balance_minor) == (minor, 100_00)


@pytest.mark.parametrize("floor", ["100.01", "1.234", "x", "--1", "1e3"])
def test_a_floor_that_cannot_hold_is_refused(superuser: Client, floor: str) -> None:
    answer = account_page(superuser, floor=floor)

    assert "floor" in errors(answer)
    assert SettlementAccount.objects.get(participant__code="BANK-A").floor_minor == 0


def test_money_that_arrives_while_the_page_is_open_is_not_lost(superuser: Client) -> None:
    factories.funded(USD=100_00)
    account = SettlementAccount.objects.get(participant__code="BANK-A")
    superuser.get(reverse("admin:settlement_settlementaccount_change", args=[account.pk]))
    accounts.fund("BANK-A", "USD", amount_minor=5_00, reference="late", at=factories.AT)

    post(superuser, "settlement_settlementaccount_change", account.pk, floor="105")

    account.refresh_from_db()
    assert (account.balance_minor, account.floor_minor) == (105_00, 105_00)


def test_an_account_is_opened_empty(superuser: Client) -> None:
    bank, usd = factories.participant(), Currency.objects.get(code="USD")

    above = post(
        superuser, "settlement_settlementaccount_add", participant=bank.pk, currency=usd.pk, floor="1"
    )
    post(superuser, "settlement_settlementaccount_add", participant=bank.pk, currency=usd.pk, floor="-10")

    assert "floor" in errors(above)
    account = SettlementAccount.objects.get(participant=bank)
    assert (account.balance_minor, account.floor_minor) == (0, -10_00)


SCHEDULE = {
    "time_zone": "Europe/Paris",
    "opening_times": "17:00,09:00",
    "closes_at": "",
    "when_closed": "span",
    "weekdays": "1,2,3,4,5",
    "transfers": "agent",
    "netting_mode": "",
}


def test_a_schedule_is_changed_and_put_in_order(superuser: Client) -> None:
    post(superuser, "clearing_regionschedule_change", "Europe", **SCHEDULE)

    schedule = RegionSchedule.objects.get(region="Europe")
    assert (schedule.time_zone, schedule.is_enabled) == ("Europe/Paris", False)
    assert schedule.opening_times == [time(9), time(17)]
    assert schedule.weekdays == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("time_zone", {"time_zone": "Mars/Base"}),
        ("opening_times", {"opening_times": "09:00,09:00"}),
        ("opening_times", {"opening_times": ""}),
        ("opening_times", {"opening_times": "25:00"}),
        ("weekdays", {"weekdays": "0,1"}),
        ("weekdays", {"weekdays": "1,8"}),
        ("weekdays", {"weekdays": "1,1"}),
        ("weekdays", {"weekdays": ""}),
        ("closes_at", {"closes_at": "12:00"}),
        ("closes_at", {"when_closed": "wait"}),
        ("when_closed", {"when_closed": "sometimes"}),
    ],
)
def test_a_schedule_that_no_day_can_follow_is_refused(
    superuser: Client, field: str, fields: dict[str, str]
) -> None:
    answer = post(superuser, "clearing_regionschedule_change", "Europe", **{**SCHEDULE, **fields})

    assert field in errors(answer)
    assert RegionSchedule.objects.get(region="Europe").time_zone == "Europe/Brussels"


def test_what_intake_waits_for_is_not_lost_to_an_open_page(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine writes to the row between the page's reading it and its saving it."""
    save, at = RegionSchedule.save, factories.AT

    def late(row: RegionSchedule, **options: Any) -> None:
        RegionSchedule.objects.filter(pk=row.pk).update(waits_until=at)
        save(row, **options)

    monkeypatch.setattr(RegionSchedule, "save", late)
    post(superuser, "clearing_regionschedule_change", "Europe", **SCHEDULE)

    schedule = RegionSchedule.objects.get(region="Europe")
    assert (schedule.time_zone, schedule.waits_until) == ("Europe/Paris", at)


def test_a_schedule_s_weights_need_conservative_netting(superuser: Client) -> None:
    fields = {**SCHEDULE, "weights": "age"}

    wrong = post(superuser, "clearing_regionschedule_change", "Europe", **fields)
    fields["netting_mode"] = "conservative"
    post(superuser, "clearing_regionschedule_change", "Europe", **fields)

    assert "weights" in errors(wrong)
    schedule = RegionSchedule.objects.get(region="Europe")
    assert (schedule.netting_mode, schedule.weights) == ("conservative", "age")


def test_a_token_is_shown_once_and_kept_as_a_digest(superuser: Client) -> None:
    user = User.objects.create_user("api")

    answer = post(superuser, "clearing_apitoken_add", user=user.pk, role="operator", participant="")

    found = re.search(r'class="secret">([\w-]{43})<', answer.content.decode())
    assert found is not None
    token = ApiToken.objects.get(user=user)
    assert token.digest == digest(found[1])
    assert "no-store" in answer["Cache-Control"]
    shown = superuser.get(reverse("admin:clearing_apitoken_change", args=[token.pk])).content.decode()
    assert found[1] not in shown
    assert token.digest not in shown


@pytest.mark.parametrize(("role", "with_participant"), [("participant", False), ("operator", True)])
def test_a_participants_token_names_it_and_no_other_does(
    superuser: Client, role: str, with_participant: bool
) -> None:
    bank = factories.participant()

    answer = post(
        superuser,
        "clearing_apitoken_add",
        user=User.objects.create_user("api").pk,
        role=role,
        participant=bank.pk if with_participant else "",
    )

    assert "participant_token_names_participant" in errors(answer)
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_once_by_those_who_may(superuser: Client) -> None:
    user = User.objects.create_user("api")
    token = ApiToken.objects.create(user=user, role="operator", digest=digest("secret"))
    revoke = {"action": "revoke", "_selected_action": [token.pk]}
    page = reverse("admin:clearing_apitoken_changelist")

    client(staff("victor", "view_apitoken")).post(page, revoke)
    not_by_a_viewer = ApiToken.objects.get().revoked_at
    superuser.post(page, revoke)
    once = ApiToken.objects.get().revoked_at
    superuser.post(page, revoke)

    assert not_by_a_viewer is None
    assert once is not None
    assert ApiToken.objects.get().revoked_at == once


def test_beats_actions_need_the_permission_to_change_its_entries(superuser: Client) -> None:
    entry = PeriodicTask.objects.get(task="clearing.tasks.tick")
    disable = {"action": "disable_tasks", "_selected_action": [entry.pk]}

    client(staff("victor", "view_periodictask")).post(
        reverse("admin:django_celery_beat_periodictask_changelist"), disable
    )
    entry.refresh_from_db()
    assert entry.enabled
    superuser.post(reverse("admin:django_celery_beat_periodictask_changelist"), disable)

    entry.refresh_from_db()
    assert not entry.enabled
