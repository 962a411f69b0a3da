"""Decode JSON that came from outside into the structure it should have."""

from typing import TypeVar

import msgspec

from clearing_project.errors import Invalid

Body = TypeVar("Body")

NO_JSON = "It is not JSON in UTF-8, or nested too deeply."


class BodyMalformed(Invalid):
    """The body cannot be read as what it says it is."""

    code = "body_malformed"
    fields = ("reason",)
    message = "The body cannot be read: {reason}"


class BodyInvalid(Invalid):
    """The body is well formed and not of the shape that is asked for."""

    code = "body_invalid"
    fields = ("reason",)
    message = "The body is invalid: {reason}"


def decoded(body: bytes | msgspec.Raw, shape: type[Body]) -> Body:
    """
    Decode JSON.

    Raises:
        BodyMalformed: it is not JSON.
        BodyInvalid: it is, with other fields or types.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as wrong:
        if not _is_json(body):  # what is wrong with its shape may stand before what is no JSON
            raise BodyMalformed(NO_JSON) from wrong
        raise BodyInvalid(f"{wrong}.") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as garbage:
        raise BodyMalformed(NO_JSON) from garbage
    except RecursionError as deep:
        raise BodyMalformed(NO_JSON) from deep


def _is_json(body: bytes | msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
