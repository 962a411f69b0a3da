"""The engine's processes, as a table: what runs, when it is ready, and what may come back after it ended."""

import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.secret import secret

WEB_THREADS = 16
RESTARTS_MAX = 5  # in a minute, of each process
POOLED = {"DATABASE_POOL": "true"}  # many threads share few connections; never under a worker's prefork


@dataclass(frozen=True)
class Site:
    """Where the parts of one stack are."""

    directory: Path
    servers: dict[str, str]
    http_host: str
    http_port: int
    grpc_port: int
    flower_port: int
    workers: int = 1
    concurrency: int = 2
    sample: bool = False

    @property
    def http_url(self) -> str:
        """The front page."""
        return f"http://{_reachable(self.http_host)}:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of the gRPC door."""
        return f"{_reachable(self.http_host)}:{self.grpc_port}"

    @property
    def flower_url(self) -> str:
        """Flower, on this machine only."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def flower_login(self) -> str:
        """NAME:PASSWORD of Flower."""
        return f"operator:{secret(self.directory, 'flower')}"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the stack, and a client beside it, is told."""
        return {
            **self.servers,
            "DATA_DIR": str(self.directory),
            "SECRET_KEY": os.environ.get("SECRET_KEY") or secret(self.directory, "django"),
            "HTTPS": os.environ.get("HTTPS", "false"),  # a stack is reached on this machine, without a proxy
            "HTTP_HOST": self.http_host,
            "HTTP_PORT": str(self.http_port),
            "GRPC_PORT": str(self.grpc_port),
            "FLOWER_PORT": str(self.flower_port),
        }

    @property
    def addresses(self) -> dict[str, str]:
        """What the stack tells other terminals."""
        environment = self.environment
        return {
            **self.servers,
            "SECRET_KEY": environment["SECRET_KEY"],
            "HTTP_URL": self.http_url,
            "GRPC_ADDRESS": self.grpc_address,
            "FLOWER_URL": self.flower_url,
            "FLOWER_LOGIN": self.flower_login,
            "PID": str(os.getpid()),
        }

    def log(self, name: str) -> Path:
        """The log of the process called *name*."""
        return self.directory / "logs" / f"{name}.log"


@dataclass(frozen=True)
class Child:
    """
    One process of the stack.

    Args:
        arguments: of this Python.
        ready: raises while it is not ready.
        once: it does one job and ends with status 0; ready when it has.
        restarts_max: how often in a minute it may be started again; one more ends the stack.
    """

    name: str
    arguments: tuple[str, ...]
    ready: probes.Probe | None = None
    once: bool = False
    restarts_max: int = RESTARTS_MAX
    environment: dict[str, str] = field(default_factory=dict)
    grace_seconds: float = 10.0

    def process(self, site: Site) -> Process:
        """Describe its process at *site*."""
        return Process(
            self.name,
            [sys.executable, *self.arguments],
            directory=site.directory,
            log=site.log(self.name),
            environment={"PYTHONUNBUFFERED": "1", **site.environment, **self.environment},
            cwd=REPOSITORY,
            grace_seconds=self.grace_seconds,
        )


SAMPLE = Child("sample", ("manage.py", "load_sample_day", "--if-empty"), once=True)
SIMULATED_FAULTS = "late=0.2,timeout=0.1,lost=0.1,twice=0.1"
MIGRATE = Child("migrate", ("manage.py", "migrate", "--no-input"), once=True)


def children(site: Site) -> list[Child]:
    """Every process of a stack, in the order of starting; all start at once after the migration."""
    return [
        _web(site),
        *(_worker(site, number) for number in range(1, site.workers + 1)),
        Child("tick", ("manage.py", "tick"), once=True),  # opens the windows that are due now
        *([SAMPLE] if site.sample else []),
        Child(
            "grpc", ("manage.py", "grpc_server"), probes.grpc_health(site.grpc_address), environment=POOLED
        ),
        _celery(site, "beat", "beat", "--pidfile=", says="beat ready"),
        Child("relay", ("manage.py", "relay"), probes.log_says(site.log("relay"), "relay ready")),
        Child("webhooks", ("manage.py", "webhooks"), probes.log_says(site.log("webhooks"), "webhooks ready")),
        Child(
            "intake",
            ("manage.py", "consume_obligations"),
            probes.log_says(site.log("intake"), "obligation consumer ready"),
        ),
        *([_confirmations(site)] if os.environ.get("SETTLEMENT_ENGINE_URL") else []),
        _flower(site),
    ]


def simulated(site: Site) -> list[Child]:
    """The same with simulated engines outside, at the addresses that the environment names."""
    settlement, risk = (
        os.environ[name].partition("//")[2] for name in ("SETTLEMENT_ENGINE_URL", "RISK_ENGINE_URL")
    )
    book = str(site.log("settlement-engine").with_suffix(".jsonl"))
    seeded = ("--seed=1", f"--faults={SIMULATED_FAULTS}")
    return [
        _simulator(site, "settlement", f"--address={settlement}", f"--log={book}", *seeded),
        _simulator(site, "risk", f"--address={risk}"),
        *children(site),
    ]


def _confirmations(site: Site) -> Child:
    name = "confirmations"
    ready = probes.log_says(site.log(name), "settlement events ready")
    return Child(name, ("manage.py", "settlement_events"), ready)


def _simulator(site: Site, engine: str, *arguments: str) -> Child:
    name = f"{engine}-engine"
    return Child(
        name,
        ("manage.py", f"simulate_{engine}_engine", *arguments),
        probes.log_says(site.log(name), f"{engine} engine ready"),
    )


def _web(site: Site) -> Child:
    host = f"[{site.http_host}]" if ":" in site.http_host else site.http_host
    options = f"--bind={host}:{site.http_port} --worker-class=gthread --workers=2 --threads={WEB_THREADS}"
    more = "--config=python:clearing_project.webserver --graceful-timeout=5 --no-control-socket --preload"
    logs = "--logger-class=clearing_project.weblog.WebLogger"
    command = ("-m", "gunicorn", "clearing_project.wsgi:application", *options.split(), *more.split(), logs)
    return Child("web", command, probes.http(f"{site.http_url}/health/ready"), environment=POOLED)


def _worker(site: Site, number: int) -> Child:
    node = f"worker-{number}@{socket.gethostname()}"
    options = f"--hostname={node} --pool=prefork --concurrency={site.concurrency} --task-events"
    quick = "--loglevel=INFO --without-gossip --without-mingle"
    return Child(
        f"worker-{number}",
        ("-m", "celery", "-A", "clearing_project", "worker", *options.split(), *quick.split()),
        probes.worker(site.servers.get("BROKER_URL") or site.servers["REDIS_URL"], node),
        environment={"REMAP_SIGTERM": "SIGQUIT"},  # a SIGTERM lets running tasks end, within bounds
        grace_seconds=20.0,
    )


def _celery(site: Site, name: str, *arguments: str, says: str) -> Child:
    command = ("-m", "celery", "-A", "clearing_project", *arguments, "--loglevel=INFO")
    return Child(name, command, probes.log_says(site.log(name), says))


def _flower(site: Site) -> Child:
    """Flower on loopback alone: its /metrics asks for no password."""
    options = f"flower --address=127.0.0.1 --port={site.flower_port} --read-only --max-tasks=10000"
    return Child(
        "flower",
        ("-m", "celery", "-A", "clearing_project", *options.split()),
        probes.http(f"{site.flower_url}/healthcheck"),
        environment={"FLOWER_BASIC_AUTH": site.flower_login},  # not on a command line, which anyone may read
    )


def _reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens on *host*."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  read, not bound
    return f"[{host}]" if ":" in host else host
