"""What each method answers, asked by a client that knows only the promise."""

import json
from collections.abc import Callable
from decimal import Decimal

from clearing import finality, operations
from clearing.models import ClearingWindow
from clearing.models.access import Role
from clearing.states import WindowStatus
from tests import factories
from tests.clearing.rpc.contract import Client
from tests.clearing.rpc.refusals import refused

REGION = factories.BY_HAND.value
STORY = """
    BANK-A owes BANK-B 50000 USD
    BANK-B owes BANK-C 30000 USD
    BANK-C owes BANK-A 20000 USD
"""


def test_a_window_goes_from_open_to_completed(operator: Client) -> None:
    opened = operator.OpenNewWindow(region=REGION, emergency_mode=True).window
    current = operator.GetCurrentWindow(region=REGION).window
    closed = operator.ForceCloseWindow(window_id=opened.id, reason="end of day")
    begun = operator.ProcessWindow(window_id=opened.id)
    result = operator.GetProcessingResult(window_id=opened.id)

    assert current.id == opened.id
    assert (opened.status, opened.region, opened.metadata.emergency_mode) == ("Open", REGION, True)
    assert (closed.success, closed.window_id) == (True, opened.id)
    assert closed.closed_at.endswith("Z")
    assert (begun.success, begun.window_id) == (True, opened.id)
    assert (result.status, result.obligations_processed, list(result.errors)) == ("Success", 0, [])
    assert operator.GetWindowStatus(window_id=opened.id).status == "Completed"


def test_an_open_window_shows_its_traffic(operator: Client) -> None:
    factories.circle()
    window = factories.window()
    factories.take(*factories.story(STORY))

    status = operator.GetWindowStatus(window_id=window.pk)
    shown = operator.GetCurrentWindow(region=REGION).window

    assert (status.status, status.obligations_count, status.total_volume) == ("Open", 3, "1000.00")
    assert (status.netted_volume, status.netting_efficiency) == ("", 0)
    assert (shown.total_obligations, shown.total_volume, shown.saved_amount) == (3, "1000.00", "")
    assert shown.end_time == shown.metadata.cutoff_time


def test_the_result_holds_positions_instructions_and_what_was_saved(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    factories.settled(window)

    result = operator.GetProcessingResult(window_id=window.pk)

    pairs = {(each.bank_pair.bank_a, each.bank_pair.bank_b): each for each in result.net_positions}
    assert (result.status, result.obligations_processed) == ("Success", 3)
    assert (result.total_saved, result.efficiency) == ("700.00", 0.7)
    assert set(pairs) == {("BANK-A", "BANK-B"), ("BANK-A", "BANK-C"), ("BANK-B", "BANK-C")}
    assert (pairs["BANK-A", "BANK-B"].gross_debit, pairs["BANK-A", "BANK-B"].direction) == ("500.00", "Debit")
    assert (pairs["BANK-A", "BANK-C"].gross_credit, pairs["BANK-A", "BANK-C"].direction) == (
        "200.00",
        "Credit",
    )
    moved = [each for each in result.settlement_instructions if each.to_bank == "AGENT"]
    assert [(each.from_bank, each.amount, each.currency) for each in moved] == [("BANK-A", "300.00", "USD")]
    assert json.loads(moved[0].metadata)["status"] == "Completed"
    assert moved[0].instruction_type == "NetSettlement"
    total = operator.GetWindowStatus(window_id=window.pk)
    assert Decimal(total.total_volume) - Decimal(total.netted_volume) == Decimal(result.total_saved)


def test_a_window_of_several_currencies_has_no_total(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story("BANK-A owes BANK-B 100 USD\nBANK-A owes BANK-B 100 JPY"))

    status = operator.GetWindowStatus(window_id=window.pk)

    assert (status.obligations_count, status.total_volume, status.netted_volume) == (2, "", "")


def test_a_rollback_names_what_it_undid_and_an_empty_one_is_refused(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    run = factories.running(window, applied=3)

    answer = operator.RollbackWindow(window_id=window.pk, reason="wrong file")
    state = operator.GetOperationStatus(operation_id=str(run.pk))

    assert answer.success
    assert answer.operations_rolled_back[-1] == str(run.pk)
    assert len(answer.operations_rolled_back) == 3
    assert (state.state, state.operation_type) == ("RolledBack", "WindowClearing")
    assert state.error_message == "wrong file"
    window.refresh_from_db()
    assert window.status == WindowStatus.ROLLED_BACK
    result = operator.GetProcessingResult(window_id=window.pk)
    assert (result.status, result.errors[0].error_type) == ("Failed", "rolled_back_by_request")


def test_a_held_settlement_is_released_by_force_alone(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    ClearingWindow.objects.filter(pk=window.pk).update(auto_settle=False)
    run = factories.running(window, applied=4)
    finality.commit(run.pk, at=factories.AT)

    refusal = refused(lambda: operator.ProcessWindow(window_id=window.pk))
    released = operator.ProcessWindow(window_id=window.pk, force_settlement=True)

    assert refusal == ("FAILED_PRECONDITION", "run_held")
    assert released.success
    assert operator.GetWindowStatus(window_id=window.pk).status == "Completed"


def test_a_participant_sees_its_own_positions_and_instructions_alone(
    client_of: Callable[..., Client],
) -> None:
    bank_a, _, _ = factories.circle()
    window = factories.closed(*factories.story(STORY))
    factories.settled(window)

    result = client_of(Role.PARTICIPANT, participant=bank_a).GetProcessingResult(window_id=window.pk)

    assert {(each.bank_pair.bank_a, each.bank_pair.bank_b) for each in result.net_positions} == {
        ("BANK-A", "BANK-B"),
        ("BANK-A", "BANK-C"),
    }
    assert {(each.from_bank, each.to_bank) for each in result.settlement_instructions} == {
        ("BANK-A", "AGENT")
    }


def test_a_participant_does_not_learn_who_was_short_of_funds(client_of: Callable[..., Client]) -> None:
    bank_a, _, _ = factories.circle()
    window = factories.closed(*factories.story(STORY))
    run = factories.running(window, applied=1)
    operations.roll_back(run.pk, at=factories.AT, reason="BANK-C needs 1.00 USD")

    result = client_of(Role.PARTICIPANT, participant=bank_a).GetProcessingResult(window_id=window.pk)

    assert "BANK-C" not in result.errors[0].message
    assert result.errors[0].error_type == "rolled_back_by_request"
