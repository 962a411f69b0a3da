"""
Errors as RFC 9457 problems, by one table.

``ClearingError`` knows nothing of HTTP; its parent tells the status. What is not expected is logged
and answered as ``internal_error``: nothing of it leaves the house.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import redis
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from kombu.exceptions import OperationalError as BrokerAway
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clearing.api.errors import (
    AddressUnknown,
    BodyTooLarge,
    IfMatchMissing,
    InternalError,
    LengthRequired,
    MediaTypeUnsupported,
    MethodNotAllowed,
    NotAcceptable,
    RequestMalformed,
    TooManyRequests,
    Unauthenticated,
)
from clearing.decoding import BodyMalformed
from clearing.obligations.set_limits import LimitsChanged
from clearing_project.errors import ClearingError, Conflict, Denied, Invalid, NotFound, Unavailable
from netting.errors import NettingError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:clearing:problem:"
RETRY_AFTER_SECONDS = 2
AWAY = (
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,  # COPY speaks to the driver itself
    psycopg.InterfaceError,
    BrokerAway,
    redis.ConnectionError,
    redis.TimeoutError,
)
OWN_NAMES = {"status": "current_status", "detail": "reason"}  # a problem has these members already


# The first parent that fits answers.
STATUS: tuple[tuple[type[ClearingError], int], ...] = (
    (Unauthenticated, 401),
    (MethodNotAllowed, 405),
    (NotAcceptable, 406),
    (LengthRequired, 411),
    (BodyTooLarge, 413),
    (MediaTypeUnsupported, 415),
    (IfMatchMissing, 428),
    (LimitsChanged, 412),
    (BodyMalformed, 400),
    (RequestMalformed, 400),
    (NotFound, 404),
    (Invalid, 422),
    (Conflict, 409),
    (Denied, 403),
    (TooManyRequests, 429),
    (Unavailable, 503),
    (ClearingError, 500),
)


def status_of(kind: type[Exception]) -> int:
    """Return the HTTP status of an error class."""
    if issubclass(kind, NettingError):
        return 422
    return next(status for parent, status in STATUS if issubclass(kind, parent))


def title_of(kind: type[Exception]) -> str:
    """Return the first line of the class's docstring: what happened, the same for every occurrence."""
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0].removesuffix(".")


def document(error: ClearingError | NettingError) -> dict[str, Any]:
    """Build the problem: its five members, then the error's own fields."""
    code = error.public_code if isinstance(error, ClearingError) else error.code
    own = {OWN_NAMES.get(name, name): value for name, value in error.details.items()}
    return {
        "type": TYPE_PREFIX + code,
        "title": title_of(type(error)),
        "status": status_of(type(error)),
        "detail": str(error),
        "code": code,
        **own,
    }


def problem_response(failure: Exception, context: dict[str, Any]) -> Response:
    """Answer *failure*; the one exception handler of every view."""
    request, view = context["request"], context["view"]
    error = _expected(failure, request) or _of_the_framework(failure, request, view)
    if error is None:
        logger.error("%s %s failed", request.method, request.path, exc_info=failure)
        error = InternalError()
    answer = document(error)
    headers = _headers(answer, ", ".join(view.allowed_methods))
    return Response(answer, answer["status"], headers=headers, content_type=MEDIA_TYPE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what was refused before any view saw it."""
    return _plain(RequestMalformed()) if _is_ours(request) else defaults.bad_request(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that no view has."""
    if _is_ours(request):
        return _plain(AddressUnknown(request.path))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what failed outside any view of ours."""
    return _plain(InternalError()) if _is_ours(request) else defaults.server_error(request)


def _expected(failure: Exception, request: Request) -> ClearingError | NettingError | None:
    if isinstance(failure, ClearingError | NettingError):
        return failure
    if isinstance(failure, AWAY):
        logger.warning("%s %s: something we need is away: %s", request.method, request.path, failure)
        return Unavailable()
    return None


def _of_the_framework(failure: Exception, request: Request, view: APIView) -> ClearingError | None:
    """Translate what Django and its REST framework raise themselves."""
    translations: tuple[tuple[tuple[type[Exception], ...], Callable[[], ClearingError]], ...] = (
        ((RequestDataTooBig,), lambda: BodyTooLarge(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)),
        ((exceptions.NotAuthenticated,), lambda: Unauthenticated("The request bears no token.")),
        ((exceptions.PermissionDenied, PermissionDenied), Denied),
        ((exceptions.NotFound, Http404), lambda: AddressUnknown(request.path)),
        (
            (exceptions.MethodNotAllowed,),
            lambda: MethodNotAllowed(request.method, ", ".join(view.allowed_methods)),
        ),
        ((exceptions.NotAcceptable,), NotAcceptable),
        ((exceptions.ParseError, BadRequest, SuspiciousOperation), RequestMalformed),
    )
    for kinds, error in translations:
        if isinstance(failure, kinds):
            return error()
    return None


def _headers(answer: dict[str, Any], allowed: str) -> dict[str, str]:
    status = answer["status"]
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="clearing"'}
    if status == 405:
        return {"Allow": allowed}
    if status == 429:
        return {"Retry-After": str(answer["retry_after_seconds"])}
    if status == 503:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def _is_ours(request: HttpRequest) -> bool:
    """Whether it is answered with a problem: pages are for who asks for pages."""
    asks_for_pages = "text/html" in request.headers.get("Accept", "")
    return not asks_for_pages or request.path.startswith(("/api/", "/health"))


def _plain(error: ClearingError) -> HttpResponse:
    answer = document(error)
    return HttpResponse(msgspec.json.encode(answer), status=answer["status"], content_type=MEDIA_TYPE)
