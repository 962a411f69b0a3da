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

_days = count(1)


@dataclass(frozen=True, slots=True)
class Day:
    """
    Obligations of one day, in columns; their references are unlike those of any other day.

    They become submissions batch by batch, as they do at a door: a million in memory at once would make
    Python's garbage collector the slowest part of whatever is measured beside them.
    """

    number: int
    payers: Ints
    payees: Ints
    amounts: Ints
    currencies: Ints

    def batches(self) -> Iterator[list[Submission]]:
        """Yield the day in calls of the largest size that is taken."""
        for start in range(0, len(self.amounts), BATCH_MAX):
            yield list(self.submissions(start, start + BATCH_MAX))

    def submissions(self, start: int, end: int) -> Iterator[Submission]:
        """Yield the obligations from *start* up to *end* as they are sent."""
        names, codes = list(SHARES), [code(number) for number in range(MEMBERS)]
        columns = (self.payers, self.payees, self.amounts, self.currencies)
        lines = zip(*(column[start:end].tolist() for column in columns), strict=True)
        for line, (payer, payee, amount, place) in enumerate(lines, start=start):
            yield Submission(
                reference=f"bench-{self.number}-{line}",
                payer=codes[payer],
                payee=codes[payee],
                currency=names[place],
                amount=money.format_minor(amount, names[place]),
            )


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
    chosen = np.random.default_rng(size).choice(len(SHARES), size, p=list(SHARES.values()))
    return Day(next(_days), *_among_members(*core_periphery(size)), chosen)


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
