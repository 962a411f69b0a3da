"""
Take many messages in few transactions, and tell each what it would have been told alone.

Messages of one sender for one region go in as one call, all or nothing. If all of it is right, none could
have been told anything else. If something is wrong, nothing was written, and each half is tried by
itself: one bad message among n costs about log n more transactions, and no other message its place.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import psycopg
from django.db import InterfaceError, OperationalError
from msgspec.structs import replace

from clearing import obligations
from clearing.consumers.messages import TEXT_MAX, Message, ReplySubjectInvalid
from clearing.obligations import BATCH_MAX, Intake, Outcome, Submission, calls
from clearing.obligations.calls import Call
from clearing.obligations.items import OPERATOR_SCOPE
from clearing.states import Region
from clearing.windows import NoAcceptingWindow
from clearing_project.errors import ClearingError, Unavailable

logger = logging.getLogger(__name__)

AWAY = (
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,  # COPY speaks to the driver itself
    psycopg.InterfaceError,
    Unavailable,
)

TROUBLES_MAX = 2


class Broken(ClearingError):
    """Something failed that should not have; it is logged."""

    code = "internal_error"
    message = "Something went wrong here; nothing of the message was kept."


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing of the message was kept, and it may go better later."""

    reason: str
    is_broken: bool = False


Taken = Intake | ClearingError | Postponed


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sound call and its message's place."""

    place: int
    call: Call
    submissions: list[Submission]


def take(messages: Sequence[Message], *, at: datetime) -> list[Taken]:
    """Take the messages' obligations; what each is told stands at its place, and is committed."""
    told: dict[int, Taken] = {}
    owners: dict[str, str | None] = {}
    groups: dict[tuple[Region, str | None], list[_Entry]] = defaultdict(list)
    works: list[tuple[list[int], Callable[[], dict[int, Taken]]]] = []
    for place, message in enumerate(messages):
        try:
            owner, call, rejected = _read(message, owners)
        except AWAY as away:
            told[place] = _postponed(away)
        except ClearingError as refused:
            told[place] = refused
        except Exception as failure:
            told[place] = _broken(failure)
        else:
            if rejected or call.window_id is not None:  # some wrong already, or meant for a window of its own
                works.append(([place], partial(_by_itself, place, call, owner, at)))
            else:
                sound = [each.submission for each in call.drafts if each.submission is not None]
                groups[call.region, owner].append(_Entry(place, call, sound))
    for (region, owner), entries in groups.items():
        for portion in _portions(entries):
            places = [entry.place for entry in portion]
            works.append((places, partial(_together, portion, region, owner, at)))
    _work(works, told)
    return [told[place] for place in range(len(messages))]


def _read(message: Message, owners: dict[str, str | None]) -> tuple[str | None, Call, dict[int, Outcome]]:
    """Return whose message it is, its call, and the items that are refused unseen."""
    if message.subject not in owners:
        owners[message.subject] = message.owner
    if not message.is_answerable:
        raise ReplySubjectInvalid(message.reply_to[:TEXT_MAX])
    owner, call = owners[message.subject], calls.read(message.data)
    return owner, call, calls.reject(call, owner)


def _work(works: list[tuple[list[int], Callable[[], dict[int, Taken]]]], told: dict[int, Taken]) -> None:
    """Do each work; a database that is away twice is not asked a third time in this batch."""
    troubles: list[Postponed] = []
    for places, work in works:
        if len(troubles) < TROUBLES_MAX:
            try:
                told |= work()
                continue
            except AWAY as away:
                troubles.append(_postponed(away))
        told |= dict.fromkeys(places, troubles[-1])


def _postponed(away: Exception) -> Postponed:
    return Postponed(f"{type(away).__name__}: {away}")


def _broken(failure: Exception) -> Postponed:
    logger.error("a message was not taken", exc_info=failure)
    return Postponed(f"{type(failure).__name__}: {failure}", is_broken=True)


def _by_itself(place: int, call: Call, owner: str | None, at: datetime) -> dict[int, Taken]:
    return {place: _alone(call, owner, at)}


def _portions(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    """Cut into portions of as many items as one call may have."""
    portion: list[_Entry] = []
    size = 0
    for entry in entries:
        if portion and size + len(entry.submissions) > BATCH_MAX:
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += len(entry.submissions)
    yield portion


def _together(entries: list[_Entry], region: Region, owner: str | None, at: datetime) -> dict[int, Taken]:
    if len(entries) == 1:
        return {entries[0].place: _alone(entries[0].call, owner, at)}
    try:
        intake = obligations.submit(
            [submission for entry in entries for submission in entry.submissions],
            region=region,
            submitter=owner or OPERATOR_SCOPE,
            at=at,
            all_or_nothing=True,
        )
    except AWAY:
        raise
    except NoAcceptingWindow as none:
        return {entry.place: Postponed(str(none)) for entry in entries}
    except Exception as trouble:  # each half by itself, down to the one that it is about
        logger.info("%d messages not taken together: %s", len(entries), trouble)
        half = len(entries) // 2
        return _together(entries[:half], region, owner, at) | _together(entries[half:], region, owner, at)
    return dict(_apart(entries, intake))


def _apart(entries: list[_Entry], intake: Intake) -> Iterator[tuple[int, Taken]]:
    """Tell each message its own outcomes, numbered from 0."""
    start = 0
    for entry in entries:
        end = start + len(entry.submissions)
        own = [replace(outcome, index=outcome.index - start) for outcome in intake.outcomes[start:end]]
        yield entry.place, Intake(intake.window_id, own)
        start = end


def _alone(call: Call, owner: str | None, at: datetime) -> Taken:
    try:
        return calls.take(call, owner=owner, at=at)
    except AWAY:
        raise
    except NoAcceptingWindow as none:
        return Postponed(str(none))
    except ClearingError as refused:
        return refused
    except Exception as failure:
        return _broken(failure)
