"""Errors of HTTP itself; what a request means has its errors where it is understood."""

from clearing_project.errors import ClearingError, Denied, Invalid, NotFound, Unavailable


class Unauthenticated(Denied):
    """The request bears no valid token."""

    code = "not_authenticated"
    fields = ("reason",)
    message = "{reason} Send a valid one: Authorization: Bearer TOKEN."


class MethodNotAllowed(Invalid):
    """The address does not take this method."""

    code = "method_not_allowed"
    fields = ("method", "allowed")
    message = "{method} is not possible here; possible: {allowed}."


class NotAcceptable(Invalid):
    """None of the media types asked for can be answered."""

    code = "not_acceptable"
    message = "Answers are JSON: accept application/json."


class MediaTypeUnsupported(Invalid):
    """The body is of a media type that is not taken here."""

    code = "unsupported_media_type"
    fields = ("media_type", "supported")
    message = "A body of type '{media_type}' is not taken here; send {supported}."


class BodyTooLarge(Invalid):
    """The body exceeds the limit."""

    code = "body_too_large"
    fields = ("bytes_max",)
    message = "A body has at most {bytes_max} bytes; send less in one call."


class LengthRequired(Invalid):
    """The request sends a body and does not say how long it is."""

    code = "length_required"
    message = "Send Content-Length: a body of unknown length (Transfer-Encoding: chunked) is not taken."


class TooManyRequests(Unavailable):
    """The token has asked too often within a minute."""

    code = "too_many_requests"
    fields = ("limit", "retry_after_seconds")
    message = "At most {limit} such requests a minute; ask again in {retry_after_seconds} s."


class IfMatchMissing(Invalid):
    """The change does not say to what state it is the answer."""

    code = "precondition_required"
    message = "Send If-Match with the ETag of what you read, or * for whatever is there."


class RequestMalformed(Invalid):
    """The request itself is not sound, whatever it asks for."""

    code = "request_malformed"
    message = "The request is malformed."


class AddressUnknown(NotFound):
    """Nothing is at this address."""

    code = "not_found"
    fields = ("path",)
    message = "There is nothing at {path}."


class InternalError(ClearingError):
    """Something failed that should not have; it is logged."""

    code = "internal_error"
    message = "Something went wrong here; nothing of the request was kept."
