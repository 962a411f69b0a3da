"""
A risk engine to try ours against: an HTTP server that approves, unless told otherwise.

Modes, each for an instruction whenever it is asked about, but for ``late``, ``timeout`` and ``error``, which
meet it the first time alone:

    reject      it is rejected
    noise       it is rejected, with a reason that no database stores
    timeout     no answer is given
    late        the answer takes a while
    error       the answer is HTTP 500
    nonsense    the answer is no verdict
    die         the process ends
"""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from settlement.rails.risk import PATH
from settlement.simulators.faults import Choose

MODES = ("reject", "noise", "timeout", "late", "error", "nonsense", "die")
ONCE = ("timeout", "late", "error")
SILENCE_SECONDS = 60.0


class RiskEngine:
    """
    What the server answers; *asked* counts the questions by instruction.

    Args:
        choose: the mode for an instruction, given as ``FROM TO AMOUNT CURRENCY``.
    """

    def __init__(
        self,
        *,
        choose: Choose = lambda _: "",
        late_seconds: float = 1.0,
        kill: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL),
    ) -> None:
        self.choose = choose
        self.late_seconds = late_seconds
        self.kill = kill
        self.asked: Counter[str] = Counter()
        self.is_stopped = threading.Event()
        self._lock = threading.Lock()

    def answer(self, question: dict[str, Any]) -> tuple[int, bytes] | None:
        """Answer with a status and a body; None: not at all."""
        key = question["instruction_id"]
        with self._lock:
            self.asked[key] += 1
            is_first = self.asked[key] == 1
        order = " ".join(question[name] for name in ("from_bank", "to_bank", "amount", "currency"))
        mode = self.choose(order)
        if mode in ONCE and not is_first:
            mode = ""
        if mode == "die":
            self.kill()
        if mode in ("timeout", "late"):
            self.is_stopped.wait(SILENCE_SECONDS if mode == "timeout" else self.late_seconds)
        if mode == "timeout":
            return None
        if mode == "error":
            return 500, b"{}"
        if mode == "nonsense":
            return 200, b'{"approved": "perhaps"}'
        reasons = {"reject": "over the limit of the day", "noise": "over the limit\0\ud800"}
        verdict = {"approved": mode not in reasons, "reason": reasons.get(mode, "")}
        return 200, json.dumps(verdict).encode()


@contextmanager
def serving(engine: RiskEngine, address: str) -> Iterator[int]:
    """Serve on *address*, HOST:PORT, for as long as the block lasts; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = engine.answer(json.loads(body)) if self.path == PATH else (404, b"{}")
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        engine.is_stopped.set()
        server.shutdown()
        server.server_close()
