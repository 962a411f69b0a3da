"""Processes of a stack: started in sessions of their own, logged, stopped, found again when left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psutil

from clearing_project.errors import Unavailable

MARKER = "CLEARING_STACK"
LAUNCH = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05
TAIL_LINES = 15
PR_SET_CHILD_SUBREAPER = 36


class ProcessEnded(Unavailable):
    """A process of the stack ended although it was needed."""

    code = "process_ended"
    fields = ("name", "status", "log", "tail")
    message = "{name} ended with status {status}. Read {log}, which ends with:\n{tail}"


class NotReady(Unavailable):
    """A process or server did not become ready in time."""

    code = "not_ready"
    fields = ("name", "seconds", "reason", "log", "tail")
    message = "{name} is not ready after {seconds} s ({reason}). Read {log}, which ends with:\n{tail}"


@dataclass
class Process:
    """
    A program with a session, a log and an environment of its own.

    Args:
        directory: the data directory of the stack it belongs to; marks the process and its children.
        log: appended to; None writes to this terminal.
        user: whom to become when the runner is root; "-" stays who it is.
        stop_signal: asks it to end; it also gets this signal when the runner dies.
        grace_seconds: how long it may take to end before it is killed.
    """

    name: str
    argv: Sequence[str]
    directory: Path
    log: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str = "-"
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Run the program; it is not ready yet."""
        shim = [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCH),
            str(os.getpid()),
            str(int(self.stop_signal)),
            self.user,
        ]
        environment = {**os.environ, **self.environment, MARKER: str(self.directory)}
        with contextlib.ExitStack() as opened:
            output = opened.enter_context(self._open_log()) if self.log else None
            self._popen = subprocess.Popen(  # noqa: S603  our own command lines
                [*shim, "--", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=environment,
                cwd=self.cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id, which is also its session's."""
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs or if it was never started."""
        return None if self._popen is None else self._popen.poll()

    @property
    def is_alive(self) -> bool:
        """Whether it was started and still runs."""
        return self._popen is not None and self._popen.poll() is None

    def ended(self) -> ProcessEnded:
        """Say that it ended, and what its log says."""
        return ProcessEnded(self.name, self.status, str(self.log), tail(self.log))

    def not_ready(self, seconds: float, reason: str) -> NotReady:
        """Say that it is late, and what its log says."""
        return NotReady(self.name, round(seconds), reason, str(self.log), tail(self.log))

    def wait_until(self, probe: Callable[[], None], *, seconds: float) -> None:
        """Return once *probe* passes; it raises as long as the process is not ready."""
        wait_until(probe, watched=self, seconds=seconds)

    def stop(self) -> None:
        """End it and everything it started. May be repeated."""
        stop_all([self])

    def kill(self) -> None:
        """Kill it and everything it started at once, as a crash would."""
        if self._popen is not None:
            family = self._family()
            _kill(family)
            self._popen.wait()
            _reap(family)

    def _open_log(self) -> BinaryIO:
        assert self.log is not None, f"{self.name} writes to the terminal"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log.open("ab")

    def _family(self) -> list[psutil.Process]:
        """Everything in its session, and the children that left it (PostgreSQL's back-ends do)."""
        assert self._popen is not None
        family = {pid: None for pid in psutil.pids() if _session(pid) == self._popen.pid}
        if self._popen.poll() is None:
            family |= {child.pid: None for child in psutil.Process(self._popen.pid).children(recursive=True)}
            family[self._popen.pid] = None
        return _processes(family)


def stop_all(processes: Sequence[Process]) -> None:
    """Ask all of *processes* to end at once, kill what does not, and leave none of their children."""
    started = [process for process in processes if process._popen is not None]
    families = {process.name: process._family() for process in started}
    for process in started:
        if process.is_alive:
            os.kill(process.pid, process.stop_signal)
    since = time.monotonic()
    for process in started:
        assert process._popen is not None
        try:
            process._popen.wait(max(process.grace_seconds - (time.monotonic() - since), POLL_SECONDS))
        except subprocess.TimeoutExpired:
            families[process.name] += process._family()
        family = [*families[process.name], *process._family()]
        _kill(family)
        process._popen.wait()
        _reap(family)


def wait_until(probe: Callable[[], None], *, watched: Process, seconds: float) -> None:
    """
    Return once *probe* passes while *watched* lives.

    Raises:
        ProcessEnded: it ended first.
        NotReady: *seconds* are over; carries what *probe* raised last.
    """
    since = time.monotonic()
    while True:
        try:
            probe()
            return
        except Exception as error:  # whatever keeps it from being ready is the reason given at the end
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if not watched.is_alive:
            raise watched.ended()
        if time.monotonic() - since > seconds:
            raise watched.not_ready(seconds, reason)
        time.sleep(POLL_SECONDS)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that none stays as a zombie."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def tail(log: Path | None, lines: int = TAIL_LINES) -> str:
    """The last *lines* of *log*, indented."""
    if log is None:
        return "    (it wrote to the terminal)"
    try:
        with log.open("rb") as stream:
            stream.seek(max(log.stat().st_size - 64 * 1024, 0))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def left_behind(directory: Path, *, homes: Iterable[Path] = ()) -> list[psutil.Process]:
    """
    What a stack of *directory* left running when it was killed.

    Args:
        homes: working directories of servers that hide their environment, as PostgreSQL does.
    """
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    places = {str(home) for home in homes}
    return [p for p in psutil.process_iter() if p.pid not in ours and _belongs(p, str(directory), places)]


def end_left_behind(directory: Path, *, homes: Iterable[Path] = (), seconds: float = 5.0) -> int:
    """End what a killed stack of *directory* left running; how many processes that were."""
    found = left_behind(directory, homes=homes)
    for process in found:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=seconds)
    _kill(alive)
    psutil.wait_procs(alive, timeout=seconds)
    return len(found)


def _belongs(process: psutil.Process, marker: str, places: set[str]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(MARKER) == marker or (bool(places) and process.cwd() in places)
    except psutil.Error:
        return False
    except OSError:  # the kernel answers so for a process that is just ending
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _processes(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        _signal(process, signal.SIGKILL)


def _reap(processes: Iterable[psutil.Process]) -> None:
    """Collect those that became our children when their parent ended; others are init's to collect."""
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)  # checks that the id still means the same process
    except psutil.Error:
        return
