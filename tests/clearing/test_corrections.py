"""After finality: money is sent back by opposite instructions, once, wholly or not at all."""

from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from clearing import corrections, finality, operations, queries, windows
from clearing.corrections import NotSettled
from clearing.faults import FaultInjected
from clearing.models import AtomicOperation, ClearingWindow, Obligation
from clearing.operations import ReasonInvalid
from clearing.states import OperationStatus, OperationType, WindowStatus
from settlement import accounts
from settlement.accounts import InsufficientFunds
from settlement.corrections import (
    AlreadyCorrected,
    CorrectionUnbalanced,
    InstructionNotInBatch,
    NothingToCorrect,
)
from settlement.models import LedgerEntry, Posting, SettlementInstruction
from tests.chaos import invariants
from tests.database import refused, sql, together
from tests.factories import (
    AT,
    DAY,
    A,
    B,
    C,
    balances,
    circle,
    closed,
    obligation,
    running,
    settled,
    snapshot,
    story,
)

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

correct = partial(corrections.correct, at=AT, reason="wrong file", by="olivia")


def completed(*, amount_minor: int = 0, **fields: Any) -> ClearingWindow:
    """A window whose money has moved."""
    sent = [obligation(A, B, amount_minor)] if amount_minor else story(DAY)
    return settled(closed(*sent, **fields)).window


def batch_of(window: ClearingWindow) -> list[SettlementInstruction]:
    return list(queries.instructions(window))


def tried(window: ClearingWindow) -> list[tuple[str, str]]:
    rows = AtomicOperation.objects.filter(window=window, operation_type=OperationType.CORRECTION)
    return list(rows.order_by("created_at").values_list("status", "error_code"))


def all_balances() -> list[dict[str, tuple[int, int]]]:
    return [balances(code) for code in (A, B, C, "AGENT")]


@pytest.mark.parametrize(
    "fields", [{}, {"transfers": "direct"}, {"netting_mode": "conservative"}, {"netting_mode": "gross"}]
)
def test_correcting_a_window_gives_every_account_back_what_it_had(fields: dict[str, Any]) -> None:
    circle(1000)
    before = all_balances()[:3]
    window = completed(**fields)
    originals = list(SettlementInstruction.objects.order_by("pk").values())

    operation = correct(window)

    assert all_balances()[:3] == before
    assert set(balances("AGENT").values()) <= {(0, 0)}
    assert list(SettlementInstruction.objects.filter(corrects=None).order_by("pk").values()) == originals
    assert (operation.status, operation.final_at, operation.reason) == ("Committed", AT, "wrong file")
    assert operation.requested_by == "olivia"
    assert windows.get(window.pk).status == WindowStatus.COMPLETED
    assert invariants.broken() == []


def test_a_correction_is_told_with_who_and_why() -> None:
    circle(1000)
    window = completed()

    operation = correct(window)

    event = window.events.latest("sequence")
    assert event.event_type == "Corrected"
    told = {name: value for name, value in event.data.items() if name != "request_id"}
    assert told == {
        "operation_id": str(operation.pk),
        "corrected_operation_id": str(batch_of(window)[0].batch_id),
        "instructions_count": 5,
        "reason": "wrong file",
        "requested_by": "olivia",
    }


def test_each_instruction_and_the_discharge_trail_name_what_corrected_them() -> None:
    circle(1000)
    window = completed(amount_minor=60, netting_mode="gross")
    (original,) = batch_of(window)

    operation = correct(window)

    (correction,) = SettlementInstruction.objects.filter(batch_id=operation.pk)
    assert (correction.corrects_id, correction.payer_id, correction.payee_id, correction.amount_minor) == (
        original.pk,
        original.payee_id,
        original.payer_id,
        60,
    )
    assert queries.instruction(original.pk).corrected_by_id == correction.pk  # type: ignore[attr-defined]
    trail = queries.of_obligation(Obligation.objects.get())
    assert trail is not None
    assert [(part.instruction_id, part.corrected_by) for part in trail.payments] == [
        (original.pk, correction.pk)
    ]


def test_the_rest_of_a_window_is_corrected_after_a_part_and_then_nothing_is_left() -> None:
    circle(1000)
    window = completed(netting_mode="gross")
    first, *others = batch_of(window)

    correct(window, instruction_ids=[first.pk])
    with pytest.raises(AlreadyCorrected) as again:
        correct(window, instruction_ids=[first.pk])
    rest = correct(window)
    with pytest.raises(NothingToCorrect):
        correct(window)

    assert again.value.details["instruction_id"] == str(first.pk)
    assert SettlementInstruction.objects.filter(batch_id=rest.pk).count() == len(others)
    assert all_balances()[:3] == [dict.fromkeys(("BHD", "EUR", "JPY", "USD"), (1000, 0))] * 3
    assert [code for _, code in tried(window)] == ["", "already_corrected", "", "nothing_to_correct"]
    assert invariants.broken() == []


def test_a_correction_is_not_corrected() -> None:
    circle(1000)
    window = completed(amount_minor=60)
    correct(window)
    issued = SettlementInstruction.objects.exclude(corrects=None)[0]

    with pytest.raises(InstructionNotInBatch):
        correct(window, instruction_ids=[issued.pk])


def test_who_received_the_money_and_spent_it_cannot_send_it_back_and_nothing_is_half_done() -> None:
    circle(500)
    window = completed()
    settled(closed(obligation(B, A, 600), netting_mode="gross"))
    before, balances_before = snapshot(), all_balances()

    with pytest.raises(InsufficientFunds) as refusal:
        correct(window)

    assert refusal.value.details["participant"] == B
    assert (snapshot(), all_balances()) == (before, balances_before)
    assert tried(window) == [("Failed", "insufficient_funds")]
    assert "Corrected" not in window.events.values_list("event_type", flat=True)
    assert invariants.broken() == []

    accounts.fund(B, "USD", amount_minor=500, reference="more", at=AT)
    assert correct(window).status == OperationStatus.COMMITTED


def test_an_account_needs_no_more_than_it_gives_on_balance() -> None:
    circle(0)
    accounts.fund(A, "USD", amount_minor=300, reference="A", at=AT)
    window = settled(closed(obligation(A, B, 300), obligation(B, C, 300), netting_mode="gross")).window

    correct(window)

    assert [balances(code)["USD"] for code in (A, B, C)] == [(300, 0), (0, 0), (0, 0)]


def test_legs_through_the_agent_are_corrected_only_where_they_leave_it_with_nothing() -> None:
    circle(1000)
    window = completed(amount_minor=60)
    paid, received = batch_of(window)

    with pytest.raises(CorrectionUnbalanced) as refusal:
        correct(window, instruction_ids=[paid.pk])
    assert refusal.value.details["currency"] == "USD"
    correct(window, instruction_ids=[paid.pk, received.pk, paid.pk])

    assert [balances(code)["USD"] for code in (A, B, "AGENT")] == [(1000, 0), (1000, 0), (0, 0)]


def test_an_instruction_of_another_window_or_of_none_is_refused() -> None:
    circle(1000)
    window, other = completed(amount_minor=1), completed(amount_minor=2)

    for key in (uuid4(), batch_of(other)[0].pk):
        with pytest.raises(InstructionNotInBatch):
            correct(window, instruction_ids=[key])
    with pytest.raises(NothingToCorrect):
        correct(window, instruction_ids=[])


@pytest.mark.parametrize("applied", [None, 3, 4])
def test_what_is_not_settled_is_not_corrected(applied: int | None) -> None:
    circle(1000)
    window = closed(*story(DAY))
    if applied:
        running(window, applied=applied)

    with pytest.raises(NotSettled):
        correct(window)

    assert tried(window) == []


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_correction_has_its_reason(reason: str) -> None:
    circle(1000)

    with pytest.raises(ReasonInvalid):
        correct(completed(amount_minor=1), reason=reason)


def test_a_rollback_after_finality_names_what_to_do_instead() -> None:
    circle(1000)
    window = completed()

    with pytest.raises(operations.AlreadyFinal) as refusal:
        operations.roll_back_window(window.pk, at=AT, reason="too late")

    assert "POST windows/ID/correct" in str(refusal.value)
    assert "correct_window" in str(refusal.value)


@pytest.mark.parametrize(
    ("point", "is_done"),
    [("correction.before", False), ("correction.between", False), ("correction.after", True)],
)
def test_a_correction_that_dies_is_done_wholly_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: str, is_done: bool
) -> None:
    circle(1000)
    window = completed()
    before = snapshot()
    monkeypatch.setitem(settings.CLEARING, "FAULTS", str(tmp_path))
    (tmp_path / point).write_text("raise")

    with pytest.raises(FaultInjected):
        correct(window)

    assert (snapshot() == before) is not is_done
    assert tried(window) == ([("Committed", "")] if is_done else [])
    assert invariants.broken() == []
    if not is_done:
        correct(window)
    assert all_balances()[:3] == [dict.fromkeys(("BHD", "EUR", "JPY", "USD"), (1000, 0))] * 3


# --- what PostgreSQL itself refuses ------------------------------------------------------------------


OPPOSITE = """
    INSERT INTO settlement_settlementinstruction
        (id, batch_id, instruction_type, priority, status, currency_id, payer_id, payee_id, amount_minor,
         corrects_id)
    SELECT gen_random_uuid(), gen_random_uuid(), instruction_type, 0, 'Pending', currency_id,
           {parties}, amount_minor + {more}, id
    FROM settlement_settlementinstruction WHERE id = %s
"""


def test_postgresql_refuses_a_second_correction_of_an_instruction() -> None:
    circle(1000)
    window = completed(netting_mode="gross")
    original = batch_of(window)[0]
    correct(window)

    with refused("corrected_once"):
        sql(OPPOSITE.format(parties="payee_id, payer_id", more=0), original.pk)


@pytest.mark.parametrize(("parties", "more"), [("payer_id, payee_id", 0), ("payee_id, payer_id", 1)])
def test_postgresql_refuses_a_correction_that_is_not_the_opposite(parties: str, more: int) -> None:
    circle(1000)
    window = completed(netting_mode="gross")

    with refused("correction_is_opposite"):
        sql(OPPOSITE.format(parties=parties, more=more), batch_of(window)[0].pk)


def test_postgresql_refuses_to_correct_what_is_not_settled_and_what_is_a_correction() -> None:
    circle(1000)
    window = completed(netting_mode="gross")
    pending = running(closed(obligation(A, B, 5)), applied=4)
    operation = correct(window)

    for key in (
        SettlementInstruction.objects.filter(batch_id=pending.pk)[0].pk,
        SettlementInstruction.objects.filter(batch_id=operation.pk)[0].pk,
    ):
        with refused("correction_is_opposite"):
            sql(OPPOSITE.format(parties="payee_id, payer_id", more=0), key)


def test_postgresql_refuses_to_change_what_an_instruction_corrects() -> None:
    circle(1000)
    window = completed(netting_mode="gross")
    pending = running(closed(obligation(A, B, 5)), applied=4)

    with refused("append_only"):
        sql(
            "UPDATE settlement_settlementinstruction SET corrects_id = %s WHERE batch_id = %s",
            batch_of(window)[0].pk,
            pending.pk,
        )


# --- at the same moment ------------------------------------------------------------------------------


@concurrent
def test_of_corrections_at_the_same_moment_one_sends_the_money_back() -> None:
    circle(1000)
    for turn in range(10):
        window = completed(netting_mode="gross")
        chosen = [each.pk for each in batch_of(window)][: turn % 3 + 1]
        calls = [
            partial(correct, window, instruction_ids=chosen),
            partial(correct, window, instruction_ids=chosen),
            partial(correct, window),
        ]

        answers = together(*calls)

        lost = [answer for answer in answers if isinstance(answer, Exception)]
        assert all(isinstance(answer, AlreadyCorrected | NothingToCorrect) for answer in lost), answers
        corrected = SettlementInstruction.objects.exclude(corrects=None)
        assert corrected.filter(corrects__in=[each.pk for each in batch_of(window)]).count() == 3
    assert all_balances()[:3] == [dict.fromkeys(("BHD", "EUR", "JPY", "USD"), (1000, 0))] * 3
    assert invariants.broken() == []


@concurrent
def test_corrections_beside_settlements_of_the_same_accounts_wait_and_never_deadlock() -> None:
    circle(100_000)
    for _ in range(4):
        done = [completed() for _ in range(2)]
        due = [running(closed(*story(DAY)), applied=4) for _ in range(2)]

        answers = together(
            *(partial(correct, window) for window in done), *(partial(_settle, run) for run in due)
        )

        assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert (
        Posting.objects.filter(kind="Settlement").count() * 2
        == LedgerEntry.objects.filter(posting__kind="Settlement").count()
    )
    assert invariants.broken() == []


def _settle(run: AtomicOperation) -> None:
    finality.commit(run.pk, at=AT)
    finality.settle(run.pk, at=AT)
