"""
A message of the intake subject: who sent it, what it asks for, and what it is told.

Whose it is follows from the subject, because NATS guards subjects: who may publish to
``clearing.obligations.submit`` is an operator, who may publish to ``clearing.obligations.submit.CODE``
is the participant of that code and submits what it owes itself.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from clearing.events.catalog import rfc3339
from clearing.obligations import Intake, Outcome, OutcomeStatus
from clearing_project.errors import ClearingError, Invalid
from settlement import participants

SUBMIT = "clearing.obligations.submit"
REJECTED = "clearing.obligations.rejected"
REPLY_TO = "Clearing-Reply-To"  # header; the reply subject itself is taken by JetStream's acknowledgement

SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
SUBJECT_MAX = 255
OWN = "clearing."
ITEMS_MAX = 100  # faults listed beside an original, which has them all
TEXT_MAX = 500
ITEM_BYTES = 1_000  # of a listed item besides its original


class ReplySubjectInvalid(Invalid):
    """Nothing can be answered there."""

    code = "reply_subject_invalid"
    fields = ("subject",)
    message = "Nothing is answered to the subject {subject!r}: give a plain one that is not the engine's own."


class ItemsRejected(Invalid):
    """The message was taken item by item, and some items were wrong."""

    code = "items_rejected"
    fields = ("rejected",)
    message = "{rejected} item(s) rejected; the others were taken."


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was stored; the sequence is the stream's."""

    subject: str
    data: bytes
    sequence: int
    sent_at: datetime
    reply_to: str = ""

    @property
    def owner(self) -> str | None:
        """
        The participant whose message it is; None is an operator's.

        Raises:
            UnknownParticipant
        """
        if self.subject == SUBMIT:
            return None
        return participants.get(self.subject.removeprefix(f"{SUBMIT}.")).code

    @property
    def is_answerable(self) -> bool:
        """Whether no answer is asked for where our own events or NATS's own messages go."""
        subject = self.reply_to
        if not subject:
            return True
        plain = len(subject) <= SUBJECT_MAX and SUBJECT.fullmatch(subject)
        return bool(plain) and not subject.startswith(OWN)


def answer(taken: Intake | ClearingError, *, bytes_max: int) -> bytes:
    """Write what is answered: as REST does; the list of items is left out where it would be too large."""
    if isinstance(taken, Intake):
        wire = taken.as_json()
    else:
        wire = {"code": taken.public_code, "message": str(taken)[:TEXT_MAX], "items": _listed(taken)}
    encoded = msgspec.json.encode(wire)
    return encoded if len(encoded) <= bytes_max else msgspec.json.encode({**wire, "items": None})


def rejects(message: Message, taken: Intake | ClearingError, *, bytes_max: int) -> Iterator[bytes]:
    """
    Write what goes to the subject of rejects: nothing if nothing was refused.

    Of a message taken item by item, the refused items with their originals; else the whole original, in
    parts where it would be too large.
    """
    if isinstance(taken, ClearingError):
        yield from _whole(message, taken, _listed(taken), bytes_max)
        return
    refused = [outcome for outcome in taken.outcomes if outcome.status == OutcomeStatus.REJECTED]
    if not refused:
        return
    error = ItemsRejected(len(refused))
    originals = msgspec.json.decode(message.data, type=_Items).obligations
    if any(len(bytes(originals[each.index])) > bytes_max // 4 for each in refused):
        yield from _whole(message, error, [_item(each) for each in refused[:ITEMS_MAX]], bytes_max)
        return
    yield from _in_portions(message, error, refused, originals, bytes_max)


def _in_portions(
    message: Message,
    error: ClearingError,
    refused: list[Outcome],
    originals: list[msgspec.Raw],
    bytes_max: int,
) -> Iterator[bytes]:
    portion: list[dict[str, Any]] = []
    size = 0
    for outcome in refused:
        original = originals[outcome.index]
        weight = len(bytes(original)) + ITEM_BYTES
        if portion and size + weight > bytes_max // 2:
            yield _encoded(message, error, items=portion)
            portion, size = [], 0
        portion.append({**_item(outcome), "original": original})
        size += weight
    yield _encoded(message, error, items=portion)


def _whole(
    message: Message, error: ClearingError, items: list[dict[str, Any]], bytes_max: int
) -> Iterator[bytes]:
    record = _encoded(message, error, items=items, **_original(message.data))
    if len(record) <= bytes_max:
        yield record
        return
    size = bytes_max // 2
    pieces = [message.data[start : start + size] for start in range(0, len(message.data), size)]
    for part, piece in enumerate(pieces, start=1):
        coded = b64encode(piece).decode()
        yield _encoded(message, error, items=items, part=part, parts=len(pieces), original_base64=coded)


def _original(data: bytes) -> dict[str, Any]:
    """As it is where it is JSON, else in base64."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"original_base64": b64encode(data).decode()}
    return {"original": msgspec.Raw(data)}


def _encoded(message: Message, error: ClearingError, **more: Any) -> bytes:
    head = {
        "code": error.public_code,
        "message": str(error)[:TEXT_MAX],
        "subject": message.subject,
        "sequence": message.sequence,
        "sent_at": rfc3339(message.sent_at),
    }
    return msgspec.json.encode({**head, **more})


def _listed(error: ClearingError) -> list[dict[str, Any]]:
    items = error.details.get("items")
    if not isinstance(items, list):
        return []
    return [
        {**item, "reference": item["reference"][:TEXT_MAX], "message": item["message"][:TEXT_MAX]}
        for item in ({name: each[name] for name in LISTED} for each in items[:ITEMS_MAX])
    ]


def _item(outcome: Outcome) -> dict[str, Any]:
    return {
        "index": outcome.index,
        "reference": outcome.reference[:TEXT_MAX],
        "code": outcome.code,
        "message": outcome.message[:TEXT_MAX],
    }


LISTED = ("index", "reference", "code", "message")


class _Items(Struct):
    obligations: list[msgspec.Raw]
