"""Funding and reserving: what happens to accounts before money moves between participants."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from netting import money
from settlement import accounts, participants
from settlement.accounts import FundingDiffers, FundingNotPositive, InsufficientFunds
from settlement.models import LedgerEntry, Posting, Reservation, SettlementAccount
from settlement.participants import ParticipantDiffers, UnknownCurrency, UnknownParticipant
from settlement.rails import ledger
from tests.database import together
from tests.factories import AT, A, B, C, balances, funded, issue_leg, participant

pytestmark = pytest.mark.django_db


def fund(reference: str, amount_minor: int = 500, *, code: str = A, currency: str = "USD") -> Posting:
    return accounts.fund(code, currency, amount_minor=amount_minor, reference=reference, at=AT)


def batch_of(*legs: tuple[str, str, int, str]) -> UUID:
    """Issue legs such as (payer, payee, minor units, currency) as one batch."""
    batch_id = uuid4()
    for payer, payee, amount_minor, currency in legs:
        issue_leg(batch_id, participant(payer), participant(payee), amount_minor, currency=currency)
    return batch_id


def test_funding_credits_the_account_and_debits_the_source() -> None:
    participant(A)

    fund("first", 700)

    assert balances(A) == {"USD": (700, 0)}
    assert balances("FUNDING") == {"USD": (-700, 0)}


def test_funding_the_same_reference_again_adds_nothing() -> None:
    participant(A)
    first = fund("wire-1")

    again = fund("wire-1")

    assert again.pk == first.pk
    assert balances(A) == {"USD": (500, 0)}
    assert LedgerEntry.objects.count() == 2


@pytest.mark.parametrize(
    "change",
    [{"amount_minor": 501}, {"code": B}, {"currency": "EUR"}],
    ids=["amount", "participant", "currency"],
)
def test_a_funding_reference_used_for_something_else_is_refused(change: dict[str, object]) -> None:
    funded(A, EUR=0)
    funded(B, USD=0)
    fund("wire-1")

    with pytest.raises(FundingDiffers) as refusal:
        fund("wire-1", **change)  # type: ignore[arg-type]

    assert refusal.value.details == {"reference": "wire-1"}
    assert balances(A) == {"USD": (500, 0), "EUR": (0, 0)}
    assert balances(B) == {"USD": (0, 0)}


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_funding_of_nothing_or_less_is_refused(amount_minor: int) -> None:
    participant(A)

    with pytest.raises(FundingNotPositive):
        fund("wire-1", amount_minor)

    assert not Posting.objects.exists()


def test_funding_an_unknown_participant_or_currency_is_refused() -> None:
    participant(A)

    with pytest.raises(UnknownParticipant):
        fund("wire-1", code="NOBODY")
    with pytest.raises(UnknownParticipant):
        fund("wire-1", code="AGENT")
    with pytest.raises(UnknownCurrency):
        fund("wire-1", currency="XAF")

    assert not Posting.objects.exists()


def test_registering_a_code_for_another_name_is_refused() -> None:
    participant(A)

    with pytest.raises(ParticipantDiffers):
        participants.register(A, name="Another bank", country="BE")


def test_a_reservation_sets_funds_aside_and_release_gives_them_back() -> None:
    funded(A, USD=1000)
    funded(B, USD=0)
    batch_id = batch_of((A, B, 300, "USD"))

    accounts.reserve(batch_id)
    assert balances(A) == {"USD": (1000, 300)}

    accounts.release(batch_id)
    accounts.release(batch_id)
    assert balances(A) == {"USD": (1000, 0)}


def test_insufficient_funds_names_participant_currency_required_and_available() -> None:
    funded(A, USD=1_000_00, JPY=50)
    funded(B, JPY=10)
    funded(C, USD=0, JPY=0)
    accounts.reserve(batch_of((A, C, 600_00, "USD")))
    batch_id = batch_of((A, C, 500_00, "USD"), (A, C, 51, "JPY"), (B, C, 10, "JPY"))

    with pytest.raises(InsufficientFunds) as refusal:
        accounts.reserve(batch_id)

    assert refusal.value.details == {
        "participant": A,
        "currency": "JPY",
        "required": "51",
        "available": "50",
        "short_accounts": 2,
    }
    assert str(refusal.value) == "BANK-A needs 51 JPY and has 50 available (2 account(s) short in all)."
    assert not Reservation.objects.filter(batch_id=batch_id).exists()
    assert balances(B) == {"JPY": (10, 0)}


def test_what_is_reserved_for_one_batch_is_not_available_to_another() -> None:
    funded(A, USD=1_000_00)
    funded(B, USD=0)
    accounts.reserve(batch_of((A, B, 600_00, "USD")))

    with pytest.raises(InsufficientFunds) as refusal:
        accounts.reserve(batch_of((A, B, 400_01, "USD")))

    assert refusal.value.details["required"] == "400.01"
    assert refusal.value.details["available"] == "400.00"


def test_a_floor_below_zero_is_credit_and_one_above_zero_stays_untouched() -> None:
    funded(A, USD=100)
    funded(B, USD=100)
    funded(C, USD=0)
    SettlementAccount.objects.filter(participant__code=A).update(floor_minor=-50)
    SettlementAccount.objects.filter(participant__code=B).update(floor_minor=50)

    accounts.reserve(batch_of((A, C, 150, "USD"), (B, C, 50, "USD")))

    for code, one_more in ((A, 1), (B, 1)):
        with pytest.raises(InsufficientFunds):
            accounts.reserve(batch_of((code, C, one_more, "USD")))


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_batches_that_reserve_at_once_neither_overdraw_nor_deadlock() -> None:
    codes = [f"BANK-{number}" for number in range(6)]
    for code in codes:
        funded(code, USD=1000)
    forward = [(code, "BANK-SINK", 400, "USD") for code in codes]
    batches = [batch_of(*(forward if turn % 2 else forward[::-1])) for turn in range(6)]

    outcomes = together(*[lambda batch=batch: accounts.reserve(batch) for batch in batches])

    refusals = [outcome for outcome in outcomes if outcome is not None]
    assert len(refusals) == 4
    assert all(isinstance(refusal, InsufficientFunds) for refusal in refusals), refusals
    assert {balances(code)["USD"] for code in codes} == {(1000, 800)}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_funding_of_one_currency_at_once_neither_deadlocks_nor_loses() -> None:
    codes = [f"BANK-{number}" for number in range(4)]
    for code in codes:
        funded(code, USD=0)
    calls = [(code, turn) for turn in range(3) for code in codes]

    outcomes = together(
        *[lambda code=code, turn=turn: fund(f"{code}-{turn}", code=code) for code, turn in calls]
    )

    assert all(isinstance(outcome, Posting) for outcome in outcomes), outcomes
    assert {balances(code)["USD"] for code in codes} == {(1500, 0)}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_one_funding_reference_at_once_is_posted_once() -> None:
    funded(A, USD=0)

    outcomes = together(*[lambda: fund("wire-1")] * 6)

    assert all(isinstance(outcome, Posting) for outcome in outcomes), outcomes
    assert balances(A) == {"USD": (500, 0)}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_settling_and_reserving_at_once_neither_deadlock_nor_overdraw() -> None:
    codes = [f"BANK-{number}" for number in range(4)]
    for code in codes:
        funded(code, USD=1000)
    funded("BANK-SINK", USD=0)
    ring = [(code, "BANK-SINK", 300, "USD") for code in codes]
    held = [batch_of(*ring), batch_of(*ring[::-1])]
    for batch in held:
        accounts.reserve(batch)
    fresh = [batch_of(*ring[turn:], *ring[:turn]) for turn in range(3)]

    outcomes = together(
        *[lambda batch=batch: ledger.settle(batch, at=AT + timedelta(hours=1)) for batch in held],
        *[lambda batch=batch: accounts.reserve(batch) for batch in fresh],
    )

    assert outcomes[:2] == [4, 4]
    assert all(outcome is None or isinstance(outcome, InsufficientFunds) for outcome in outcomes[2:]), (
        outcomes
    )
    assert outcomes[2:].count(None) == 1
    assert {balances(code)["USD"] for code in codes} == {(400, 300)}
    assert balances("BANK-SINK")["USD"] == (2400, 0)


def test_amounts_reach_the_largest_64_bit_number_and_not_beyond() -> None:
    participant(A)
    SettlementAccount.objects.get_or_create(
        participant=participants.funding_source(),
        currency=participants.currency("USD"),
        defaults={"floor_minor": None},
    )

    fund("all of it", money.AMOUNT_MAX)

    assert balances(A) == {"USD": (money.AMOUNT_MAX, 0)}
