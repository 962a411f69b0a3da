"""Cancel, hold and release in the admin: asked for with a reason, done by the engine's verbs, logged."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from clearing.models import ClearingWindow, Obligation, ObligationAct, SetAside
from tests import factories
from tests.clearing.admin.conftest import client, staff

IN_WINDOWS, APART = "admin:clearing_obligation_changelist", "admin:clearing_setaside_changelist"
pytestmark = pytest.mark.django_db


@pytest.fixture
def window(db: None) -> ClearingWindow:
    """An open window with two obligations."""
    factories.circle()
    opened = factories.window()
    factories.take(factories.obligation(reference="a"), factories.obligation(reference="b"))
    return opened


def ask(browser: Client, page: str, action: str, rows: list[Any], **fields: str) -> Any:
    """Choose rows in a list and start the action, as the page's form posts it."""
    address = reverse(page)
    if page == IN_WINDOWS:
        address += f"?window={rows[0].window_id}"
    chosen = [str(row.pk) for row in rows]
    return browser.post(address, {"action": action, "_selected_action": chosen, **fields}, follow=True)


def test_an_operator_holds_releases_and_cancels_for_a_reason(window: ClearingWindow) -> None:
    browser = client(staff("olivia", "view_obligation", "change_obligation", "view_setaside"))
    one, other = Obligation.objects.order_by("id")

    asked = ask(browser, IN_WINDOWS, "hold", [one, other])
    assert 'name="reason"' in asked.content.decode()
    assert not SetAside.objects.exists()
    ask(browser, IN_WINDOWS, "hold", [one, other], reason="disputed")
    held = list(SetAside.objects.order_by("id"))
    ask(browser, APART, "release", held[:1], reason="agreed")
    answer = ask(browser, APART, "cancel", held[1:], reason="void")

    assert [str(message) for message in answer.context["messages"]] == ["Cancel: done for 1 obligation(s)."]
    assert [row.reference for row in Obligation.objects.all()] == ["a"]
    assert [(row.reference, row.status, row.by) for row in SetAside.objects.all()] == [
        ("b", "Cancelled", "olivia")
    ]
    assert [row.act for row in ObligationAct.objects.all()] == ["Held", "Held", "Released", "Cancelled"]
    assert LogEntry.objects.filter(change_message="Cancel b. Reason: void").count() == 1


def test_a_refusal_is_shown_with_its_code(window: ClearingWindow) -> None:
    browser = client(staff("olivia", "view_obligation", "change_obligation"))
    ClearingWindow.objects.filter(pk=window.pk).update(status="Closing")

    answer = ask(browser, IN_WINDOWS, "cancel", list(Obligation.objects.all()[:1]), reason="late")

    assert "(cutoff_passed)" in str(next(iter(answer.context["messages"])))
    assert Obligation.objects.count() == 2


def test_who_may_only_look_may_not_act(window: ClearingWindow) -> None:
    browser = client(staff("victor", "view_obligation", "view_setaside"))

    answer = ask(browser, IN_WINDOWS, "cancel", list(Obligation.objects.all()), reason="why not")

    assert answer.status_code in (200, 403)
    assert Obligation.objects.count() == 2
    assert not SetAside.objects.exists()
