"""Errors as gRPC statuses, by one table."""

import logging

import grpc
from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerAway

from clearing_project.errors import ClearingError, Conflict, Denied, Invalid, NotFound, Unavailable

logger = logging.getLogger(__name__)

ERROR_CODE = "error-code"  # key of the trailing metadata
INTERNAL_CODE = "internal_error"
AWAY = (OperationalError, InterfaceError, BrokerAway)


class Exhausted(Unavailable):
    """A limit of this server is reached: ask for less, or later."""

    code = "resource_exhausted"
    message = "A limit of the server is reached."


class RequestMalformed(Invalid):
    """The request's bytes are no message of the method."""

    code = "request_malformed"
    fields = ("method",)
    message = "The request is no message that {method} takes."


class Unauthenticated(Denied):
    """The caller is not known."""

    code = "not_authenticated"
    message = "Send a valid token in the metadata: authorization: Bearer TOKEN."


class NotImplementedHere(Unavailable):
    """The method is part of the interface and not yet of this server."""

    code = "not_implemented"
    fields = ("method",)
    message = "{method} is not implemented by this server."


# The first parent that fits answers.
STATUS: tuple[tuple[type[ClearingError], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Denied, grpc.StatusCode.PERMISSION_DENIED),
    (NotImplementedHere, grpc.StatusCode.UNIMPLEMENTED),
    (Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (ClearingError, grpc.StatusCode.UNKNOWN),
)


def answer(failure: Exception, *, method: str) -> tuple[grpc.StatusCode, str, str]:
    """
    Return status, error code and text for *failure*; of an unexpected one nothing leaves the house.
    """
    if isinstance(failure, ClearingError):
        status = next(status for parent, status in STATUS if isinstance(failure, parent))
        return status, failure.public_code, str(failure)
    if isinstance(failure, AWAY):
        logger.warning("%s: something we need is away: %s", method, failure)
        return grpc.StatusCode.UNAVAILABLE, Unavailable.code, Unavailable.message
    logger.error("%s failed", method, exc_info=failure)
    return grpc.StatusCode.INTERNAL, INTERNAL_CODE, "Something went wrong here."
