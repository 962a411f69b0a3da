"""Emergency clearing: the accepting window closed and cleared now, only its first obligations if asked."""

import io
import json
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from clearing import access, emergency, finality, metrics, windows
from clearing.emergency import MaxObligationsInvalid
from clearing.models import AtomicOperation, ClearingWindow, Obligation, RegionSchedule, RollOn
from clearing.obligations import Intake
from clearing.states import Region, WindowStatus
from clearing.windows import NoAcceptingWindow
from clearing_project.lifecycle import IllegalMove
from settlement.models import SettlementInstruction
from tests import factories
from tests.clearing.api.caller import Caller, is_problem
from tests.database import sql, together
from tests.factories import AT, BY_HAND, A, B, obligation

pytestmark = pytest.mark.django_db
REASON = "the settlement bank closes at noon"


def hurry(max_obligations: int | None = None, region: Region = BY_HAND) -> AtomicOperation:
    return emergency.clear(region, at=AT, reason=REASON, max_obligations=max_obligations)


def finish(operation: AtomicOperation) -> bool:
    """Do what the worker does; whether the run is held."""
    for step in (1, 2, 3):
        factories.apply(operation, step)
    held = finality.commit(operation.pk, at=AT)
    if not held:
        finality.settle(operation.pk, at=AT)
    return held


def references(window: ClearingWindow) -> list[str]:
    return list(Obligation.objects.filter(window=window).order_by("id").values_list("reference", flat=True))


def test_the_accepting_window_is_closed_and_cleared_as_an_emergency() -> None:
    factories.circle()
    window = factories.window()
    factories.take(*factories.story("BANK-A owes BANK-B 500 USD\nBANK-B owes BANK-A 200 USD"))

    operation = hurry()
    window.refresh_from_db()
    assert (window.status, window.emergency_mode) == (WindowStatus.PROCESSING, True)
    finish(operation)

    window.refresh_from_db()
    operation.refresh_from_db()
    assert (window.status, operation.reason) == (WindowStatus.COMPLETED, REASON)
    kinds = SettlementInstruction.objects.values_list("instruction_type", flat=True)
    assert set(kinds) == {"EmergencySettlement"}
    told = {event.event_type: event.data for event in window.events.all()}
    assert told["Closing"] == {"reason": REASON, "emergency_mode": True}
    assert told["Completed"]["emergency_mode"] is True
    figure = 'deltran_clearing_emergency_windows_total{region="Americas",status="Completed"} 1.0'
    assert figure in metrics.exposition().decode()


def test_only_the_first_obligations_are_cleared_and_the_rest_goes_to_the_next_window() -> None:
    factories.circle()
    RegionSchedule.objects.filter(region=BY_HAND).update(is_enabled=True)
    window = factories.window()
    factories.take(*[obligation(reference=str(number)) for number in range(5)])

    hurry(3)

    following = windows.accepting(BY_HAND)
    assert (references(window), references(following)) == (["0", "1", "2"], ["3", "4"])
    moved = RollOn.objects.get()
    assert (moved.source_id, moved.target_id, moved.obligations_count) == (window.pk, following.pk, 2)
    assert following.emergency_mode is False


def test_an_emergency_never_lets_a_window_hold_more_than_it_may() -> None:
    factories.window(max_obligations=2)

    operation = hurry(10)

    assert ClearingWindow.objects.get(pk=operation.window_id).max_obligations == 2


def test_an_emergency_is_not_held_for_saving_little_but_for_its_windows_own_rule() -> None:
    factories.circle()
    factories.window()
    factories.take(obligation(A, B))
    saves_nothing = hurry()
    assert finish(saves_nothing) is False

    factories.window(auto_settle=False)
    factories.take(obligation(A, B))
    assert finish(hurry()) is True


@pytest.mark.parametrize("number", [0, -1, 2**31])
def test_a_number_that_makes_no_sense_is_refused_and_nothing_is_closed(number: int) -> None:
    window = factories.window()

    with pytest.raises(MaxObligationsInvalid):
        hurry(number)

    assert windows.accepting(BY_HAND) == window


def test_a_window_that_is_named_and_not_open_is_left_as_it_is() -> None:
    closed = factories.closed()

    with pytest.raises(IllegalMove):
        emergency.clear(BY_HAND, at=AT, reason=REASON, window_id=closed.pk)

    closed.refresh_from_db()
    assert (closed.status, closed.emergency_mode) == (WindowStatus.CLOSED, False)


@pytest.mark.django_db(transaction=True)
def test_of_emergencies_at_once_one_clears_and_intake_beside_them_is_neither_lost_nor_doubled() -> None:
    factories.circle()
    window = factories.window()
    takes = [partial(factories.take, obligation(reference=f"r{number}")) for number in range(6)]

    outcomes = together(hurry, hurry, *takes)

    begun = [each for each in outcomes if isinstance(each, AtomicOperation)]
    taken = [each for each in outcomes if isinstance(each, Intake)]
    refused = [each for each in outcomes if isinstance(each, Exception)]
    assert [operation.window_id for operation in begun] == [window.pk]
    assert all(isinstance(each, NoAcceptingWindow) for each in refused)
    assert sql("SELECT count(*) FROM clearing_obligation WHERE window_id = %s", window.pk) == [(len(taken),)]


def test_rest_answers_once_for_a_key() -> None:
    operator = Caller(access.issue("operator", role="operator"))
    RegionSchedule.objects.filter(region=BY_HAND).update(is_enabled=True)
    now = timezone.now()  # the door's clock, which would turn over a window of the past
    window = factories.window(opens_at=now, cutoff_at=now + timedelta(hours=1))
    body = {"region": BY_HAND.value, "reason": REASON, "max_obligations": 5}

    first = operator.post("emergency", body, key="e-1")
    again = operator.post("emergency", body, key="e-1")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["window_id"] == window.pk
    assert again.json() == first.json()
    assert windows.accepting(BY_HAND).emergency_mode is False
    is_problem(operator.post("emergency", {**body, "reason": " "}), 422, "reason_invalid")
    is_problem(operator.post("emergency", {**body, "max_obligations": 0}), 422, "max_obligations_invalid")
    is_problem(operator.post("emergency", {**body, "region": "Atlantis"}), 422, "unknown_region")


@pytest.mark.django_db(transaction=True)
def test_the_command_clears_an_empty_window_with_zero_positions() -> None:
    factories.window()
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command(
            "clear_window", "--region", "Americas", "--emergency", "--reason", REASON, "--wait", stdout=out
        )

    result = json.loads(out.getvalue())
    assert ended.value.code == 0
    assert (result["status"], result["positions"], result["instructions"]) == ("Success", [], [])


def test_the_command_needs_a_reason_for_an_emergency() -> None:
    window = factories.window()

    with pytest.raises(CommandError, match="reason_invalid"):
        call_command("clear_window", "--region", "Americas", "--emergency")

    assert windows.accepting(BY_HAND) == window
