"""Laws of money: whatever is owed, none is made, lost or moved to whom it is not owed."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearing import operations, windows
from clearing.models import AtomicOperation, FrozenSet, MultilateralPosition
from clearing.states import NettingMode, OperationStatus, Transfers, WindowStatus
from settlement.models import LedgerEntry, SettlementAccount, SettlementInstruction
from tests.database import sql
from tests.factories import AT, closed, funded, obligation, running, settled, snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("funds")]

CODES = ("BANK-A", "BANK-B", "BANK-C", "BANK-D", "BANK-E")
CURRENCIES = ("USD", "JPY", "BHD")
FUNDS = 10**9
Owed = tuple[str, str, str, int]

debts = st.tuples(
    st.sampled_from(CODES),
    st.sampled_from(CODES),
    st.sampled_from(CURRENCIES),
    st.one_of(st.integers(1, 20), st.integers(1, 10**7)),
).filter(lambda owed: owed[0] != owed[1])
sets_of_debts = st.lists(debts, max_size=25)
modes = st.sampled_from(
    [
        (NettingMode.MULTILATERAL, Transfers.AGENT),
        (NettingMode.MULTILATERAL, Transfers.DIRECT),
        (NettingMode.BILATERAL, Transfers.AGENT),
        (NettingMode.CONSERVATIVE, Transfers.AGENT),
        (NettingMode.GROSS, Transfers.AGENT),
    ]
)
examples = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def funds() -> None:
    """Fund every participant once for all examples of a test."""
    for code in CODES:
        funded(code, **dict.fromkeys(CURRENCIES, FUNDS))


@contextmanager
def forgotten() -> Iterator[None]:
    """Undo what one example wrote."""
    with transaction.atomic():
        yield
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True)


def nets(owed: list[Owed]) -> dict[tuple[str, str], int]:
    """What each participant ends with by currency, computed the plain way."""
    net: Counter[tuple[str, str]] = Counter()
    for payer, payee, currency, amount in owed:
        net[payer, currency] -= amount
        net[payee, currency] += amount
    return {key: amount for key, amount in net.items() if amount}


def held() -> dict[tuple[str, str], int]:
    rows = SettlementAccount.objects.values_list("participant__code", "currency__code", "balance_minor")
    return {(code, currency): balance for code, currency, balance in rows}


def ledger_total() -> int:
    return int(LedgerEntry.objects.aggregate(total=Sum("amount_minor"))["total"])


@examples
@given(sets_of_debts, modes)
def test_settling_changes_each_balance_by_exactly_what_is_owed(
    owed: list[Owed], mode: tuple[NettingMode, Transfers]
) -> None:
    with forgotten():
        before = held()

        operation = settled(
            closed(
                *[obligation(payer, payee, amount, currency) for payer, payee, currency, amount in owed],
                netting_mode=mode[0],
                transfers=mode[1],
            )
        )

        after, net = held(), nets(owed)
        assert {
            key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)
        } == net
        assert all(after.get(("AGENT", currency), 0) == 0 for currency in CURRENCIES)
        assert ledger_total() == 0
        assert sum(after.values()) == sum(before.values())
        assert not sql("SELECT FROM settlement_settlementaccount WHERE reserved_minor <> 0")
        assert positions(operation) == net
        assert frozen(operation) == gross(owed)
        assert windows.get(operation.window_id).status == WindowStatus.COMPLETED


@examples
@given(sets_of_debts, modes, st.integers(0, 4))
def test_rolling_back_changes_nothing(
    owed: list[Owed], mode: tuple[NettingMode, Transfers], applied: int
) -> None:
    with forgotten():
        shut = closed(
            *[obligation(payer, payee, amount, currency) for payer, payee, currency, amount in owed],
            netting_mode=mode[0],
            transfers=mode[1],
        )
        before = snapshot()

        operation = operations.roll_back(running(shut, applied=applied).pk, at=AT, reason="law")

        assert operation.status == OperationStatus.ROLLED_BACK
        assert snapshot() == before


@examples
@given(sets_of_debts, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_position_and_no_instruction(
    owed: list[Owed], shuffle: object
) -> None:
    found = []
    for turn in range(2):
        with forgotten():
            if turn:
                shuffle.shuffle(owed)  # type: ignore[attr-defined]
            shut = closed(*[obligation(payer, payee, amount, code) for payer, payee, code, amount in owed])
            operation = running(shut, applied=4)
            legs = SettlementInstruction.objects.filter(batch_id=operation.pk)
            columns = ("currency__code", "payer__code", "payee__code", "amount_minor")
            found.append((positions(operation), sorted(legs.values_list(*columns))))

    assert found[0] == found[1]


def positions(operation: AtomicOperation) -> dict[tuple[str, str], int]:
    rows = MultilateralPosition.objects.filter(operation=operation).exclude(net_minor=0)
    return {
        (code, currency): net
        for code, currency, net in rows.values_list("participant__code", "currency__code", "net_minor")
    }


def frozen(operation: AtomicOperation) -> dict[str, tuple[int, int]]:
    rows = FrozenSet.objects.filter(operation=operation)
    return {row.currency.code: (row.obligations_count, row.gross_minor) for row in rows}


def gross(owed: list[Owed]) -> dict[str, tuple[int, int]]:
    """Count and sum by currency, computed the plain way."""
    amounts: dict[str, list[int]] = defaultdict(list)
    for _, _, currency, amount in owed:
        amounts[currency].append(amount)
    return {currency: (len(each), sum(each)) for currency, each in amounts.items()}
