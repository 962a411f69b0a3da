"""The operations console: the state now, for staff."""

from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clearing import windows
from tests import factories
from tests.clearing.admin.conftest import client

QUERIES_MAX = 14


def test_it_is_for_staff_alone(db: None) -> None:
    anonymous, member = Client(), client(User.objects.create_user("member"))

    for browser in (anonymous, member):
        answer = browser.get(reverse("console"))
        assert answer.status_code == 302
        assert answer["Location"] == f"{reverse('admin:login')}?next=/"


def test_it_shows_windows_results_totals_and_the_ways_on(superuser: Client, scene: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = superuser.get(reverse("console")).content.decode()

    assert len(queries) <= QUERIES_MAX
    for window in (scene.open, scene.completed, scene.rolled_back):
        assert reverse("admin:clearing_clearingwindow_change", args=[window.pk]) in page
    assert "rolled_back_by_request" in page
    assert page.count("step-applied") == 4
    assert page.count("step-undone") == 3
    assert "3,000.00 <i>USD</i>" in page
    for way in (reverse("admin:index"), "/api/docs", ":5555/"):
        assert f'{way}"' in page


def test_it_shows_a_run_with_its_checkpoints_while_it_is_underway(superuser: Client, db: None) -> None:
    factories.circle()
    run = factories.running(factories.closed(*factories.story(factories.DAY)), applied=2)

    page = superuser.get(reverse("console")).content.decode()

    assert reverse("admin:clearing_atomicoperation_change", args=[run.pk]) in page
    assert (page.count("step-applied"), page.count("step-planned")) == (2, 2)


def test_it_renders_before_anything_has_happened(superuser: Client) -> None:
    page = superuser.get(reverse("console")).content.decode()

    assert "No window is open." in page
    assert "Nothing is being cleared." in page


def test_it_takes_no_more_queries_for_more_windows(superuser: Client, scene: Any) -> None:
    with CaptureQueriesContext(connection) as few:
        superuser.get(reverse("console"))
    factories.settled(windows.close(scene.open, at=factories.AT))

    with CaptureQueriesContext(connection) as many:
        superuser.get(reverse("console"))

    assert len(many) == len(few)


def test_it_is_read_only(superuser: Client) -> None:
    assert superuser.post(reverse("console")).status_code == 405
