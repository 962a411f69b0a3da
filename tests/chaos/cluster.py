"""Servers and processes of a chaos run: the stack's own, killed, and brought back by a supervisor."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from clearing_project.stack import probes
from clearing_project.stack.children import Site, children
from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.processes import Process, stop_all
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import EmbeddedNats, EmbeddedRedis, EmbeddedServer, free_port

READY_SECONDS = 60.0
SUPERVISED_SECONDS = 0.1
ENGINE = ("worker-1", "worker-2", "beat", "relay")
CONFIRMATIONS, OUTSIDE = "confirmations", "settlement-engine"
SETTINGS = {
    "CLEARING_GRACE_PERIOD_SECONDS": "0",
    "CLEARING_MIN_NETTING_EFFICIENCY": "0",  # nothing is held: a run goes to its end by itself
    "LOG_LEVEL": "WARNING",
    "DATABASE_CONN_MAX_AGE": "60",
}


HURRIED = {
    "CLEARING_LEASE_SECONDS": "1.0",
    "REMOTE_TIMEOUT_SECONDS": "0.4",
    "REMOTE_ATTEMPTS_MAX": "2",
    "REMOTE_RESET_SECONDS": "0.5",
}


class Cluster:
    """
    PostgreSQL, Redis and NATS with durable settings, two workers, Beat and the relay.

    Args:
        hurried: with a lease of a second and a Beat that knocks three times in one; else with the defaults.
        outside: what settles is the simulated engine, a process as the others, and not our own ledger.
    """

    def __init__(self, *, hurried: bool = True, outside: bool = False) -> None:
        self.hurried = hurried
        self.outside = outside
        self.directory = Path(tempfile.mkdtemp(prefix="clearing-chaos-"))
        self.armoury = self.directory / "armed"
        self.armoury.mkdir()
        self.postgres = EmbeddedPostgres(self.directory)  # durable: a crash must not lose a commit
        self.redis = EmbeddedRedis(self.directory)
        self.nats = EmbeddedNats(self.directory)
        self.servers: tuple[EmbeddedServer, ...] = (self.postgres, self.redis, self.nats)
        self.processes: dict[str, Process] = {}
        self.restarts: Counter[str] = Counter()
        self.book = self.directory / "settlement-engine.jsonl"
        self._address = f"127.0.0.1:{free_port('127.0.0.1')}" if outside else ""
        self._away_until: dict[str, float] = {}
        self._engine_does: tuple[int, str] | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")

    def start(self) -> None:
        """Start the servers, and point this process at them: to be called before Django's set-up."""
        for server in self.servers:
            server.start()
        os.environ.update({server.variable: server.url for server in self.servers})
        os.environ.update({"BROKER_URL": self.redis.url, "DATA_DIR": str(self.directory), **SETTINGS})
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
        os.environ.update(HURRIED if self.hurried else {})
        os.environ["SETTLEMENT_ENGINE_URL"] = f"grpc://{self._address}" if self.outside else ""
        os.environ.pop("CLEARING_FAULTS", None)  # faults are for the engine, not for its tormentor

    def launch(self) -> None:
        """Start the engine on a migrated database, and keep it running from here on."""
        site = Site(
            directory=self.directory,
            servers={server.variable: server.url for server in self.servers},
            http_host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            flower_port=0,
            workers=2,
        )
        names = (*ENGINE, CONFIRMATIONS) if self.outside else ENGINE
        wanted = {child.name: child for child in children(site) if child.name in names}
        assert sorted(wanted) == sorted(names), wanted
        if self.outside:
            self.start_engine()
        for name, child in wanted.items():
            process = child.process(site)
            process.environment = {**process.environment, "CLEARING_FAULTS": str(self.armoury)}
            self.processes[name] = process
            process.start()
        for name, child in wanted.items():
            assert child.ready is not None, name
            self.processes[name].wait_until(child.ready, seconds=READY_SECONDS)
        self._supervisor.start()

    def stop(self, *, keep: bool = False) -> None:
        """End everything and delete its data, unless it is to *keep* it. May be repeated."""
        self._ended.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        for process in self.processes.values():
            process.kill()
        stop_all([server.process for server in self.servers if server.process is not None])
        if not keep:
            self.postgres.remove()
            shutil.rmtree(self.directory, ignore_errors=True)

    def start_engine(self, *, seed: int = 0, faults: str = "") -> None:
        """
        Start the engine outside, again if it runs with other faults; it goes on with what its book says.

        It forgets nothing it wrote and executes an order as often as it comes: that none comes twice is ours.

        Args:
            seed: which orders the faults meet.
            faults: MODE=SHARE,... as its command takes them.
        """
        if (seed, faults) == self._engine_does:
            return
        self._engine_does = seed, faults
        log = self.directory / "logs" / f"{OUTSIDE}-{time.monotonic_ns()}.log"
        command = f"manage.py simulate_settlement_engine --forgetful --late-seconds=0.7 --seed={seed}"
        argv = [sys.executable, *command.split(), f"--address={self._address}", f"--log={self.book}"]
        process = Process(
            OUTSIDE, [*argv, f"--faults={faults}"], directory=self.directory, log=log, cwd=REPOSITORY
        )
        with self._lock:
            if OUTSIDE in self.processes:
                self.processes[OUTSIDE].kill()
            self._away_until.pop(OUTSIDE, None)
            self.processes[OUTSIDE] = process
            process.start()
        process.wait_until(probes.log_says(log, "settlement engine ready"), seconds=READY_SECONDS)

    # --- what may happen to it ---------------------------------------------------------------------------

    def arm(self, point: str, action: str) -> None:
        """Arm a fault point once."""
        new = self.armoury / f"new-{point}"
        new.write_text(action)
        new.rename(self.armoury / point)

    def disarm(self) -> set[str]:
        """Take every armed point away; the names of those that nobody had reached."""
        left = {path.name for path in self.armoury.iterdir() if path.suffix != ".taken"}
        for name in set(left):
            try:
                (self.armoury / name).unlink()
            except FileNotFoundError:
                left.discard(name)
        return left

    def is_armed(self, point: str) -> bool:
        """Whether nobody has reached the point since it was armed."""
        return (self.armoury / point).exists()

    def kill(self, name: str) -> None:
        """SIGKILL a process with all its children; the supervisor brings it back."""
        with self._lock:
            self.processes[name].kill()

    def send_away(self, name: str, *, seconds: float) -> None:
        """SIGKILL a process, and bring it back only after a while."""
        with self._lock:
            self._away_until[name] = time.monotonic() + seconds
            self.processes[name].kill()

    def kill_child(self, name: str, chance: random.Random) -> None:
        """SIGKILL one pool process of a worker."""
        self._signal_child(name, chance, signal.SIGKILL)

    def pause_child(self, name: str, chance: random.Random, *, seconds: float) -> None:
        """Stop one pool process of a worker as a paused machine does, and let it go on later."""
        paused = self._signal_child(name, chance, signal.SIGSTOP)
        if paused is not None:
            self._later(seconds, lambda: paused.send_signal(signal.SIGCONT))

    def restart(self, server: EmbeddedServer, *, lose: Callable[[], None] | None = None) -> None:
        """Crash a server and start it again where it was: PostgreSQL in immediate mode, others by SIGKILL."""
        url = server.url
        assert server.process is not None, f"{server.name} was never started"
        if isinstance(server, EmbeddedPostgres):
            os.kill(server.process.pid, signal.SIGQUIT)
            psutil.wait_procs([psutil.Process(server.process.pid)], timeout=5)
        server.kill()
        if lose is not None:
            lose()
        server.start()
        assert server.url == url, f"{server.name} came back elsewhere"

    def lose_redis(self) -> None:
        """Crash Redis, and let it come back with nothing of what it held."""
        home = self.directory / self.redis.name
        self.restart(self.redis, lose=lambda: shutil.rmtree(home / "appendonlydir", ignore_errors=True))

    def _signal_child(
        self, name: str, chance: random.Random, number: signal.Signals
    ) -> psutil.Process | None:
        with self._lock, contextlib.suppress(psutil.Error):
            pool = sorted(psutil.Process(self.processes[name].pid).children(), key=lambda each: each.pid)
            if pool:
                chosen = chance.choice(pool)
                chosen.send_signal(number)
                return chosen
        return None

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            with contextlib.suppress(psutil.Error):
                call()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        timer.start()

    def _supervise(self) -> None:
        while not self._ended.wait(SUPERVISED_SECONDS):
            for name in list(self.processes):
                with self._lock:
                    process, is_due = self.processes[name], self._away_until.get(name, 0) < time.monotonic()
                    if is_due and not process.is_alive and not self._ended.is_set():
                        self.restarts[name] += 1
                        process.start()
