"""One measured figure: what took how long, and what nothing could beat in the same run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """
    A figure beside its floor.

    Attributes:
        size: rows worked on.
        floor_name: what the floor did with the same rows, in the same run.
        limit: the ratio we promise to stay under; None where we promise nothing.
        note: what else one must know to read it.
        unit: of both figures, which are seconds unless it says otherwise.
    """

    name: str
    size: int
    seconds: float
    floor_name: str
    floor_seconds: float
    limit: float | None = None
    note: str = ""
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """How many times the floor it took."""
        return self.seconds / self.floor_seconds

    @property
    def met(self) -> bool:
        """Tell whether the promise was kept."""
        return self.limit is None or self.ratio <= self.limit
