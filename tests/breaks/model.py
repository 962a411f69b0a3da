"""One edit that takes a guarantee away."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Break:
    """*old* becomes *new* in *path*; of the tests in *test*, those that match *only* must notice."""

    name: str
    path: str
    old: str
    new: str
    test: str
    only: str = ""
