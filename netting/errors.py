"""
The parents of every error of this package.

Shaped like the errors of the rest of the engine (positional values, ``code``, ``fields``,
``message``), yet importing nothing of it: the package stands alone.
"""

from typing import Any, ClassVar


class NettingError(ValueError):
    """Input this package refuses, with a stable public code. Rebuilt as ``cls(*args)``."""

    code: ClassVar[str] = "netting_error"
    fields: ClassVar[tuple[str, ...]] = ()
    message: ClassVar[str] = "The input was refused."

    def __init__(self, *values: Any) -> None:
        assert len(values) == len(self.fields), f"{type(self).__name__} takes {self.fields}"
        super().__init__(*values)

    @property
    def details(self) -> dict[str, Any]:
        """The error's own fields by name."""
        return dict(zip(self.fields, self.args, strict=True))

    def __str__(self) -> str:
        return self.message.format(**self.details)


class SumOutOfRange(NettingError):
    """A sum would not fit 64 bits; it is refused, never wrapped."""

    code = "sum_out_of_range"
    fields = ("what",)
    message = "The sum of {what} exceeds 9223372036854775807 minor units."


class PairsInvalid(NettingError):
    """The arrays are not a list of pairs: lengths, types, self-loops or amounts."""

    code = "pairs_invalid"
    fields = ("reason",)
    message = "The pairs are invalid: {reason}."


class SolverFailed(NettingError):
    """The solver stopped without an optimum; nothing of its answer is used."""

    code = "solver_failed"
    fields = ("solver", "status")
    message = "{solver} stopped with status {status}."
