"""The servers of a test session: embedded ones, unless the environment names others."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.servers import EmbeddedNats, EmbeddedRedis, EmbeddedServer


class Servers:
    """
    PostgreSQL, Redis and NATS for one test session, in a directory of its own.

    A server named in the environment is used as it is. Nothing reaches a stack that runs in this folder.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="clearing-tests-"))
        self.postgres = EmbeddedPostgres(self.directory, durable=False)
        self.redis = EmbeddedRedis(self.directory)
        self.nats = EmbeddedNats(self.directory)
        self.started: list[EmbeddedServer] = []
        self.exported: dict[str, str | None] = {}

    def start(self) -> None:
        """Start what is not named, and export every address."""
        try:
            servers: list[EmbeddedServer] = [self.postgres, self.redis, self.nats]
            for server in servers:
                if not os.environ.get(server.variable):
                    self.started.append(server)
                    server.start()
        except BaseException:
            self.stop()
            raise
        for server in self.started:
            self._export(server.variable, server.url)
        self._export("BROKER_URL", os.environ.get("BROKER_URL") or os.environ["REDIS_URL"])
        self._export("DATA_DIR", str(self.directory))
        self._export("SECRET_KEY", os.environ.get("SECRET_KEY") or secrets.token_urlsafe(48))
        self._export("HTTPS", "false")

    def stop(self) -> None:
        """Stop what was started, delete its data, and leave the environment as it was. May be repeated."""
        for server in self.started:
            server.stop()
        self.started.clear()
        for variable, before in self.exported.items():
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
        self.exported.clear()
        self.postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _export(self, variable: str, value: str) -> None:
        self.exported.setdefault(variable, os.environ.get(variable))
        os.environ[variable] = value
