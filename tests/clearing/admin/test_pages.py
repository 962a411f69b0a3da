"""Every list and detail page renders, in a number of queries that does not follow the number of rows."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from clearing import windows
from clearing.models import ApiToken, IdempotencyRecord, Obligation, ObligationKey
from tests import factories

QUERIES_MAX = 16  # session, user, list, filters, menu; a page of 50 rows with one query each is far above
APPS = ("settlement", "clearing", "django_celery_beat", "auth", "admin")
MODELS = [
    model for app in APPS for model in apps.get_app_config(app).get_models() if model in admin.site._registry
]


def url(model: type[Model], page: str, *args: Any) -> str:
    """The address of a page of the model."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_pages_render_within_a_bounded_number_of_queries(superuser: Client, scene: Any) -> None:
    fill_the_rest(scene)

    for model in MODELS:
        expect(superuser, url(model, "changelist"), queries_max=QUERIES_MAX)
        for row in model._default_manager.order_by("pk")[:2]:
            key = f"{row.window_id}-{row.pk}" if isinstance(row, Obligation) else row.pk
            expect(superuser, url(model, "change", key), queries_max=2 * QUERIES_MAX)


def expect(browser: Client, address: str, *, queries_max: int) -> None:
    """Expect the page to render within so many queries."""
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get(address)
    assert answer.status_code == 200, address
    assert len(queries) <= queries_max, (address, [query["sql"] for query in queries])


def test_a_list_of_many_rows_takes_no_more_queries_than_one_of_few(superuser: Client, scene: Any) -> None:
    address = url(Obligation, "changelist") + f"?window={scene.open.pk}"
    with CaptureQueriesContext(connection) as few:
        superuser.get(address)

    factories.take(*(factories.obligation() for _ in range(200)))
    with CaptureQueriesContext(connection) as many:
        page = superuser.get(address)

    assert len(many) == len(few)
    assert not [query for query in many if "COUNT(" in query["sql"].upper()]
    assert page.content.decode().count("<tbody") == 50


def test_the_window_list_counts_obligations_for_all_windows_in_one_query(
    superuser: Client, scene: Any
) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = superuser.get(url(type(scene.open), "changelist")).content.decode()

    assert sum("clearing_obligation" in query["sql"] for query in queries) == 1
    for window in (scene.completed, scene.rolled_back, scene.open):
        assert f'?window={window.pk}">3</a>' in page
    for status in ("Completed", "RolledBack", "Open"):
        assert f">{status}</span>" in page


def test_a_windows_page_shows_its_run_checkpoints_results_positions_orders_and_events(
    superuser: Client, scene: Any
) -> None:
    page = superuser.get(url(type(scene.completed), "change", scene.completed.pk)).content.decode()

    assert str(scene.run.pk) in page
    for checkpoint in ("window_status_changed", "obligations_collected", "netting_calculated"):
        assert checkpoint in page
    assert page.count(">Applied</span>") == 4
    assert "8.00 <i>USD</i>" in page  # gross: 5 + 3
    assert "5.00 <i>USD</i>" in page  # what still moves
    assert "-5.00 <i>USD</i>" in page  # the payer
    assert "400 <i>JPY</i>" in page
    assert "37.50 %" in page
    assert page.count(url(type(scene.run), "change", scene.run.pk)) == 1
    for event in ("Opened", "Closing", "Closed", "Processing", "Completed"):
        assert f">{event}</a>" in page


def test_a_rolled_back_windows_page_says_why_and_what_it_holds(superuser: Client, scene: Any) -> None:
    page = superuser.get(url(type(scene.open), "change", scene.rolled_back.pk)).content.decode()

    assert "rolled_back_by_request" in page
    assert page.count(">Undone</span>") == 3
    assert "not netted" in page
    assert "8.00 <i>USD</i>" in page


def test_obligations_are_found_by_reference_in_their_window_and_by_public_id_anywhere(
    superuser: Client, scene: Any
) -> None:
    wanted = Obligation.objects.filter(window=scene.completed).order_by("pk")[0]
    list_ = url(Obligation, "changelist")
    link = url(Obligation, "change", f"{scene.completed.pk}-{wanted.pk}")

    by_reference = superuser.get(f"{list_}?window={scene.completed.pk}&q={wanted.reference}")
    elsewhere = superuser.get(f"{list_}?window={scene.open.pk}&q={wanted.reference}")
    by_id = superuser.get(f"{list_}?window={scene.open.pk}&q={wanted.key}")

    assert by_reference.content.decode().count(link) == 1
    assert link not in elsewhere.content.decode()
    assert by_id.content.decode().count(link) == 1


@pytest.mark.parametrize("address", ["abc", "1-abc", "999999999", "1-999999999", "x-1"])
def test_an_obligation_that_is_not_there_leads_back(superuser: Client, scene: Any, address: str) -> None:
    assert superuser.get(url(Obligation, "change", address)).status_code == 302


def test_a_window_filter_that_is_no_number_is_taken_as_none(superuser: Client, scene: Any) -> None:
    assert superuser.get(url(Obligation, "changelist") + "?window=abc").status_code == 200


def test_accounts_show_totals_that_sum_to_zero(superuser: Client, scene: Any) -> None:
    page = superuser.get(reverse("admin:settlement_settlementaccount_changelist"))

    usd = next(row for row in page.context["totals"] if row["currency"] == "USD")
    assert "3,000.00" in usd["member"]
    assert "-3,000.00" in usd["funding"]
    assert ">0.00 " in usd["all"]


def fill_the_rest(scene: Any) -> None:
    """Write a row into the tables that a cleared window leaves empty."""
    user = User.objects.get(username="root")
    ApiToken.objects.create(user=user, role="operator", digest="0" * 64)
    IdempotencyRecord.objects.create(user=user, key="k", fingerprint="f", status_code=200, body={})
    windows.give_up(scene.rolled_back, at=factories.AT, reason="test")
    assert PeriodicTask.objects.exists()
    assert ObligationKey.objects.exists()
