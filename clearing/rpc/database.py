"""Database calls of an asyncio server: through a bounded number of threads, each with its own connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from clearing.rpc.errors import Exhausted
from clearing_project import pool

Result = TypeVar("Result")

WAITING_MAX = 1000


class TooBusy(Exhausted):
    """Too many calls wait for a database connection."""

    code = "too_busy"
    fields = ("waiting",)
    message = "{waiting} calls wait for the database already; try again later."


class Database:
    """
    Threads that do the database's work.

    A call that is cancelled while it waits, its deadline passed, is never begun; one that has begun ends.
    """

    def __init__(self, *, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._connections: set[BaseDatabaseWrapper] = set()
        self._waiting = 0

    async def call(self, work: Callable[[], Result]) -> Result:
        """
        Do *work* in a thread.

        Raises:
            TooBusy, and whatever *work* raises.
        """
        if self._waiting >= WAITING_MAX:
            raise TooBusy(self._waiting)
        self._waiting += 1
        try:
            here = copy_context()  # who calls, and for which request
            return await asyncio.get_running_loop().run_in_executor(self._pool, here.run, self._run, work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Wait for the calls that have begun and close every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for used in self._connections:
            used.inc_thread_sharing()  # its own thread is gone
            used.close()

    def _run(self, work: Callable[[], Result]) -> Result:
        self._connections.add(_this_threads_connection())
        close_old_connections()
        try:
            return work()
        except (OperationalError, InterfaceError):
            pool.renew()
            raise
        finally:
            close_old_connections()


def _this_threads_connection() -> BaseDatabaseWrapper:
    return connections[DEFAULT_DB_ALIAS]
