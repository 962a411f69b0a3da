"""A failure in each stage, by data: the errback takes the whole run back, and after repair it completes."""

import pytest

from clearing import windows
from clearing.models import WindowEvent
from clearing.obligations import Submission
from clearing.states import OperationStatus, WindowStatus
from clearing_project.stack.processes import Process
from settlement import accounts
from settlement.models import Posting
from tests.cycle.day import checkpoints, cleared, status, tampered
from tests.factories import A, B, C, balances, circle, closed, obligation, participant, snapshot, story

pytestmark = [pytest.mark.cycle, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

ROUND = """
    BANK-A owes BANK-B 500 USD
    BANK-B owes BANK-A 300 USD
    BANK-B owes BANK-C 300 EUR
    BANK-C owes BANK-B 200 EUR
    BANK-C owes BANK-A 400 JPY
    BANK-A owes BANK-C 100 JPY
"""
BROKEN_MACHINES = {
    "a currency of the chord's header": (
        ("clearing_frozenset", "NEW.gross_minor := NEW.gross_minor + (NEW.currency_id = 392)::int"),
        "freeze_mismatch",
        ["Undone", "Undone", "Undone", "Planned"],
    ),
    "every currency of the chord's header": (
        ("clearing_frozenset", "NEW.obligations_count := NEW.obligations_count + 1"),
        "freeze_mismatch",
        ["Undone", "Undone", "Undone", "Planned"],
    ),
    "the seal": (
        ("clearing_nettingresult", "NEW.result_digest := repeat('0', 64)"),
        "certificate_refused",
        ["Undone", "Undone", "Undone", "Planned"],
    ),
    "the instructions": (
        ("settlement_reservation", "RAISE EXCEPTION 'the disk is full'"),
        "internal_error",
        ["Undone"] * 4,
    ),
    "the commit": (
        ("settlement_settlementinstruction", "NEW.amount_minor := NEW.amount_minor + 1"),
        "internal_error",
        ["Undone"] * 4,
    ),
}


@pytest.mark.parametrize("stage", BROKEN_MACHINES)
def test_a_broken_machine_in_any_stage_is_rolled_back_and_after_repair_completes(
    worker: Process, stage: str
) -> None:
    (table, change), code, marks = BROKEN_MACHINES[stage]
    circle(1000)
    shut = closed(*story(ROUND))
    before = snapshot()

    with tampered(table, change):
        operation = cleared(shut)

    assert (operation.status, operation.error_code) == (OperationStatus.ROLLED_BACK, code)
    assert status(shut) == WindowStatus.ROLLED_BACK
    assert checkpoints(operation) == marks
    assert snapshot() == before
    assert set(operation.children.values_list("status", flat=True)) == {"RolledBack"}

    again = cleared(windows.get(shut.pk))
    assert again.status == OperationStatus.COMMITTED
    assert balances(A) == {"USD": (800, 0), "EUR": (1000, 0), "JPY": (1300, 0), "BHD": (1000, 0)}
    assert WindowEvent.objects.filter(event_type="RolledBack").count() == 1


def missing_account() -> list[Submission]:
    participant("BANK-D")
    return [obligation(A, "BANK-D"), obligation(B, C)]


def short_of_funds() -> list[Submission]:
    return [obligation(A, B, 1001), obligation(B, C, 400, "EUR")]


BAD_DATA = {
    "account_missing": (missing_account, ["Undone"] * 4),
    "insufficient_funds": (short_of_funds, ["Undone"] * 4),
}


@pytest.mark.parametrize("code", BAD_DATA)
def test_data_that_cannot_settle_is_rolled_back_each_time_it_is_tried(worker: Process, code: str) -> None:
    made, marks = BAD_DATA[code]
    circle(1000)
    shut = closed(*made())
    before = snapshot()

    for _ in range(2):
        operation = cleared(windows.get(shut.pk))

        assert (operation.status, operation.error_code) == (OperationStatus.ROLLED_BACK, code)
        assert checkpoints(operation) == marks
        assert snapshot() == before

    assert status(shut) == WindowStatus.ROLLED_BACK
    assert not Posting.objects.filter(kind="Settlement").exists()


def test_a_window_short_of_funds_completes_once_they_are_there(worker: Process) -> None:
    circle(1000)
    shut = closed(*short_of_funds(), min_netting_efficiency_bps=0)
    assert cleared(shut).status == OperationStatus.ROLLED_BACK
    assert balances(A)["USD"] == (1000, 0)

    accounts.fund(A, "USD", amount_minor=1, reference="top-up", at=shut.cutoff_at)

    assert cleared(windows.get(shut.pk)).status == OperationStatus.COMMITTED
    assert balances(A)["USD"] == (0, 0)
