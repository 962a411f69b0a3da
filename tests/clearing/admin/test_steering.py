"""Force close, process and roll back: asked for with a reason, done by the engine's verbs, logged."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clearing import finality, operations, partitions
from clearing.models import AtomicOperation, ClearingWindow, ObligationPull, SetAside
from clearing.states import OperationType
from tests import factories
from tests.clearing.admin.conftest import client, staff
from tests.database import aside, sql

LIST = "admin:clearing_clearingwindow_changelist"
REASON = "the exchange closes early"


def ask(browser: Client, action: str, *windows: ClearingWindow, **fields: str) -> Any:
    """Choose the windows in the list and start the action, as the page's form posts it."""
    chosen = [str(window.pk) for window in windows]
    return browser.post(reverse(LIST), {"action": action, "_selected_action": chosen, **fields}, follow=True)


def messages(answer: Any) -> list[str]:
    """What the page says was done or refused."""
    return [str(message) for message in answer.context["messages"]]


def log() -> list[tuple[str, str, str]]:
    """Who did what to which window, in order."""
    rows = LogEntry.objects.order_by("pk").select_related("user")
    return [(row.user.username, row.object_id or "", row.change_message) for row in rows]


def status(window: ClearingWindow) -> str:
    """The window's status in the database."""
    return ClearingWindow.objects.values_list("status", flat=True).get(pk=window.pk)


@pytest.fixture
def operator(db: None) -> Client:
    """Someone who may change windows, and nothing else."""
    return client(staff("olivia", "view_clearingwindow", "change_clearingwindow"))


@pytest.mark.parametrize(
    "action", ["force_close", "emergency", "process", "release", "roll_back", "give_up", "correct"]
)
def test_an_action_first_asks_for_a_reason_and_does_nothing(
    operator: Client, opened: ClearingWindow, action: str
) -> None:
    answer = ask(operator, action, opened)

    assert 'name="reason"' in answer.content.decode()
    assert str(opened) in answer.content.decode()
    assert status(opened) == "Open"
    assert log() == []


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_a_blank_reason_is_refused(operator: Client, opened: ClearingWindow, reason: str) -> None:
    answer = ask(operator, "force_close", opened, reason=reason)

    assert "Say why" in answer.content.decode()
    assert status(opened) == "Open"
    assert log() == []


def test_force_close_closes_keeps_the_reason_and_logs_who(operator: Client, opened: ClearingWindow) -> None:
    answer = ask(operator, "force_close", opened, reason=f"  {REASON} ")

    assert status(opened) == "Closed"
    closing = AtomicOperation.objects.get(window=opened, operation_type=OperationType.WINDOW_CLOSE)
    assert closing.reason == REASON
    assert log() == [("olivia", str(opened.pk), f"Force close. Reason: {REASON}")]
    assert "closed at" in messages(answer)[0]


def test_an_emergency_closes_and_starts_a_run_with_the_reason(
    operator: Client, opened: ClearingWindow
) -> None:
    answer = ask(operator, "emergency", opened, reason=REASON)

    run = AtomicOperation.objects.get(window=opened, operation_type=OperationType.WINDOW_CLEARING)
    opened.refresh_from_db()
    assert (opened.emergency_mode, run.reason) == (True, REASON)
    assert log() == [("olivia", str(opened.pk), f"Clear as an emergency. Reason: {REASON}")]
    assert f"operation {run.pk}" in messages(answer)[0]
    assert "(illegal_move)" in messages(ask(operator, "emergency", opened, reason=REASON))[0]


def test_an_emergency_may_clear_the_first_obligations_alone(operator: Client) -> None:
    factories.circle()
    opened = factories.window()
    factories.take(*[factories.obligation() for _ in range(3)])

    refused = ask(operator, "emergency", opened, reason=REASON, max_obligations="0")
    assert "greater than or equal to 1" in refused.content.decode()
    assert status(opened) == "Open"
    ask(operator, "emergency", opened, reason=REASON, max_obligations="2")

    opened.refresh_from_db()
    assert (opened.max_obligations, opened.obligations.count()) == (2, 2)
    assert SetAside.objects.get().arrival == "overflow"
    assert log() == [
        ("olivia", str(opened.pk), f"Clear as an emergency. At most 2 obligations. Reason: {REASON}")
    ]


def test_a_window_that_waits_for_the_obligation_engine_says_so_on_its_page(
    operator: Client, opened: ClearingWindow
) -> None:
    page = reverse("admin:clearing_clearingwindow_change", args=[opened.pk])
    assert "not asked" in operator.get(page).content.decode()
    held = {"taken": 7, "attempts": 3, "error_code": "engine_unavailable"}
    ObligationPull.objects.create(window=opened, status="Pending", next_at=timezone.now(), **held)

    shown = operator.get(page).content.decode()

    assert "Pending, 7 taken, 3 attempts in a row failed: engine_unavailable" in shown


def test_a_window_is_opened_by_hand_once_and_logged(operator: Client) -> None:
    page = reverse("admin:clearing_clearingwindow_open_window")
    asked = {"region": "Americas", "reason": REASON, "emergency_mode": "on"}

    assert 'name="reason"' in operator.get(page).content.decode()
    assert "Say why" in operator.post(page, {**asked, "reason": " "}).content.decode()
    answer = operator.post(page, asked, follow=True)
    again = operator.post(page, asked, follow=True)

    window = ClearingWindow.objects.get(region="Americas")
    assert (window.status, window.emergency_mode) == ("Open", True)
    assert "is open until" in messages(answer)[0]
    assert "(window_already_open)" in messages(again)[0]
    assert log() == [("olivia", str(window.pk), f"Open a window. Reason: {REASON}")]
    assert "Open a window" in operator.get(reverse(LIST)).content.decode()


def test_who_only_looks_opens_no_window(db: None) -> None:
    viewer = client(staff("vera", "view_clearingwindow"))
    page = reverse("admin:clearing_clearingwindow_open_window")

    refused = viewer.post(page, {"region": "Americas", "reason": REASON})

    assert refused.status_code in (302, 403)
    assert not ClearingWindow.objects.exists()


def test_process_starts_a_run_with_the_reason(operator: Client, db: None) -> None:
    factories.circle()
    window = factories.closed(*factories.story(factories.DAY))

    ask(operator, "process", window, reason=REASON)

    assert status(window) == "Processing"
    run = AtomicOperation.objects.get(window=window, operation_type=OperationType.WINDOW_CLEARING)
    assert (run.status, run.reason) == ("InProgress", REASON)
    assert run.checkpoints.get(name="window_status_changed").status == "Applied"
    assert log() == [("olivia", str(window.pk), f"Process. Reason: {REASON}")]


def test_roll_back_undoes_the_live_run(operator: Client, db: None) -> None:
    factories.circle()
    window = factories.closed(*factories.story(factories.DAY))
    run = factories.running(window, applied=3)

    answer = ask(operator, "roll_back", window, reason=REASON)

    assert status(window) == "RolledBack"
    run.refresh_from_db()
    assert (run.status, run.error_message) == ("RolledBack", REASON)
    assert "rolled back" in messages(answer)[0]


def test_correct_sends_the_money_back_and_keeps_who_and_why(operator: Client, db: None) -> None:
    factories.circle(1000)
    window = factories.settled(factories.closed(*factories.story(factories.DAY))).window

    answer = ask(operator, "correct", window, reason=REASON)

    done = AtomicOperation.objects.get(window=window, operation_type=OperationType.CORRECTION)
    assert (done.status, done.reason, done.requested_by) == ("Committed", REASON, "olivia")
    assert factories.balances(factories.A)["USD"] == (1000, 0)
    assert "sent back by operation" in messages(answer)[0]
    assert log() == [("olivia", str(window.pk), f"Correct. Reason: {REASON}")]


def test_each_window_is_answered_on_its_own(operator: Client, scene: Any) -> None:
    answer = ask(operator, "force_close", scene.open, scene.completed, reason=REASON)

    assert status(scene.open) == "Closed"
    assert status(scene.completed) == "Completed"
    said = messages(answer)
    assert len(said) == 2
    assert any("(illegal_move)" in text and str(scene.completed) in text for text in said)
    assert any("closed at" in text and str(scene.open) in text for text in said)


@pytest.mark.parametrize(
    ("action", "name", "code"),
    [
        ("force_close", "rolled_back", "illegal_move"),
        ("process", "open", "cutoff_not_reached"),
        ("process", "completed", "window_final"),
        ("roll_back", "completed", "already_final"),
        ("give_up", "open", "illegal_move"),
    ],
)
def test_a_window_in_the_wrong_state_is_refused_with_the_engines_code(
    operator: Client, scene: Any, action: str, name: str, code: str
) -> None:
    window = getattr(scene, name)
    before = status(window)

    answer = ask(operator, action, window, reason=REASON)

    assert f"({code})" in messages(answer)[0]
    assert status(window) == before
    assert f"({code})" in log()[-1][2]
    assert REASON in log()[-2][2]


def test_a_rollback_of_nothing_says_so(operator: Client, scene: Any) -> None:
    answer = ask(operator, "roll_back", scene.open, reason=REASON)

    assert "nothing to do" in messages(answer)[0]


def test_a_held_run_is_refused_by_process_and_settled_by_release(operator: Client, db: None) -> None:
    factories.circle()
    window = factories.closed(*factories.story(factories.DAY), auto_settle=False)
    run = factories.running(window, applied=4)
    finality.commit(run.pk, at=factories.AT)
    page = operator.get(reverse("admin:clearing_clearingwindow_change", args=[window.pk])).content.decode()
    assert "Committed and held" in page

    refused = ask(operator, "process", window, reason=REASON)
    released = ask(operator, "release", window, reason=REASON)

    assert "(run_held)" in messages(refused)[0]
    assert "is final" in messages(released)[0]
    assert status(window) == "Completed"


def test_a_given_up_window_fails_and_its_obligations_move_on(operator: Client, scene: Any) -> None:
    answer = ask(operator, "give_up", scene.rolled_back, reason=REASON)

    assert status(scene.rolled_back) == "Failed"
    assert f"3 obligation(s) moved on to {scene.open}" in messages(answer)[0]


@pytest.mark.parametrize("verb", ["force-close", "process", "release", "roll-back", "give-up"])
def test_whoever_may_only_view_neither_sees_nor_runs_the_actions(opened: ClearingWindow, verb: str) -> None:
    viewer = client(staff("victor", "view_clearingwindow"))
    action = verb.replace("-", "_")
    own = f"{reverse('admin:clearing_clearingwindow_change', args=[opened.pk])[: -len('change/')]}{verb}/"

    listed = viewer.get(reverse(LIST)).content.decode()
    page = viewer.get(reverse("admin:clearing_clearingwindow_change", args=[opened.pk])).content.decode()
    ask(viewer, action, opened, reason=REASON)
    on_page = [viewer.get(own), viewer.post(own, {"reason": REASON})]

    assert action not in listed
    assert f"{verb}/" not in page
    assert [answer.status_code for answer in on_page] == [403, 403]
    assert status(opened) == "Open"
    assert log() == []


def test_who_may_not_even_view_sees_nothing(opened: ClearingWindow) -> None:
    stranger = client(staff("stella"))

    assert stranger.get(reverse(LIST)).status_code == 403


def test_the_windows_own_page_offers_the_verbs_that_fit_and_runs_them(
    operator: Client, opened: ClearingWindow
) -> None:
    address = reverse("admin:clearing_clearingwindow_change", args=[opened.pk])
    page = operator.get(address).content.decode()
    own = reverse("admin:clearing_clearingwindow_force_close", args=[opened.pk])
    assert own in page
    assert reverse("admin:clearing_clearingwindow_process", args=[opened.pk]) not in page

    asked = operator.get(own)
    blank = operator.post(own, {"reason": " "})
    done = operator.post(own, {"reason": REASON})

    assert 'name="reason"' in asked.content.decode()
    assert "Say why" in blank.content.decode()
    assert (done.status_code, done["Location"]) == (302, address)
    assert status(opened) == "Closed"


def test_a_window_that_is_not_there_cannot_be_steered(operator: Client) -> None:
    answer = operator.post(reverse("admin:clearing_clearingwindow_process", args=[999]), {"reason": "x"})

    assert answer.status_code == 404


def test_the_log_is_written_before_the_verb(operator: Client, opened: ClearingWindow, scene: Any) -> None:
    live = operations.live_clearing(scene.completed.pk)
    assert live is not None

    ask(operator, "roll_back", scene.completed, reason=REASON)

    assert [text.partition(":")[0] for _, _, text in log()] == ["Roll back. Reason", "Roll back refused"]


@pytest.mark.django_db(transaction=True)
def test_a_close_that_waits_too_long_for_intake_is_answered_and_may_be_repeated() -> None:
    operator = client(staff("olivia", "view_clearingwindow", "change_clearingwindow"))
    window = factories.window()
    release, held = threading.Event(), threading.Event()

    def intake() -> None:
        with transaction.atomic():
            partitions.pass_gate(window.pk)
            held.set()
            release.wait(30)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(aside, intake)
        assert held.wait(30)
        sql("SET lock_timeout = 100")
        refused = ask(operator, "force_close", window, reason=REASON)
        sql("RESET lock_timeout")
        release.set()
        slow.result(30)
    again = ask(operator, "force_close", window, reason=REASON)

    assert "(unavailable)" in messages(refused)[0]
    assert "closed at" in messages(again)[0]
    assert status(window) == "Closed"
