"""
A settlement engine to try ours against. It executes by writing a line into its log, and remembers by it.

Modes, each for an order when it first comes:

    reject      it fails
    timeout     it is executed, and no answer is given
    lost        it is not executed, and no answer is given
    twice       each of its events is sent twice
    late        it is accepted, and executed after a while
    noise       it is accepted, executed after a while, and told of in texts that no database stores
    die         it is executed, and the process ends before the answer
    die_first   the process ends before it is executed

A forgetful one, unlike what the interface promises, executes the same order as often as it is sent.
"""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from settlement.rails.pb import settlement_pb2 as pb
from settlement.rails.pb import settlement_pb2_grpc
from settlement.simulators.faults import Choose

MODES = ("reject", "timeout", "lost", "twice", "late", "noise", "die", "die_first")
THREADS = 32
POLL_SECONDS = 0.1
NOISE = "\0" * 1000


class SettlementEngine(settlement_pb2_grpc.SettlementServiceServicer):
    """
    The service.

    Args:
        log: one JSON object a line; *what* is received, accepted, executed or failed. What a log that is
            there says was executed stays executed.
        choose: the mode for an order, given as ``FROM TO AMOUNT CURRENCY``.

    Set *refuses*, and it takes no order at all.
    """

    def __init__(
        self,
        log: Path,
        *,
        choose: Choose = lambda _: "",
        late_seconds: float = 1.0,
        is_forgetful: bool = False,
        kill: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL),
    ) -> None:
        self.log = log
        self.choose = choose
        self.late_seconds = late_seconds
        self.is_forgetful = is_forgetful
        self.kill = kill
        self.refuses = False
        self._lock = threading.RLock()
        self._settlements: dict[str, dict[str, Any]] = {}  # by obligation id
        self._met: set[str] = set()  # obligations that have had their fault
        self._listeners: list[tuple[pb.StreamRequest, queue.Queue[pb.SettlementEvent]]] = []
        self._timers: list[threading.Timer] = []
        self._is_stopped = threading.Event()
        for line in log.read_text().splitlines() if log.exists() else []:
            self._remember(json.loads(line))
        for each in [each for each in self._settlements.values() if each["what"] == "accepted"]:
            self._execute_later(each)

    def ExecuteSettlement(self, request: pb.SettlementRequest, context: Any) -> pb.SettlementResponse:
        """Execute an order, once however often it comes, or do it wrong as chosen."""
        key = request.obligation_id
        if self.refuses:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an order of ours")
        with self._lock:
            mode = "" if key in self._met else self.choose(_said(request))
            self._write("received", request, mode=mode)
            if mode == "die_first":
                self.kill()
            if mode == "lost":
                pass
            elif key not in self._settlements or self.is_forgetful:
                self._take(request, mode)
            if mode == "die":
                self.kill()
        if mode in ("timeout", "lost", "die", "die_first"):
            self._say_nothing(context)
        with self._lock:
            return self._response(self._settlements[key])

    def GetSettlementStatus(self, request: pb.SettlementStatusRequest, context: Any) -> Any:
        """Tell of a settlement by its id or the order's; NOT_FOUND if it never came."""
        asked = request.settlement_id
        with self._lock:
            found = next(
                (each for key, each in self._settlements.items() if asked in (key, each["settlement_id"])),
                None,
            )
            if found is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no settlement {asked}")
                return None
            return pb.SettlementStatusResponse(
                settlement_id=found["settlement_id"],
                status=_status(found),
                from_bank=found["from_bank"],
                to_bank=found["to_bank"],
                amount=found["amount"],
                currency=found["currency"],
                created_at=int(found["at"]),
                completed_at=int(found["at"]) if found["what"] == "executed" else 0,
                error_message="rejected" if found["what"] == "failed" else NOISE * (found["mode"] == "noise"),
            )

    def StreamSettlementEvents(self, request: pb.StreamRequest, context: Any) -> Iterator[pb.SettlementEvent]:
        """Tell what happens from now on."""
        heard: queue.Queue[pb.SettlementEvent] = queue.Queue()
        with self._lock:
            self._listeners.append((request, heard))
        try:
            context.send_initial_metadata(())
            while context.is_active() and not self._is_stopped.is_set():
                try:
                    yield heard.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
        finally:
            with self._lock:
                self._listeners.remove((request, heard))

    def told(self, what: str) -> list[dict[str, Any]]:
        """Return the log's lines about *what*."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["what"] == what]

    def stop(self) -> None:
        """End streams and forget what was still to be executed."""
        self._is_stopped.set()
        for timer in self._timers:
            timer.cancel()

    def _take(self, request: pb.SettlementRequest, mode: str) -> None:
        if mode == "reject":
            entry = self._write("failed", request, mode=mode)
        elif mode in ("late", "noise"):
            entry = self._write("accepted", request, mode=mode)
            self._execute_later(entry)
        else:
            entry = self._write("executed", request, mode=mode)
        self._announce(entry)

    def _execute_later(self, entry: dict[str, Any]) -> None:
        timer = threading.Timer(self.late_seconds, self._execute, [entry])
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _execute(self, entry: dict[str, Any]) -> None:
        with self._lock:
            done = self._append({**entry, "what": "executed", "at": time.time()})
            self._announce(done)

    def _write(self, what: str, request: pb.SettlementRequest, *, mode: str) -> dict[str, Any]:
        key = request.obligation_id
        return self._append(
            {
                "what": what,
                "at": time.time(),
                "mode": mode,
                "obligation_id": key,
                "settlement_id": f"S-{key[:8]}-{len(self._settlements) + 1}",
                "from_bank": request.from_bank,
                "to_bank": request.to_bank,
                "amount": request.amount,
                "currency": request.currency,
                "instruction_id": request.metadata.get("instruction_id", ""),
            }
        )

    def _append(self, entry: dict[str, Any]) -> dict[str, Any]:
        with self.log.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._remember(entry)
        return entry

    def _remember(self, entry: dict[str, Any]) -> None:
        self._met.add(entry["obligation_id"])
        if entry["what"] != "received":
            self._settlements[entry["obligation_id"]] = entry

    def _announce(self, entry: dict[str, Any]) -> None:
        kind = {
            "accepted": pb.TRANSFER_INITIATED,
            "executed": pb.SETTLEMENT_COMPLETED,
            "failed": pb.SETTLEMENT_FAILED,
        }[entry["what"]]
        event = pb.SettlementEvent(
            event_id=f"{entry['settlement_id']}/{entry['what']}",
            settlement_id=entry["settlement_id"],
            event_type=kind,
            timestamp=int(entry["at"]),
            data={"obligation_id": entry["obligation_id"]},
        )
        banks = {entry["from_bank"], entry["to_bank"]}
        for wish, heard in self._listeners:
            if wish.settlement_ids and event.settlement_id not in wish.settlement_ids:
                continue
            if wish.banks and not banks & set(wish.banks):
                continue
            for _ in range(2 if entry["mode"] == "twice" else 1):
                heard.put(event)

    def _response(self, entry: dict[str, Any]) -> pb.SettlementResponse:
        is_done, noise = entry["what"] == "executed", NOISE if entry["mode"] == "noise" else ""
        return pb.SettlementResponse(
            settlement_id=entry["settlement_id"] + noise,
            status=_status(entry),
            reference=f"REF-{entry['settlement_id']}{noise}",
            completed_at=int(entry["at"]) if is_done else 0,
            confirmation_code=f"OK-{entry['settlement_id']}{noise}" if is_done else noise,
            message="rejected" if entry["what"] == "failed" else noise,
        )

    def _say_nothing(self, context: Any) -> None:
        while context.is_active() and not self._is_stopped.wait(POLL_SECONDS):
            pass
        context.abort(grpc.StatusCode.CANCELLED, "nobody waits any more")


@contextmanager
def serving(engine: SettlementEngine, address: str) -> Iterator[int]:
    """Serve on *address*, HOST:PORT, for as long as the block lasts; yields the port."""
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    settlement_pb2_grpc.add_SettlementServiceServicer_to_server(engine, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield port
    finally:
        engine.stop()
        server.stop(1).wait()


def _said(request: pb.SettlementRequest) -> str:
    return f"{request.from_bank} {request.to_bank} {request.amount} {request.currency}"


def _status(entry: dict[str, Any]) -> Any:
    return {"executed": pb.COMPLETED, "failed": pb.FAILED, "accepted": pb.EXECUTING}[entry["what"]]
