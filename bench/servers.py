"""The servers of a benchmark: embedded ones that keep what they are told, in a directory of their own."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.servers import EmbeddedNats, EmbeddedRedis, EmbeddedServer

SETTINGS = {
    "CLEARING_MIN_NETTING_EFFICIENCY": "0",  # no run is held, whatever its network saves
    "CLEARING_EMERGENCY_THRESHOLD": "0",
    "LOG_LEVEL": "ERROR",
}


class Servers:
    """
    PostgreSQL, Redis and NATS, named in the environment as long as the context is open.

    PostgreSQL waits for its disk at every commit, as in production. A server that the environment named
    before is not used: figures of two machines do not mix.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="clearing-bench-"))
        self.postgres = EmbeddedPostgres(self.directory)
        self._started: list[EmbeddedServer] = []

    def __enter__(self) -> Self:
        """Start all, and export every address."""
        servers: list[EmbeddedServer] = [
            self.postgres,
            EmbeddedRedis(self.directory),
            EmbeddedNats(self.directory),
        ]
        try:
            for server in servers:
                self._started.append(server)
                server.start()
                os.environ[server.variable] = server.url
        except BaseException:
            self._stop()
            raise
        os.environ["BROKER_URL"] = os.environ["REDIS_URL"]
        os.environ["DATA_DIR"] = str(self.directory)
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
        os.environ["HTTPS"] = "false"
        os.environ.update(SETTINGS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all and delete their data."""
        self._stop()

    def _stop(self) -> None:
        for server in reversed(self._started):
            server.stop()
        self.postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
