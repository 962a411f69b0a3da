"""
The same request is done once, however often it is sent: its answer is kept with the work, under its key.

Requests of one key wait for each other at an advisory lock, so of twenty at once one does the work and
nineteen read its answer.
"""

import hashlib
from typing import Any

import msgspec
from django.db import connection

from clearing.models import IdempotencyRecord
from clearing_project.errors import Conflict, Invalid

KEY_MAX = 255
NUL = "\\u0000"  # as JSON writes it


class IdempotencyKeyInvalid(Invalid):
    """The key cannot be kept."""

    code = "idempotency_key_invalid"
    fields = ("length_max",)
    message = "An Idempotency-Key has 1 to {length_max} printable ASCII characters."


class IdempotencyKeyConflict(Conflict):
    """The key was used for another request."""

    code = "idempotency_key_conflict"
    fields = ("idempotency_key",)
    message = "Idempotency-Key {idempotency_key} was used for another request; its answer is kept."


def checked(key: str) -> str:
    """
    Return the key without surrounding space.

    Raises:
        IdempotencyKeyInvalid
    """
    key = key.strip()
    if not 0 < len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
        raise IdempotencyKeyInvalid(KEY_MAX)
    return key


def kept(user_id: int, key: str, fingerprint: str) -> IdempotencyRecord | None:
    """
    Return what was answered to this key, if anything was; holds the key until our transaction ends.

    Raises:
        IdempotencyKeyConflict: it was another request.
    """
    assert connection.in_atomic_block, "the key is held as long as its work takes"
    digest = hashlib.sha256(f"idempotency {user_id} {key}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
    found = IdempotencyRecord.objects.filter(user_id=user_id, key=key).first()
    if found is not None and found.fingerprint != fingerprint:
        raise IdempotencyKeyConflict(key)
    return found


def keep(user_id: int, key: str, fingerprint: str, *, status_code: int, body: Any) -> None:
    """
    Keep an answer, in the transaction that did the work.

    PostgreSQL's JSON holds no NUL: an answer that quotes one is kept as the text that is sent.
    """
    text = msgspec.json.encode(body).decode()
    if NUL in text:
        body = text
    IdempotencyRecord.objects.create(
        user_id=user_id, key=key, fingerprint=fingerprint, status_code=status_code, body=body
    )


def answer(record: IdempotencyRecord) -> Any:
    """Return the body that was kept."""
    return msgspec.json.decode(record.body) if isinstance(record.body, str) else record.body
