"""The pool of connections of a process with many threads: web and gRPC."""

from django.db import connection


def renew() -> None:
    """
    Drop every connection of the pool that is dead. Without a pool there is nothing to do.

    For who met one: after a restart of PostgreSQL all are, and each would fail a request of its own.
    """
    if (pool := connection.pool) is not None:  # type: ignore[attr-defined]  # of PostgreSQL's alone
        pool.check()
