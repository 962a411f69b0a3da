"""Take the database away, for real."""

from tests.database import aside, sql


def cut_off(backend: int) -> None:
    """End a session of PostgreSQL from another one, and wait until it is gone."""
    aside(lambda: sql("SELECT pg_terminate_backend(%s, 10000)", backend))
