"""
One Beat at a time sends, held by a session advisory lock in PostgreSQL; others stand by and take over.

The lock is in a session of its own: it ends with the process, and PostgreSQL ends it for a Beat that stops
asking, be it paused or on a machine that is gone. What two would send twice for a moment changes nothing, for
each entry is safe beside its own double; the lock saves the work.
"""

import logging
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django_celery_beat.schedulers import DatabaseScheduler

from clearing_project import pulse

STANDBY_SECONDS: Final = 0.5  # between two looks whether the lock is free
SILENT_SECONDS_MAX: Final = 30  # who holds the lock asks at every tick, every five seconds at the latest
KEY: Final = {"class": 0x4345, "lock": 1}

logger = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # it comes without types
    """The entries of the database, sent by who holds the lock; with a sign of life each time round."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Stand by, until the first tick asks for the lock."""
        self._session: BaseDatabaseWrapper | None = None
        self._holds: bool | None = None  # not asked yet
        super().__init__(*arguments, **options)

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send what is due if the lock is ours; return the seconds until the next call."""
        pulse.beat()
        held, self._holds = self._holds, self._take_lock()
        if self._holds and not held:
            logger.info("beat: sends from here on")
            self._initial_read = True  # the entries as the one before left them
            self._heap = None
        elif held is not False and not self._holds:
            logger.info("beat: stands by")
            self._dirty.clear()  # the entries are the other's to write now
        if not self._holds:
            return STANDBY_SECONDS
        return float(super().tick(*arguments, **options))

    def close(self) -> None:
        """End the session as well, so that another takes over at once."""
        super().close()
        self._end_session()
        self._holds = None

    def _take_lock(self) -> bool:
        """Ask PostgreSQL whether the lock is ours, or free and ours now; with PostgreSQL away it is not."""
        try:
            if self._session is None:
                self._session = connections[DEFAULT_DB_ALIAS].copy()
                with self._session.cursor() as cursor:
                    cursor.execute(f"SET idle_session_timeout = '{SILENT_SECONDS_MAX}s'")
            with self._session.cursor() as cursor:
                cursor.execute(TAKE, KEY)
                return bool(cursor.fetchone()[0])
        except (DatabaseError, InterfaceError) as away:
            logger.warning("beat: PostgreSQL is away: %s", away)
            self._end_session()
            return False

    def _end_session(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            session.close()


TAKE = """
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = %(class)s AND objid = %(lock)s
    ) OR pg_try_advisory_lock(%(class)s, %(lock)s)
"""
