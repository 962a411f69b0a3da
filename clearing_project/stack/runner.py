"""
The whole stack in the foreground: servers, migration, the engine's processes; watched, and stopped as one.

The runner holds a lock on its data directory as long as it lives. What a runner that was killed left
behind is found and ended at the next start.
"""

import fcntl
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console

from clearing_project.errors import Conflict, Unavailable
from clearing_project.stack import probes
from clearing_project.stack.children import MIGRATE, RESTARTS_MAX, Child, Site, children
from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.processes import (
    POLL_SECONDS,
    Process,
    ProcessEnded,
    adopt_orphans,
    end_left_behind,
    stop_all,
)
from clearing_project.stack.runtime import REPOSITORY, lock_path, runtime_path
from clearing_project.stack.secret import private_write
from clearing_project.stack.servers import (
    EmbeddedNats,
    EmbeddedRedis,
    EmbeddedServer,
    free_port,
    is_free,
)

READY_SECONDS = 120.0
GIVEN_SECONDS = 5.0
LOCK_SECONDS = 2.0
RESTART_SPAN_SECONDS = 60.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GIVEN: dict[str, Callable[[str], probes.Probe]] = {
    "DATABASE_URL": probes.postgres,
    "REDIS_URL": probes.valkey,
    "NATS_URL": probes.jetstream,
}


class AlreadyRunning(Conflict):
    """Another stack holds the data directory."""

    code = "already_running"
    fields = ("directory", "pid")
    message = (
        "A stack runs on {directory} already (process {pid}). Stop it, or set DATA_DIR to another folder."
    )


class ServerUnreachable(Unavailable):
    """A server named in the environment does not answer."""

    code = "server_unreachable"
    fields = ("variable", "seconds", "reason")
    message = "{variable} names a server that does not answer for {seconds} s: {reason}"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: stop everything; no fault."""


class Stack:
    """
    One running system. Use it as a context: leaving it stops every process.

        with Stack(data_dir(), console) as stack:
            stack.start()
            stack.watch()

    Args:
        directory: where servers keep their data and logs go.
        console: where progress is told.
        table: the processes of a site.
        sample: register the sample participants in an embedded database that has none.
        workers: worker processes, each running *concurrency* tasks at a time.
    """

    def __init__(
        self,
        directory: Path,
        console: Console,
        *,
        table: Callable[[Site], list[Child]] = children,
        migration: Child | None = MIGRATE,
        sample: bool = False,
        workers: int = 1,
        concurrency: int = 2,
    ) -> None:
        self.directory = directory
        self.console = console
        self.table = table
        self.migration = migration
        self.sample = sample
        self.workers = workers
        self.concurrency = concurrency
        self.site: Site | None = None
        self._servers: list[EmbeddedServer] = []
        self._running: dict[str, tuple[Child, Process]] = {}
        self._restarts: dict[str, deque[float]] = {}
        self._interrupted = False
        self._polling = False
        self._is_up = False
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        """Take the data directory and the signals; nothing runs yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        adopt_orphans()
        self._leaving.callback(hold(self.directory).close)
        for number in SIGNALS:
            self._leaving.callback(signal.signal, number, signal.signal(number, self._on_signal))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every process, newest first, and let go of the data directory."""
        self._polling = True
        with self._leaving:
            self.stop()

    def start(self) -> Site:
        """
        Start everything and return once every health check passes.

        Also sets the addresses in this process's environment.

        Raises:
            ProcessEnded: a process ended; carries the log to read.
            NotReady: a process took too long.
            Interrupted: a signal came.
        """
        self._polling = True
        try:
            self._clean()
            self.site = site = self._place(self._start_servers())
            os.environ.update(site.environment)
            private_write(runtime_path(self.directory), json.dumps(site.addresses))
            if self.migration:
                self._start_all([self.migration])
            self._start_all(self.table(site))
            self._is_up = True
        finally:
            self._polling = False
        return site

    def watch(self) -> None:
        """Return at Ctrl-C or SIGTERM; start what ended again; raise if it ends too often."""
        self._polling = True
        while not self._interrupted:
            self._check()
            time.sleep(POLL_SECONDS * 4)

    def attend(self, arguments: Sequence[str]) -> int:
        """Run a command of this Python on this terminal, watching the stack meanwhile; its exit status."""
        self._polling = True
        argv = [sys.executable, *arguments]
        command = Process(
            " ".join(arguments), argv, directory=self.directory, log=None, cwd=REPOSITORY, grace_seconds=1
        )
        command.start()
        try:
            while (status := command.status) is None:
                self._check()
                time.sleep(POLL_SECONDS)
        finally:
            command.stop()
            self.console.show_cursor()  # a progress display that was ended leaves it hidden
        return status

    def stop(self) -> None:
        """Stop the engine's processes, then the servers. May be repeated."""
        runtime_path(self.directory).unlink(missing_ok=True)
        stop_all([process for _, process in reversed(self._running.values())])
        self._running.clear()
        stop_all([server.process for server in self._servers if server.process is not None])
        self._servers.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """While we poll, remember it: an exception between a fork and its record would lose a child."""
        self._interrupted = True
        if not self._polling:
            raise Interrupted

    def _clean(self) -> None:
        """End what a killed runner left and put its logs aside."""
        homes = [EmbeddedPostgres(self.directory).data]
        if count := end_left_behind(self.directory, homes=homes):
            self.console.print(f"stopped {count} processes of a stack that was killed", highlight=False)
        for log in (self.directory / "logs").glob("*.log"):
            if not log.name.endswith(".previous.log"):
                log.replace(log.with_suffix(".previous.log"))

    def _start_servers(self) -> dict[str, str]:
        """Start the servers whose variable is unset and check the others; their URLs by variable."""
        urls = {"BROKER_URL": os.environ["BROKER_URL"]} if os.environ.get("BROKER_URL") else {}
        servers: list[EmbeddedServer] = [
            EmbeddedPostgres(self.directory),
            EmbeddedRedis(self.directory),
            EmbeddedNats(self.directory),
        ]
        launched: list[tuple[EmbeddedServer, Process, float]] = []
        for server in servers:
            since = time.monotonic()
            if given := os.environ.get(server.variable):
                self._check_given(server, given, since)
                urls[server.variable] = given
                continue
            self._servers.append(server)
            launched.append((server, server.launch(), since))
        for server, process, since in launched:
            self._wait(process, server.probe, since)
            server.finish()
            urls[server.variable] = server.url
            self._tell(server.name, since, f"127.0.0.1:{server.port}")
        return urls

    def _check_given(self, server: EmbeddedServer, url: str, since: float) -> None:
        probe = GIVEN[server.variable](url)
        while reason := _reason(probe):
            self._refuse_interrupt()
            if time.monotonic() - since > GIVEN_SECONDS:
                raise ServerUnreachable(server.variable, round(GIVEN_SECONDS), reason)
            time.sleep(POLL_SECONDS)
        self._tell(server.name, since, f"as named in {server.variable}")

    def _place(self, servers: dict[str, str]) -> Site:
        """Choose the ports: the wished ones where they are free."""
        host = os.environ.get("HTTP_HOST") or "127.0.0.1"
        taken: set[int] = set()
        ports = {}
        for variable, bound, default in (
            ("HTTP_PORT", host, 8085),
            ("GRPC_PORT", host, 50055),
            ("FLOWER_PORT", "127.0.0.1", 5555),
        ):
            wished = port = int(os.environ.get(variable) or default)
            while port in taken or not is_free(bound, port):
                port = free_port(bound)
            if port != wished:
                self.console.print(f"{variable} {wished} is taken, using {port}", highlight=False)
            taken.add(port)
            ports[variable.lower()] = port
        return Site(
            self.directory,
            servers,
            http_host=host,
            **ports,
            workers=self.workers,
            sample=self.sample and "DATABASE_URL" in {server.variable for server in self._servers},
            concurrency=self.concurrency,
        )

    def _start_all(self, table: list[Child]) -> None:
        """Start all of *table* at once and return when each is ready."""
        assert self.site is not None
        since = time.monotonic()
        for child in table:
            process = child.process(self.site)
            self._running[child.name] = (child, process)
            process.start()
        waiting = list(table)
        with self.console.status("") as status:  # shown on a terminal only
            while waiting:
                status.update(f"waiting for {', '.join(child.name for child in waiting)}")
                for child in list(waiting):
                    if self._became_ready(child, since):
                        waiting.remove(child)
                        self._tell(child.name, since)
                self._check()
                time.sleep(POLL_SECONDS)

    def _became_ready(self, child: Child, since: float) -> bool:
        process = self._running[child.name][1]
        reason = _reason(child.ready) if child.ready else ""
        if child.once:
            reason = "still runs" if process.is_alive else ""
            if process.status == 0:
                del self._running[child.name]
        if reason and time.monotonic() - since > READY_SECONDS:
            raise process.not_ready(READY_SECONDS, reason)
        return not reason

    def _wait(self, process: Process, probe: probes.Probe, since: float) -> None:
        while reason := _reason(probe):
            if not process.is_alive:
                raise process.ended()
            if time.monotonic() - since > READY_SECONDS:
                raise process.not_ready(READY_SECONDS, reason)
            self._refuse_interrupt()
            time.sleep(POLL_SECONDS)

    def _check(self) -> None:
        """Raise if a signal came, or a process ended too often or before all were up; start others again."""
        self._refuse_interrupt()
        for server in self._servers:
            if server.process is not None and not server.process.is_alive:
                self._bring_back(server, server.process.ended())
        for child, process in list(self._running.values()):
            if not process.is_alive and not (child.once and process.status == 0):
                self._restart(child, process)

    def _bring_back(self, server: EmbeddedServer, ended: ProcessEnded) -> None:
        """Start a server again where it was, with its data; its clients connect anew."""
        url = server.url
        while True:
            self._count(server.name, ended, RESTARTS_MAX)
            server.kill()
            try:
                self._wait(server.launch(), server.probe, time.monotonic())
                break
            except ProcessEnded as again:  # PostgreSQL waits until the last back-end of the dead one is gone
                ended = again
        if server.url != url:
            raise ended

    def _restart(self, child: Child, process: Process) -> None:
        """Start *process* again, unless it ended too often: then raise."""
        self._count(child.name, process.ended(), child.restarts_max)
        process.kill()  # the pool of a killed worker may still run
        process.start()

    def _count(self, name: str, ended: ProcessEnded, restarts_max: int) -> None:
        """Say that it is started again, or raise *ended*: it ended too often, or never came up."""
        now, recent = time.monotonic(), self._restarts.setdefault(name, deque())
        while recent and now - recent[0] > RESTART_SPAN_SECONDS:
            recent.popleft()
        if len(recent) >= restarts_max or not self._is_up:
            raise ended
        recent.append(now)
        self.console.print(
            f"{name} ended with status {ended.details['status']}: starting it again"
            f" ({len(recent)} of {restarts_max} in {RESTART_SPAN_SECONDS:.0f} s)",
            highlight=False,
        )

    def _refuse_interrupt(self) -> None:
        if self._interrupted:
            raise Interrupted

    def _tell(self, name: str, since: float, detail: str = "") -> None:
        line = f"  {name:<12}{time.monotonic() - since:5.1f} s  {detail}"
        self.console.print(line.rstrip(), highlight=False, soft_wrap=True)


def hold(directory: Path) -> TextIOWrapper:
    """Hold *directory* until the file is closed or this process ends."""
    handle = lock_path(directory).open("a")
    since = time.monotonic()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:  # a stack, or a command that looks whether one runs
            if time.monotonic() - since > LOCK_SECONDS:
                handle.close()
                raise AlreadyRunning(str(directory), _runner(directory)) from None
            time.sleep(POLL_SECONDS)


def _runner(directory: Path) -> str:
    try:
        return str(json.loads(runtime_path(directory).read_text())["PID"])
    except (OSError, ValueError, KeyError):
        return "starting"


def _reason(probe: probes.Probe) -> str:
    """Why *probe* does not pass; empty when it does."""
    try:
        probe()
    except Exception as error:  # whatever it is, it is the reason
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""
