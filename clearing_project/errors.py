"""
The parents of every error: each says what the caller should do.

An error is named after what happened and sits in the module that raises it. Its values are
positional, so it survives Celery's JSON backend, which rebuilds an exception as ``cls(*args)``.
Only the doors know about HTTP and gRPC.
"""

from typing import Any, ClassVar


class ClearingError(Exception):
    """Expected trouble, with a stable public code listed in docs/errors.md."""

    code: ClassVar[str] = "error"
    fields: ClassVar[tuple[str, ...]] = ()
    message: ClassVar[str] = "The request failed."

    def __init__(self, *values: Any) -> None:
        assert len(values) == len(self.fields), f"{type(self).__name__} takes {self.fields}"
        super().__init__(*values)

    @property
    def details(self) -> dict[str, Any]:
        """The error's own fields by name."""
        return dict(zip(self.fields, self.args, strict=True))

    @property
    def public_code(self) -> str:
        """The code shown outside."""
        return self.code

    def __str__(self) -> str:
        return self.message.format(**self.details)


class NotFound(ClearingError):
    """It is not there: ask for something else."""

    code = "not_found"
    message = "Not found."


class Invalid(ClearingError):
    """The request is wrong: correct it and ask again."""

    code = "invalid"
    message = "The request is invalid."


class Conflict(ClearingError):
    """The state does not allow it: read the state, then decide."""

    code = "conflict"
    message = "The state does not allow this."


class Denied(ClearingError):
    """The caller may not do this."""

    code = "permission_denied"
    message = "You may not do this."


class Unavailable(ClearingError):
    """Something we need is away: ask again later."""

    code = "unavailable"
    message = "Try again later."
