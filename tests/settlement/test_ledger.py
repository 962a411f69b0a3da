"""What PostgreSQL itself refuses in the ledger, and what settling a batch does to it."""

from uuid import uuid4

import pytest
from django.db.models import Sum

from clearing_project.lifecycle import move
from settlement import accounts, instructions, participants
from settlement.accounts import AccountMissing
from settlement.instructions import BatchUnderway, Leg
from settlement.models import (
    LedgerEntry,
    Posting,
    Reservation,
    SettlementAccount,
    SettlementInstruction,
)
from settlement.rails import ledger
from settlement.states import INSTRUCTION_MOVES, InstructionStatus, InstructionType
from tests.database import refused, sql
from tests.factories import AT, A, B, C, balances, funded, issue_leg, participant

pytestmark = pytest.mark.django_db

INSERT_ENTRIES = "INSERT INTO settlement_ledgerentry (posting_id, account_id, amount_minor) VALUES "


def account(code: str, currency: str = "USD") -> SettlementAccount:
    return SettlementAccount.objects.get(participant__code=code, currency__code=currency)


def posting() -> Posting:
    return Posting.objects.create(id=uuid4(), kind="Settlement", reference="by hand", posted_at=AT)


def enter(*entries: tuple[SettlementAccount, int]) -> None:
    """Write the entries of one new posting in one statement."""
    made = posting()
    values = [value for held, amount in entries for value in (made.pk, held.pk, amount)]
    sql(INSERT_ENTRIES + ", ".join(["(%s, %s, %s)"] * len(entries)), *values)


@pytest.mark.parametrize("amounts", [(-100, 99), (-100, 101), (100, 100)])
def test_an_unbalanced_posting_is_refused(amounts: tuple[int, int]) -> None:
    funded(A, USD=1000)
    funded(B, USD=1000)

    with refused("posting_balances"):
        enter((account(A), amounts[0]), (account(B), amounts[1]))

    assert balances(A) == balances(B) == {"USD": (1000, 0)}


def test_a_posting_of_one_side_is_refused() -> None:
    funded(A, USD=1000)

    with refused("posting_balances"):
        enter((account(A), 100))


def test_a_posting_across_two_currencies_is_refused() -> None:
    funded(A, USD=1000)
    funded(B, EUR=1000)

    with refused("posting_balances"):
        enter((account(A), -100), (account(B, "EUR"), 100))


def test_an_entry_added_to_a_balanced_posting_later_is_refused() -> None:
    funded(A, USD=1000)
    funded(B, USD=0)
    funded(C, USD=0)
    enter((account(A), -100), (account(B), 100))

    with refused("posting_balances"):
        sql(INSERT_ENTRIES + "(%s, %s, 1)", Posting.objects.latest("posted_at").pk, account(C).pk)


def test_an_entry_of_zero_and_a_second_entry_on_the_same_account_are_refused() -> None:
    funded(A, USD=1000)
    funded(B, USD=1000)

    with refused("entry_not_zero"):
        enter((account(A), 0), (account(B), 0))
    with refused("one_entry_per_account"):
        enter((account(A), 100), (account(A), -100))


@pytest.mark.parametrize("column", ["balance_minor", "reserved_minor", "participant_id", "currency_id"])
def test_a_balance_or_its_owner_changed_by_hand_is_refused(column: str) -> None:
    funded(A, USD=1000)

    with refused("balance_from_entries"):
        sql(f"UPDATE settlement_settlementaccount SET {column} = {column} + 1 WHERE id = %s", account(A).pk)


def test_an_account_opened_with_a_balance_is_refused() -> None:
    member = participant(A)

    with refused("balance_from_entries"):
        sql(
            "INSERT INTO settlement_settlementaccount (participant_id, currency_id, balance_minor)"
            " VALUES (%s, 840, 1)",
            member.pk,
        )


@pytest.mark.parametrize("table", ["settlement_posting", "settlement_ledgerentry"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_the_ledger_is_never_changed_or_deleted(table: str, change: str) -> None:
    funded(A, USD=1000)

    with refused("append_only"):
        sql(change.format(table))

    assert LedgerEntry.objects.count() == 2


def test_a_balance_below_the_floor_is_refused() -> None:
    funded(A, USD=1000)
    funded(B, USD=0)

    enter((account(A), -1000), (account(B), 1000))
    with refused("funds_cover_reservations"):
        enter((account(A), -1), (account(B), 1))


def test_money_set_aside_is_not_spent_for_anything_else() -> None:
    funded(A, USD=1000)
    funded(B, USD=0)
    Reservation.objects.create(batch_id=uuid4(), account=account(A), amount_minor=700)

    enter((account(A), -300), (account(B), 300))
    with refused("funds_cover_reservations"):
        enter((account(A), -1), (account(B), 1))


def test_a_reservation_beyond_the_funds_is_refused() -> None:
    funded(A, USD=1000)

    with refused("funds_cover_reservations"):
        Reservation.objects.create(batch_id=uuid4(), account=account(A), amount_minor=1001)


def test_a_reservation_is_positive_fixed_and_one_per_batch_and_account() -> None:
    funded(A, USD=1000)
    held = Reservation.objects.create(batch_id=uuid4(), account=account(A), amount_minor=10)

    with refused("append_only"):
        sql("UPDATE settlement_reservation SET amount_minor = 1 WHERE id = %s", held.pk)
    with refused("one_reservation_per_account"):
        Reservation.objects.create(batch_id=held.batch_id, account=account(A), amount_minor=10)
    with refused("reservation_positive"):
        Reservation.objects.create(batch_id=uuid4(), account=account(A), amount_minor=-10)

    assert balances(A) == {"USD": (1000, 10)}


@pytest.mark.parametrize(
    "change",
    [
        "amount_minor = amount_minor + 1",
        "payer_id = payee_id, payee_id = payer_id",
        "currency_id = 978",
        "batch_id = gen_random_uuid()",
        "id = gen_random_uuid()",
        "instruction_type = 'GrossSettlement'",
    ],
)
def test_the_order_of_an_instruction_never_changes(change: str) -> None:
    issue_leg(uuid4(), funded(A, USD=1000), funded(B, USD=0), 100)

    with refused("append_only"):
        sql(f"UPDATE settlement_settlementinstruction SET {change}")


@pytest.mark.parametrize("status", [InstructionStatus.COMPLETED, InstructionStatus.FAILED])
def test_nothing_of_a_final_instruction_changes(status: InstructionStatus) -> None:
    leg = issue_leg(uuid4(), funded(A, USD=1000), funded(B, USD=0), 100)
    move(leg, to=status, moves=INSTRUCTION_MOVES, settled_at=AT)

    with refused("append_only"):
        sql("UPDATE settlement_settlementinstruction SET priority = 1")


@pytest.mark.parametrize(
    "status", [InstructionStatus.IN_PROGRESS, InstructionStatus.COMPLETED, InstructionStatus.FAILED]
)
def test_an_instruction_that_was_sent_is_neither_deleted_nor_withdrawn(status: InstructionStatus) -> None:
    leg = issue_leg(uuid4(), funded(A, USD=1000), funded(B, USD=0), 100)
    move(leg, to=status, moves=INSTRUCTION_MOVES, settled_at=AT)

    with refused("append_only"):
        sql("DELETE FROM settlement_settlementinstruction")
    with pytest.raises(BatchUnderway):
        instructions.withdraw(leg.batch_id)

    assert SettlementInstruction.objects.filter(pk=leg.pk).exists()


def test_an_instruction_of_nothing_or_to_oneself_or_twice_is_refused() -> None:
    payer, payee, batch_id = funded(A, USD=1000), funded(B, USD=0), uuid4()
    issue_leg(batch_id, payer, payee, 100)

    with refused("instruction_amount_positive"):
        issue_leg(uuid4(), payer, payee, 0)
    with refused("instruction_two_parties"):
        issue_leg(uuid4(), payer, payer, 100)
    with refused("one_instruction_per_pair"):
        issue_leg(batch_id, payer, payee, 100)


def test_completed_needs_its_moment() -> None:
    issue_leg(uuid4(), funded(A, USD=1000), funded(B, USD=0), 100)

    with refused("settled_has_moment"):
        sql("UPDATE settlement_settlementinstruction SET status = 'Completed'")


def test_issuing_a_batch_twice_adds_nothing_and_withdrawing_it_takes_all_of_it() -> None:
    agent, payer, payee, batch_id = participants.agent(), funded(A, USD=9), funded(B, USD=0), uuid4()
    legs = [Leg(840, payer.pk, agent.pk, 9), Leg(840, agent.pk, payee.pk, 9)]

    written = [instructions.issue(batch_id, legs, instruction_type=InstructionType.NET) for _ in range(2)]
    assert written == [2, 0]
    assert SettlementInstruction.objects.count() == 2

    instructions.withdraw(batch_id)
    instructions.withdraw(batch_id)
    assert not SettlementInstruction.objects.exists()


def test_a_batch_with_a_party_without_an_account_is_refused_whole() -> None:
    agent, payer, payee = participants.agent(), funded(A, USD=9), funded(B, EUR=0)
    legs = [Leg(840, payer.pk, agent.pk, 9), Leg(840, agent.pk, payee.pk, 9)]

    with pytest.raises(AccountMissing) as refusal:
        instructions.issue(uuid4(), legs, instruction_type=InstructionType.NET)

    assert refusal.value.details == {"participant": B, "currency": "USD"}
    assert not SettlementInstruction.objects.exists()


def settling_batch() -> SettlementInstruction:
    """Issue and reserve: A pays 60, B pays 40, C receives 100, all through the agent; return one of it."""
    agent, batch_id = participants.agent(), uuid4()
    payers = [(funded(A, USD=60), 60), (funded(B, USD=100), 40)]
    legs = [Leg(840, payer.pk, agent.pk, amount) for payer, amount in payers]
    legs.append(Leg(840, agent.pk, funded(C, USD=0).pk, 100))
    instructions.issue(batch_id, legs, instruction_type=InstructionType.NET)
    accounts.reserve(batch_id)
    return SettlementInstruction.objects.filter(batch_id=batch_id).earliest("pk")


def test_settling_moves_each_instruction_once_and_leaves_the_agent_at_zero() -> None:
    batch_id = settling_batch().batch_id

    assert ledger.settle(batch_id, at=AT) == 3
    assert ledger.settle(batch_id, at=AT) == 0

    assert [balances(code)["USD"] for code in (A, B, C, "AGENT")] == [(0, 0), (60, 0), (100, 0), (0, 0)]
    assert set(SettlementInstruction.objects.values_list("status", flat=True)) == {"Completed"}
    assert Posting.objects.filter(kind="Settlement").count() == 3


def test_an_instruction_is_posted_once_whoever_tries() -> None:
    leg = settling_batch()
    ledger.settle(leg.batch_id, at=AT)

    with refused("settlement_posting_pkey"):
        sql(
            "INSERT INTO settlement_posting (id, kind, reference, posted_at)"
            " VALUES (%s, 'Settlement', 'again', now())",
            leg.pk,
        )


def test_balances_are_the_sum_of_their_entries_and_the_ledger_sums_to_zero() -> None:
    ledger.settle(settling_batch().batch_id, at=AT)

    for held in SettlementAccount.objects.annotate(total=Sum("entries__amount_minor")):
        assert held.balance_minor == (held.total or 0)
    assert LedgerEntry.objects.aggregate(total=Sum("amount_minor"))["total"] == 0
