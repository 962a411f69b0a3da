"""Check what each item means against the directory; a fault has a code and stops only its item."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from clearing.obligations.items import Item, Submission
from clearing.obligations.placing import Place
from netting import money
from netting.errors import NettingError
from settlement.participants import Directory

REFERENCE_MAX = 64
LINK_MAX = 140
PRIORITY_MAX = 99
AHEAD_MAX = timedelta(days=36_525)
UUID_VERSION_8 = 0x8 << 76 | 0x2 << 62  # version and variant
UUID_FREE = (1 << 128) - 1 ^ (0xF << 76 | 0x3 << 62)  # all other bits


class Fault(Exception):
    """One item is wrong."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(code, message)
        self.code, self.message, self.details = code, message, details


@dataclass(frozen=True, slots=True)
class Screened:
    """Items by their place in the call, and the faults of the others."""

    items: dict[int, Item]
    faults: dict[int, Fault]


def screen(
    submissions: Sequence[Submission], directory: Directory, *, submitter: str, place: Place
) -> Screened:
    """Check every submission; what is right is ready to be stored."""
    items: dict[int, Item] = {}
    faults: dict[int, Fault] = {}
    keyed = _keyed(submitter)
    for index, submission in enumerate(submissions):
        try:
            items[index] = _item(submission, directory, keyed, place)
        except Fault as fault:
            faults[index] = fault
    return Screened(items, faults)


def key(submitter: str, reference: str) -> UUID:
    """Derive an obligation's public id: the same submitter and reference always give the same."""
    return UUID(bytes=_key(_keyed(submitter), reference))


def _item(submission: Submission, directory: Directory, keyed: blake2b, place: Place) -> Item:
    reference, link = submission.reference, submission.link
    if not 0 < len(reference) <= REFERENCE_MAX or not reference.isprintable():
        raise Fault("reference_invalid", f"A reference has 1 to {REFERENCE_MAX} printable characters.")
    payer_id = directory.active_ids.get(submission.payer)
    payee_id = directory.active_ids.get(submission.payee)
    if payer_id is None or payee_id is None:
        raise _no_party(directory, submission.payer if payer_id is None else submission.payee)
    if payer_id == payee_id:
        raise Fault("same_payer_and_payee", f"{submission.payer} cannot owe itself.")
    try:
        amount_minor = money.parse_minor(submission.amount, submission.currency)
    except NettingError as refused:
        raise Fault(refused.code, str(refused), **refused.details) from None
    currency_id = directory.currency_ids.get(submission.currency)
    if currency_id is None:
        raise Fault(
            "currency_not_enabled",
            f"Currency {submission.currency} is not cleared here.",
            currency=submission.currency,
        )
    not_before = None
    if link is not None or submission.priority or submission.not_before or submission.due_date:
        not_before = _check_options(submission, place)
    return Item(
        _key(keyed, reference),
        payer_id,
        payee_id,
        currency_id,
        amount_minor,
        submission.priority,
        submission.due_date,
        reference,
        link,
        not_before,
    )


def _no_party(directory: Directory, code: str) -> Fault:
    if code in directory.suspended:
        return Fault("participant_suspended", f"Participant {code} is suspended.", participant=code)
    return Fault("unknown_participant", f"No participant has the code {code}.", participant=code)


def _check_options(submission: Submission, place: Place) -> datetime | None:
    """Check what few items have; return the moment before which it may not be cleared."""
    if not 0 <= submission.priority <= PRIORITY_MAX:
        raise Fault("priority_out_of_range", f"A priority is within 0 to {PRIORITY_MAX}.")
    link = submission.link
    if link is not None and (len(link) > LINK_MAX or not link.isprintable()):
        raise Fault("link_invalid", f"A link has at most {LINK_MAX} printable characters.")
    not_before = _moment(submission.not_before, place) if submission.not_before else None
    latest = place.at.date() + AHEAD_MAX
    if submission.due_date is not None and submission.due_date > latest:
        raise _too_far("due_date")
    if not_before is not None and not_before.date() > latest:
        raise _too_far("not_before")
    return not_before


def _moment(text: str, place: Place) -> datetime:
    """Read a moment with its offset, or a day: the beginning of it in the region's time zone."""
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return datetime.combine(day, time(), place.zone).astimezone(UTC)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Fault(
        "date_invalid",
        "not_before is neither a date like 2026-01-31 nor a moment like 2026-01-31T12:00:00Z.",
        column="not_before",
    )


def _too_far(name: str) -> Fault:
    return Fault("date_out_of_range", f"{name} is at most {AHEAD_MAX.days} days ahead.", column=name)


def _keyed(submitter: str) -> blake2b:
    """Begin the hash of all references of a submitter; going on from a copy takes half of beginning anew."""
    return blake2b(digest_size=16, key=submitter.encode())


def _key(keyed: blake2b, reference: str) -> bytes:
    """Hash to a UUID of version 8 (RFC 9562, section 5.8)."""
    hashed = keyed.copy()
    hashed.update(reference.encode())
    return (int.from_bytes(hashed.digest()) & UUID_FREE | UUID_VERSION_8).to_bytes(16)
