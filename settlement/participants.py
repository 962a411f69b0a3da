"""Register participants and look them up."""

from dataclasses import dataclass

from clearing_project.errors import Conflict, Invalid, NotFound
from clearing_project.lifecycle import move
from netting import money
from settlement.models import Currency, Participant
from settlement.models.participants import AGENT_CODE, FUNDING_CODE
from settlement.states import PARTICIPANT_MOVES, ParticipantKind, ParticipantStatus


class UnknownParticipant(NotFound):
    """No member bears this code."""

    code = "unknown_participant"
    fields = ("participant",)
    message = "No participant has the code {participant}."


class UnknownCurrency(Invalid):
    """The currency is not in ISO 4217, or not cleared here."""

    code = "currency_not_enabled"
    fields = ("currency",)
    message = "Currency {currency} is not cleared here."


class ParticipantDiffers(Conflict):
    """The code is taken by a participant with other particulars."""

    code = "participant_differs"
    fields = ("participant",)
    message = "Participant {participant} is already registered with another name or country."


@dataclass(frozen=True, slots=True)
class Directory:
    """Members and enabled currencies in memory: what intake checks a million rows against."""

    member_ids: dict[str, int]
    active_ids: dict[str, int]  # those of them that are not suspended
    suspended: frozenset[str]
    currency_ids: dict[str, int]


def directory() -> Directory:
    """Read the directory: two small queries."""
    members = Participant.objects.filter(kind=ParticipantKind.MEMBER).values_list("code", "id", "status")
    rows = list(members)
    return Directory(
        member_ids={code: key for code, key, _ in rows},
        active_ids={code: key for code, key, status in rows if status == ParticipantStatus.ACTIVE},
        suspended=frozenset(code for code, _, status in rows if status == ParticipantStatus.SUSPENDED),
        currency_ids=dict(Currency.objects.filter(is_enabled=True).values_list("code", "id")),
    )


def register(code: str, *, name: str, country: str = "") -> Participant:
    """
    Register a member. Doing it again with the same particulars changes nothing.

    Raises:
        ParticipantDiffers: the code is taken by another.
    """
    participant, created = Participant.objects.get_or_create(
        code=code, defaults={"name": name, "country": country}
    )
    if not created and (participant.name, participant.country) != (name, country):
        raise ParticipantDiffers(code)
    return participant


def get(code: str) -> Participant:
    """
    Return the member with this *code*.

    Raises:
        UnknownParticipant
    """
    participant = Participant.objects.filter(code=code, kind=ParticipantKind.MEMBER).first()
    if participant is None:
        raise UnknownParticipant(code)
    return participant


def suspend(participant: Participant) -> None:
    """Stop accepting obligations of or to this participant; what is in a window still clears."""
    move(participant, to=ParticipantStatus.SUSPENDED, moves=PARTICIPANT_MOVES)


def reinstate(participant: Participant) -> None:
    """Accept the participant's obligations again."""
    move(participant, to=ParticipantStatus.ACTIVE, moves=PARTICIPANT_MOVES)


def currency(code: str) -> Currency:
    """
    Return the enabled currency with this *code*.

    Raises:
        UnknownCurrency
    """
    found = Currency.objects.filter(code=code, is_enabled=True).first()
    if found is None:
        raise UnknownCurrency(code)
    assert found.exponent == money.exponent(code), "the currency table contradicts ISO 4217"
    return found


def agent() -> Participant:
    """Return the settlement agent, against whom net positions settle."""
    return Participant.objects.get(code=AGENT_CODE)


def funding_source() -> Participant:
    """Return the counterpart of prefunding."""
    return Participant.objects.get(code=FUNDING_CODE)
