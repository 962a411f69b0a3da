"""Who clears in a benchmark, and what they owe each other: 200 members, six currencies, a core, a rim."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final
from uuid import uuid4

import numpy as np
from django.db import transaction
from django.utils import timezone

from bench.netting_networks import core_periphery
from clearing import obligations, windows
from clearing.models import ClearingWindow
from clearing.obligations import BATCH_MAX, OutcomeStatus, Submission
from clearing.obligations.items import OPERATOR_SCOPE
from clearing.states import Region
from netting import money
from netting.model import Ints
from settlement import participants
from settlement.models import Currency, LedgerEntry, Participant, Posting, SettlementAccount
from settlement.states import PostingKind

MEMBERS: Final = 200
SHARES: Final = {"USD": 0.5, "EUR": 0.25, "GBP": 0.1, "JPY": 0.07, "CHF": 0.05, "BHD": 0.03}
FUNDS_MINOR: Final = 10**15
CLEARED: Final = Region.AMERICAS  # opens by hand: closing a window opens no other
ACCEPTING: Final = Region.ASIA_PACIFIC  # by hand as well: takes intake while the other one is cleared

_runs = count(1)


@dataclass(frozen=True, slots=True)
class Day:
    """Obligations as they are sent, in order; references are unlike those of any other day."""

    submissions: list[Submission]

    def batches(self) -> Iterator[list[Submission]]:
        """Cut the day into calls of the largest size that is taken."""
        for start in range(0, len(self.submissions), BATCH_MAX):
            yield self.submissions[start : start + BATCH_MAX]


def code(member: int) -> str:
    """Return the code of the member with this number."""
    return f"BENCH{member:04}"


@transaction.atomic
def found(*, at: datetime) -> None:
    """Register every member, with an account in every currency that no window can exhaust."""
    members = Participant.objects.bulk_create(
        Participant(code=code(number), name=f"Member {number}", country="BE") for number in range(MEMBERS)
    )
    source = participants.funding_source()
    for currency in Currency.objects.filter(code__in=SHARES):
        giver = SettlementAccount.objects.create(participant=source, currency=currency, floor_minor=None)
        accounts = SettlementAccount.objects.bulk_create(
            SettlementAccount(participant=member, currency=currency) for member in members
        )
        postings = Posting.objects.bulk_create(
            Posting(id=uuid4(), kind=PostingKind.FUNDING, reference=f"prefunding {account.pk}", posted_at=at)
            for account in accounts
        )
        LedgerEntry.objects.bulk_create(
            LedgerEntry(posting=posting, account=account, amount_minor=amount)
            for posting, receiver in zip(postings, accounts, strict=True)
            for account, amount in ((giver, -FUNDS_MINOR), (receiver, FUNDS_MINOR))
        )


def day(size: int) -> Day:
    """Draw *size* obligations: always the same network, with references of its own each time."""
    payers, payees, amounts = _among_members(*core_periphery(size))
    chosen = np.random.default_rng(size).choice(len(SHARES), size, p=list(SHARES.values()))
    names, codes, run = list(SHARES), [code(number) for number in range(MEMBERS)], next(_runs)
    columns = (payers.tolist(), payees.tolist(), amounts.tolist(), chosen.tolist())
    return Day(
        [
            Submission(
                reference=f"bench-{run}-{line}",
                payer=codes[payer],
                payee=codes[payee],
                currency=names[place],
                amount=money.format_minor(amount, names[place]),
            )
            for line, (payer, payee, amount, place) in enumerate(zip(*columns, strict=True))
        ]
    )


def open_window(region: Region = CLEARED) -> ClearingWindow:
    """Open a window by hand, once the one before it is closed."""
    return windows.open_window(region, at=timezone.now(), reason="benchmark")


def submit(batch: list[Submission], region: Region = CLEARED) -> None:
    """Send one call through the intake into the region's open window; all of it must be new and right."""
    intake = obligations.submit(
        batch, region=region, submitter=OPERATOR_SCOPE, at=timezone.now(), all_or_nothing=True
    )
    assert intake.count(OutcomeStatus.ACCEPTED) == len(batch)


def _among_members(payers: Ints, payees: Ints, amounts: Ints) -> tuple[Ints, Ints, Ints]:
    """Fold the network onto the members, the core onto the first of them; none owes itself."""
    people = int(max(payers.max(), payees.max())) + 1
    payers, payees = payers * MEMBERS // people, payees * MEMBERS // people
    return payers, np.where(payers == payees, (payees + 1) % MEMBERS, payees), amounts
