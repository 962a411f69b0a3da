"""Decode JSON that came from outside into the structure it should have."""

from typing import TypeVar

import msgspec

from clearing_project.errors import Invalid

Body = TypeVar("Body")


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
        raise BodyInvalid(f"{wrong}.") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as garbage:
        raise BodyMalformed("It is not JSON in UTF-8.") from garbage
    except RecursionError as deep:
        raise BodyMalformed("It is nested too deeply.") from deep
