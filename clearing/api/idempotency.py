"""
``Idempotency-Key``: the same request is done once, however often it is sent.

The answer is kept in the transaction that does the work (see ``repeats``). Only answers that say yes are
kept: after a refusal the same key may try again.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

import msgspec
from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clearing import repeats
from clearing.api.permissions import caller
from clearing.models import IdempotencyRecord
from clearing_project.errors import ClearingError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

Handler = Callable[..., Response]


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
        key, made_of = repeats.checked(key), fingerprint(request)
        user_id: int = caller(request).user_id
        refusal: ClearingError | None = None
        with transaction.atomic():
            kept = repeats.kept(user_id, key, made_of)
            if kept is not None:
                return _replay(kept)
            try:
                response = handler(view, request, **path)
            except ClearingError as refused:
                refusal = refused
            else:
                _keep(user_id, key, made_of, response)
        if refusal is not None:
            raise refusal
        return response

    return post


def fingerprint(request: Request) -> str:
    """Digest what makes a request the same: method, full path, media type and body."""
    head = "\n".join([request.method or "", request.get_full_path(), request.content_type or "", ""])
    return hashlib.sha256(head.encode() + request.body).hexdigest()


def _replay(kept: IdempotencyRecord) -> Response:
    return Response(repeats.answer(kept), kept.status_code, headers={REPLAYED: "true"})


def _keep(user_id: int, key: str, made_of: str, response: Response) -> None:
    assert 200 <= response.status_code < 300, "a refusal is an error, not an answer"
    body = msgspec.to_builtins(response.data)
    repeats.keep(user_id, key, made_of, status_code=response.status_code, body=body)
