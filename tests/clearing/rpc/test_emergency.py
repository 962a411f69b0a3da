"""TriggerEmergencyClearing: waits for the result, and a deadline ends only the waiting."""

from datetime import timedelta

import grpc
import pytest
from django.utils import timezone

from clearing import finality, steps, windows
from clearing.models import AtomicOperation, ClearingWindow, RegionSchedule
from clearing.states import OperationType
from tests import factories
from tests.clearing.rpc.contract import Client
from tests.clearing.rpc.refusals import refused

REGION = factories.BY_HAND.value


def run_of(window: ClearingWindow) -> AtomicOperation:
    return window.operations.get(operation_type=OperationType.WINDOW_CLEARING)


def test_an_empty_window_is_answered_at_once_with_zero_positions(operator: Client) -> None:
    window = factories.window()

    result = operator.TriggerEmergencyClearing(region=REGION, reason="outage")

    assert (result.window_id, result.status, result.obligations_processed) == (window.pk, "Success", 0)
    assert len(result.net_positions) == len(result.settlement_instructions) == 0
    window.refresh_from_db()
    assert (window.status, window.emergency_mode) == ("Completed", True)


def test_a_deadline_ends_the_waiting_and_the_same_key_finds_the_result(operator: Client) -> None:
    factories.circle()
    RegionSchedule.objects.filter(region=REGION).update(is_enabled=True)
    now = timezone.now()  # the server's clock, which would turn over a window of the past
    window = factories.window(opens_at=now, cutoff_at=now + timedelta(hours=1))
    factories.take(*[factories.obligation(reference=str(number)) for number in range(3)])
    call = {"region": REGION, "reason": "outage", "max_obligations": 2}
    key = (("idempotency-key", "outage-1"),)

    with pytest.raises(grpc.RpcError) as late:
        operator.TriggerEmergencyClearing(**call, timeout=4, metadata=key)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    run = run_of(window)
    assert run.status == "InProgress"
    for step in (1, 2, 3):
        factories.apply(run, step)
    finality.commit(run.pk, at=factories.AT)
    finality.settle(run.pk, at=factories.AT)
    result = operator.TriggerEmergencyClearing(**call, metadata=key)

    assert (result.window_id, result.status, result.obligations_processed) == (window.pk, "Success", 2)
    assert {each.instruction_type for each in result.settlement_instructions} == {"EmergencySettlement"}
    following = windows.accepting(factories.BY_HAND)
    assert following.emergency_mode is False, "the repeated call closed the next window"
    assert steps.get(run.pk).status == "Committed"


def test_a_key_of_another_emergency_is_refused(operator: Client) -> None:
    factories.window()
    key = (("idempotency-key", "outage-1"),)
    operator.TriggerEmergencyClearing(region=REGION, reason="outage", metadata=key)

    refusal = refused(
        lambda: operator.TriggerEmergencyClearing(region=REGION, reason="another outage", metadata=key)
    )

    assert refusal == ("FAILED_PRECONDITION", "idempotency_key_conflict")
