"""A RabbitMQ node of our own: Debian's, on ports and in a directory that are nobody else's."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from clearing_project.stack.servers import free_port

HOME = Path("/usr/lib/rabbitmq")
STARTED_SECONDS = 90.0
HOST = "127.0.0.1"


class Node:
    """Start it, stop it with its data kept, start it again; ``remove`` leaves nothing."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="clearing-rabbit-"))
        self.port, distribution, mapper = (free_port(HOST) for _ in range(3))
        self.url = f"amqp://guest:guest@{HOST}:{self.port}//"
        self.environment = {
            **os.environ,
            "HOME": str(self.directory),  # of the cookie
            "RABBITMQ_NODENAME": f"clearing-{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "none"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it takes connections."""
        log = (self.directory / "out").open("ab")
        command = [str(self._program("rabbitmq-server"))]
        self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTED_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.directory / "out").read_text()
            if self.ask("ping") is not None and self.ask("check_port_listener", str(self.port)):
                return
            time.sleep(0.5)
        raise AssertionError(f"RabbitMQ did not start: {(self.directory / 'out').read_text()}")

    def stop(self) -> None:
        """Stop it in order; its data stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STARTED_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop it and its name server, and delete its data."""
        self.stop()
        subprocess.run(["epmd", "-kill"], env=self.environment, check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def queues(self) -> dict[str, tuple[str, bool]]:
        """Type and durability of each queue."""
        listed = (
            self.ask("list_queues", "--no-table-headers", "name", "type", "durable", tool="rabbitmqctl") or ""
        )
        rows = [line.split("\t") for line in listed.splitlines()]
        return {row[0]: (row[1], row[2] == "true") for row in rows if len(row) == 3}

    def ask(self, *arguments: str, tool: str = "rabbitmq-diagnostics") -> str | None:
        """Ask one of RabbitMQ's own tools; None if it says no."""
        asked = subprocess.run(
            [str(self._program(tool)), "--quiet", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout or "yes" if asked.returncode == 0 else None

    def _program(self, name: str) -> Path:
        path = HOME / "bin" / name
        if not path.exists():
            raise SystemExit("there is no RabbitMQ here: apt-get install rabbitmq-server")
        return path
