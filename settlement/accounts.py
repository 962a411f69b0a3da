"""Open, fund and reserve: what happens to accounts before money moves between participants."""

from datetime import datetime
from uuid import UUID, uuid5

from django.db import IntegrityError, connection, transaction

from clearing_project.errors import Conflict, Invalid
from netting import money
from settlement import participants
from settlement.models import LedgerEntry, Posting, SettlementAccount
from settlement.states import PostingKind

REFERENCE_MAX = 140
FUNDING_NAMESPACE = UUID("6f3d2f0a-3e5b-4b57-9a51-0c9a4a6c2f10")


class InsufficientFunds(Conflict):
    """A payer's account does not cover what the batch asks of it."""

    code = "insufficient_funds"
    fields = ("participant", "currency", "required", "available", "short_accounts")
    message = (
        "{participant} needs {required} {currency} and has {available} available"
        " ({short_accounts} account(s) short in all)."
    )


class AccountMissing(Conflict):
    """A party of an instruction has no account in its currency."""

    code = "account_missing"
    fields = ("participant", "currency")
    message = "{participant} has no settlement account in {currency}."


class FundingDiffers(Conflict):
    """The funding reference was used before with another account or amount."""

    code = "funding_reference_conflict"
    fields = ("reference",)
    message = "Funding reference {reference} was already posted with another account or amount."


class FundingNotPositive(Invalid):
    """Funding adds money; an amount of zero or less is no funding."""

    code = "amount_not_positive"
    fields = ("amount_minor",)
    message = "Funding must be above zero, not {amount_minor} minor units."


class FundingInvalid(Invalid):
    """The amount or the reference does not fit a posting."""

    code = "funding_invalid"
    fields = ("amount_minor", "reference_length")
    message = (
        "Funding takes at most 9223372036854775807 minor units and a reference of 1 to 140 characters,"
        " not {amount_minor} and {reference_length}."
    )


def open_account(participant_code: str, currency_code: str) -> SettlementAccount:
    """
    Open the participant's account in a currency; an open one is returned as it is.

    Raises:
        UnknownParticipant, UnknownCurrency
    """
    account, _ = SettlementAccount.objects.get_or_create(
        participant=participants.get(participant_code), currency=participants.currency(currency_code)
    )
    return account


@transaction.atomic
def fund(
    participant_code: str, currency_code: str, *, amount_minor: int, reference: str, at: datetime
) -> Posting:
    """
    Credit a participant's account from the funding source; once per *reference*.

    Raises:
        FundingNotPositive, FundingInvalid, UnknownParticipant, UnknownCurrency
        FundingDiffers: the reference was used for something else.
    """
    if amount_minor <= 0:
        raise FundingNotPositive(amount_minor)
    if amount_minor > money.AMOUNT_MAX or not 0 < len(reference) <= REFERENCE_MAX:
        raise FundingInvalid(amount_minor, len(reference))
    account = open_account(participant_code, currency_code)
    source, _ = SettlementAccount.objects.get_or_create(
        participant=participants.funding_source(),
        currency=account.currency,
        defaults={"floor_minor": None},
    )
    key = uuid5(FUNDING_NAMESPACE, reference)
    try:
        with transaction.atomic():
            posting = Posting.objects.create(
                id=key, kind=PostingKind.FUNDING, reference=reference, posted_at=at
            )
    except IntegrityError:
        posted = LedgerEntry.objects.filter(posting_id=key, account=account, amount_minor=amount_minor)
        if not posted.exists():
            raise FundingDiffers(reference) from None
        return Posting.objects.get(pk=key)
    LedgerEntry.objects.bulk_create(
        [
            LedgerEntry(posting=posting, account=source, amount_minor=-amount_minor),
            LedgerEntry(posting=posting, account=account, amount_minor=amount_minor),
        ]
    )
    return posting


@transaction.atomic
def reserve(batch_id: UUID, *, gross: bool = False) -> None:
    """
    Set aside, on each account, what the batch will take from it; all of it or nothing.

    A batch that settles as a whole takes what an account pays less what it receives. One whose
    instructions are executed one by one, in any order, takes *gross* all that an account pays.

    Locks the payers' accounts in key order, so two batches never wait for each other in a circle.

    Raises:
        InsufficientFunds: names the first account short, in order of participant and currency.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK_PAYERS, {"batch": batch_id, "agent": participants.agent().pk, "gross": gross})
        due = cursor.fetchall()
        short = [row for row in due if row[4] is not None and row[3] > row[4]]
        if short:
            _, participant, currency, required, available = min(short, key=lambda row: row[1:3])
            raise InsufficientFunds(
                participant,
                currency,
                money.format_minor(int(required), currency),
                money.format_minor(int(available), currency),
                len(short),
            )
        cursor.execute(
            "INSERT INTO settlement_reservation (batch_id, account_id, amount_minor)"
            " SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[])",
            [batch_id, [row[0] for row in due], [int(row[3]) for row in due]],
        )


def release(batch_id: UUID) -> None:
    """Give back what was set aside for the batch; nothing set aside, nothing done."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM settlement_reservation WHERE batch_id = %s", [batch_id])


# The agent is left out: it pays only what the payers have paid in, in the same statement.
LOCK_PAYERS = """
    WITH due AS (
        SELECT side.participant_id, instruction.currency_id, sum(side.amount_minor) AS amount_minor
        FROM settlement_settlementinstruction instruction
        CROSS JOIN LATERAL (VALUES
            (instruction.payer_id, instruction.amount_minor),
            (instruction.payee_id, -instruction.amount_minor)
        ) AS side (participant_id, amount_minor)
        WHERE instruction.batch_id = %(batch)s AND side.participant_id <> %(agent)s
          AND (side.amount_minor > 0 OR NOT %(gross)s)
        GROUP BY side.participant_id, instruction.currency_id
        HAVING sum(side.amount_minor) > 0
    )
    SELECT account.id, participant.code, currency.code, due.amount_minor,
           account.balance_minor::numeric - account.reserved_minor - account.floor_minor
    FROM due
    JOIN settlement_settlementaccount account
      ON account.participant_id = due.participant_id AND account.currency_id = due.currency_id
    JOIN settlement_participant participant ON participant.id = due.participant_id
    JOIN settlement_currency currency ON currency.id = due.currency_id
    ORDER BY account.id
    FOR UPDATE OF account
"""
