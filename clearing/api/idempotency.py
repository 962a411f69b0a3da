"""
``Idempotency-Key``: the same request is done once, however often it is sent.

The answer is kept in the transaction that does the work. Requests of one key wait for each other at an
advisory lock, so of twenty at once one does the work and nineteen read its answer. Only answers that
say yes are kept: after a refusal the same key may try again.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec
from django.db import connection, transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clearing.api.permissions import caller
from clearing.models import IdempotencyRecord
from clearing_project.errors import ClearingError, Conflict, Invalid

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY_MAX = 255

View = TypeVar("View", bound=APIView)
Handler = Callable[..., Response]


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


def idempotent(handler: Handler) -> Handler:
    """
    Make a POST answer a repeated key from what was kept.

    The work joins the transaction of its record. An expected error leaves what its verb left (a failed
    rollback is marked as failed, key or no key); any other undoes everything.
    """

    @wraps(handler)
    def post(view: APIView, request: Request, **path: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, **path)
        key = key.strip()
        if not 0 < len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
            raise IdempotencyKeyInvalid(KEY_MAX)
        user_id: int = caller(request).user_id
        refusal: ClearingError | None = None
        with transaction.atomic():
            _wait_for_turn(user_id, key)
            kept = IdempotencyRecord.objects.filter(user_id=user_id, key=key).first()
            if kept is not None:
                return _replay(kept, request)
            try:
                response = handler(view, request, **path)
            except ClearingError as refused:
                refusal = refused
            else:
                _keep(request, user_id, key, response)
        if refusal is not None:
            raise refusal
        return response

    return post


def fingerprint(request: Request) -> str:
    """Digest what makes a request the same: method, full path, media type and body."""
    head = "\n".join([request.method or "", request.get_full_path(), request.content_type or "", ""])
    return hashlib.sha256(head.encode() + request.body).hexdigest()


def _replay(kept: IdempotencyRecord, request: Request) -> Response:
    if kept.fingerprint != fingerprint(request):
        raise IdempotencyKeyConflict(kept.key)
    return Response(kept.body, kept.status_code, headers={REPLAYED: "true"})


def _keep(request: Request, user_id: int, key: str, response: Response) -> None:
    assert 200 <= response.status_code < 300, "a refusal is an error, not an answer"
    IdempotencyRecord.objects.create(
        user_id=user_id,
        key=key,
        fingerprint=fingerprint(request),
        status_code=response.status_code,
        body=msgspec.to_builtins(response.data),
    )


def _wait_for_turn(user_id: int, key: str) -> None:
    """Hold the key's lock until this transaction ends; whoever comes next sees what it wrote."""
    digest = hashlib.sha256(f"idempotency {user_id} {key}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
