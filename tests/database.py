"""What tests ask of the real database: refusals by PostgreSQL itself, and calls made at the same moment."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

Result = TypeVar("Result")

PATIENCE_SECONDS = 30


def sql(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement past every Python guard; return its rows, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def refused(constraint: str | None) -> Iterator[None]:
    """Expect PostgreSQL itself to refuse the block in the name of *constraint*; the block leaves no trace."""
    with pytest.raises(DatabaseError) as refusal, transaction.atomic():
        yield
    cause = refusal.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.diag.constraint_name == constraint, cause


def together(*calls: Callable[[], Result]) -> list[Result | Exception]:
    """
    Call all at the same moment, each in a thread with a connection of its own.

    Returns:
        What each returned or raised, in order.
    """
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result | Exception:
        try:
            connection.ensure_connection()
            start.wait(PATIENCE_SECONDS)
            return call()
        except Exception as raised:
            return raised
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class Racers:
    """
    Threads that keep their connections from race to race: hundreds of them in seconds.

    As ``together``, but the threads live until the end of the ``with`` block.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count)
        self._start = threading.Barrier(count)

    def __enter__(self) -> "Racers":
        return self

    def __exit__(self, *_: object) -> None:
        list(self._pool.map(lambda _: self._leave(), range(self._count)))
        self._pool.shutdown()

    def race(self, *calls: Callable[[], Any]) -> list[Any]:
        """Call all at the same moment; what each returned or raised, in order."""
        assert len(calls) == self._count, "one call a racer"
        return list(self._pool.map(self._run, calls))

    def _run(self, call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            self._start.wait(PATIENCE_SECONDS)
            return call()
        except Exception as raised:
            return raised

    def _leave(self) -> None:
        self._start.wait(PATIENCE_SECONDS)  # so that each thread gets its turn
        connection.close()


def aside(call: Callable[[], Result]) -> Result:
    """Call on another connection: what it sees is what others see now."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_on_own_connection, call).result(PATIENCE_SECONDS)


def _on_own_connection(call: Callable[[], Result]) -> Result:
    try:
        return call()
    finally:
        connection.close()


def wait_until_blocked(backend: int) -> None:
    """Wait until the session *backend* waits for a lock; fail if it never does."""
    _wait_for("SELECT cardinality(pg_blocking_pids(%s)) > 0", backend)


def wait_until_someone_waits_for(backend: int) -> None:
    """Wait until another session waits for a lock that *backend* holds; fail if none ever does."""
    _wait_for("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid)))", backend)


def _wait_for(condition: str, backend: int) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE_SECONDS * 100):
        (is_so,) = sql(condition, backend)[0]
        if is_so:
            return
        pause.wait(0.01)
    raise AssertionError(f"session {backend}: it was never so that {condition}")


def backend() -> int:
    """Return this thread's session in PostgreSQL."""
    return int(sql("SELECT pg_backend_pid()")[0][0])
