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
            os.environ[server.variable] = server.url
        os.environ.setdefault("BROKER_URL", os.environ["REDIS_URL"])
        os.environ["DATA_DIR"] = str(self.directory)
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
        os.environ["HTTPS"] = "false"

    def stop(self) -> None:
        """Stop what was started and delete its data. May be repeated."""
        for server in self.started:
            server.stop()
        self.started.clear()
        self.postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
