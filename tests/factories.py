"""
Participants with funded accounts, a window, obligations through the real intake, a run in process.

Every field is filled; a test names only those it is about. Nothing here sends a task.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from clearing import finality, operations, steps, windows
from clearing.checkpoints import STEPS, netting_calculated
from clearing.models import (
    AtomicOperation,
    BilateralPosition,
    ClearingWindow,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
    Obligation,
    ResidualPair,
)
from clearing.obligations import Intake, Submission, submit
from clearing.states import OperationType, Region
from netting import money
from settlement import accounts, participants
from settlement.models import (
    LedgerEntry,
    Participant,
    Posting,
    Reservation,
    SettlementAccount,
    SettlementInstruction,
)

AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
BY_HAND = Region.AMERICAS  # its schedule is disabled, so closing a window opens no other
A, B, C = "BANK-A", "BANK-B", "BANK-C"
DAY = """
    BANK-A owes BANK-B 500 USD
    BANK-B owes BANK-C 300 USD
    BANK-C owes BANK-A 400 JPY
"""

_numbers = count(1)


def participant(code: str = A) -> Participant:
    """Register a member without accounts; a registered one is returned."""
    return participants.register(code, name=f"The {code}", country="BE")


def funded(code: str = A, **balances_minor: int) -> Participant:
    """Register a member with an account and a balance in each currency, such as ``USD=500_00``."""
    member = participant(code)
    for currency, balance_minor in balances_minor.items():
        accounts.open_account(code, currency)
        if balance_minor:
            reference = f"prefunding-{next(_numbers)}"
            accounts.fund(code, currency, amount_minor=balance_minor, reference=reference, at=AT)
    return member


def circle(balance_minor: int = 1_000_00, *, codes: Iterable[str] = (A, B, C)) -> list[Participant]:
    """Register members that all have the same balance in USD, EUR, JPY and BHD."""
    return [funded(code, **dict.fromkeys(("USD", "EUR", "JPY", "BHD"), balance_minor)) for code in codes]


def window(region: Region = BY_HAND, *, opens_at: datetime | None = None, **fields: Any) -> ClearingWindow:
    """Open a window for six hours; each opens a minute after the region's last one has ended."""
    last = ClearingWindow.objects.filter(region=region).order_by("-opens_at").first()
    ended_at = min(last.closing_at or last.cutoff_at, last.cutoff_at) if last else AT
    opens_at = opens_at or max(ended_at, last.opens_at if last else AT) + timedelta(minutes=1)
    cutoff_at = fields.pop("cutoff_at", None) or opens_at + timedelta(hours=6)
    opened = windows.open_window(region, at=opens_at, opens_at=opens_at, cutoff_at=cutoff_at, reason="test")
    if fields:
        ClearingWindow.objects.filter(pk=opened.pk).update(**fields)
        opened.refresh_from_db()
    return opened


def scheduled(like: ClearingWindow, **fields: Any) -> ClearingWindow:
    """Write a window that is scheduled and has no partition yet, past the verbs."""
    names = [field.attname for field in ClearingWindow._meta.concrete_fields if not field.primary_key]
    copied = {name: getattr(like, name) for name in names}
    return ClearingWindow.objects.create(**{**copied, "status": "Scheduled", "event_count": 0, **fields})


def obligation(
    payer: str = A, payee: str = B, amount_minor: int = 10_00, currency: str = "USD", **fields: Any
) -> Submission:
    """One obligation as it is sent; its reference is new unless named."""
    if "amount" not in fields:
        fields["amount"] = money.format_minor(amount_minor, currency)
    fields.setdefault("reference", f"ref-{next(_numbers)}")
    return Submission(payer=payer, payee=payee, currency=currency, **fields)


def take(
    *submissions: Submission,
    region: Region = BY_HAND,
    submitter: str = "OPERATOR",
    all_or_nothing: bool = True,
) -> Intake:
    """Send obligations through the intake into the region's accepting window."""
    return submit(submissions, region=region, submitter=submitter, at=AT, all_or_nothing=all_or_nothing)


def story(text: str) -> list[Submission]:
    """Read obligations one a line, such as ``BANK-A owes BANK-B 500 USD``, in minor units."""
    lines = [line.split() for line in text.strip().splitlines()]
    return [obligation(payer, payee, int(amount), currency) for payer, _, payee, amount, currency in lines]


def closed(*submissions: Submission, region: Region = BY_HAND, **fields: Any) -> ClearingWindow:
    """Open a window, send *submissions* into it and close it."""
    opened = window(region, **fields)
    if submissions:
        take(*submissions, region=region)
    return windows.close(opened, at=opened.cutoff_at, reason="test")


def running(cleared: ClearingWindow, *, applied: int = 0) -> AtomicOperation:
    """Start a clearing run of a closed window and apply its first steps, in process."""
    operation = operations.create(cleared, OperationType.WINDOW_CLEARING, reason="test")
    operations.start(operation, at=AT)
    for step in range(applied):
        apply(operation, step)
    return steps.get(operation.pk)


def apply(operation: AtomicOperation, step: int) -> bool:
    """Do step 0 to 3 as its tasks do it, the netting currency by currency before its seal."""
    module, at = STEPS[step], AT + timedelta(minutes=step)
    if module is netting_calculated:
        steps.begin(operation.pk, module.NAME, at=at)
        for currency_id in frozen_currencies(operation):
            net(operation, currency_id)
    return steps.run_step(operation.pk, module.NAME, partial(module.apply, at=at), at=at)


def net(operation: AtomicOperation, currency_id: int) -> None:
    """Net one currency of a run whose netting has begun."""
    netted = netting_calculated.compute(steps.get(operation.pk), currency_id)
    work = partial(netting_calculated.store, netted=netted)
    steps.run_part(operation.pk, netting_calculated.NAME, work)


def frozen_currencies(operation: AtomicOperation) -> list[int]:
    """List the run's frozen currencies."""
    rows = FrozenSet.objects.filter(operation=operation).order_by("currency_id")
    return list(rows.values_list("currency_id", flat=True))


def settled(cleared: ClearingWindow) -> AtomicOperation:
    """Run a closed window to its end in process."""
    operation = running(cleared, applied=4)
    finality.commit(operation.pk, at=AT)
    finality.settle(operation.pk, at=AT)
    return steps.get(operation.pk)


def balances(code: str) -> dict[str, tuple[int, int]]:
    """Balance and reserved amount of a participant by currency, in minor units."""
    rows = SettlementAccount.objects.filter(participant__code=code)
    return {
        currency: (balance, reserved)
        for currency, balance, reserved in rows.values_list(
            "currency__code", "balance_minor", "reserved_minor"
        )
    }


def issue_leg(
    batch_id: UUID, payer: Participant, payee: Participant, amount_minor: int, *, currency: str = "USD"
) -> SettlementInstruction:
    """Write one pending instruction of a batch."""
    return SettlementInstruction.objects.create(
        batch_id=batch_id,
        currency=participants.currency(currency),
        payer=payer,
        payee=payee,
        amount_minor=amount_minor,
        instruction_type="NetSettlement",
        priority=0,
        deadline_at=AT + timedelta(hours=8),
    )


def snapshot() -> dict[str, list[tuple[Any, ...]]]:
    """
    Everything that participants see, row by row, and everything that a run computes.

    Left out: what tells the story of the run itself (its window's status, events, operations).
    """
    seen: list[Any] = [
        Obligation,
        SettlementInstruction,
        Reservation,
        Posting,
        LedgerEntry,
        FrozenSet,
        GrossPair,
        NettingResult,
        MultilateralPosition,
        BilateralPosition,
        ResidualPair,
    ]
    rows = {model.__name__: list(model.objects.order_by("pk").values_list()) for model in seen}
    members = SettlementAccount.objects.filter(participant__kind="Member").order_by("pk")
    return {**rows, "SettlementAccount": list(members.values_list())}
