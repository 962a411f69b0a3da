"""
An obligation engine to try ours against: it holds one list of obligations and hands it to the first window
that asks, or to each window what is meant for it.

Modes, each for so many calls as it is told:

    reject         the call is refused
    timeout        no answer is given
    late           the answer comes after a while
    twice          every obligation is sent twice
    cut            the stream breaks in the middle
    die            the process ends in the middle of the stream
    again          the stream begins anew, wherever it was to be resumed
    wrong_netting  a position is one minor unit off
    wrong_count    an obligation too many is counted
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from clearing.engine.pb import obligation_pb2 as pb
from clearing.engine.pb import obligation_pb2_grpc
from clearing.obligations import Submission
from netting import money

MODES = ("reject", "timeout", "late", "twice", "cut", "die", "again", "wrong_netting", "wrong_count")
THREADS = 16


class ObligationEngine(obligation_pb2_grpc.ObligationServiceServicer):
    """
    The service.

    Args:
        faults: how many calls misbehave in each mode; -1 is all of them.
    """

    def __init__(
        self,
        obligations: Sequence[Submission] = (),
        *,
        faults: dict[str, int] | None = None,
        late_seconds: float = 1.0,
        kill: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL),
    ) -> None:
        self._waiting = list(obligations)
        self._of_window: dict[int, list[Submission]] = {}
        self._by_reference: dict[str, Submission] = {}
        self._faults = dict(faults or {})
        self._late_seconds = late_seconds
        self._kill = kill
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.streams: list[tuple[int, int]] = []  # window and place of every stream that was asked for

    def give(self, obligations: Sequence[Submission]) -> None:
        """Add obligations for the next window that asks for the first time."""
        with self._lock:
            self._waiting.extend(obligations)

    def misbehave(self, **faults: int) -> None:
        """Misbehave in the next calls; -1 is for ever, 0 no more."""
        with self._lock:
            self._faults |= faults

    def GetObligations(self, request: pb.GetObligationsRequest, context: Any) -> Iterator[pb.Obligation]:
        """Stream what belongs in the window, or do it wrong as told."""
        self._fail(context)
        after = 0 if self._is("again") else request.after_sequence
        with self._lock:
            self.streams.append((request.window_id, request.after_sequence))
            if request.window_id not in self._of_window:
                self._of_window[request.window_id], self._waiting = self._waiting, []
            rows = self._of_window[request.window_id]
            self._by_reference |= {row.reference: row for row in rows}
        middle = (after + len(rows)) // 2
        cut, die = self._is("cut"), self._is("die")
        times = 2 if self._is("twice") else 1
        for sequence, row in enumerate(rows, start=1):
            if sequence <= after:
                continue
            if sequence > middle and cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            if sequence > middle and die:
                self._kill()
            for _ in range(times):
                yield _sent(row, sequence)

    def CalculateNetting(self, request: pb.CalculateNettingRequest, context: Any) -> pb.NettingResponse:
        """Net what was streamed for the window, as its request corrects that, or do it wrong as told."""
        self._fail(context)
        with self._lock:
            rows = {row.reference: row for row in self._of_window.get(request.window_id, [])}
            for reference in request.without_references:
                del rows[reference]
            rows |= {reference: self._by_reference[reference] for reference in request.with_references}
        net: Counter[tuple[str, str]] = Counter()
        for row in rows.values():
            amount_minor = money.parse_minor(row.amount, row.currency)
            net[row.currency, row.payer] -= amount_minor
            net[row.currency, row.payee] += amount_minor
        if net and self._is("wrong_netting"):
            net[min(net)] += 1
        positions = [
            pb.NetPosition(
                participant=participant, currency=currency, net_amount=money.format_minor(minor, currency)
            )
            for (currency, participant), minor in sorted(net.items())
            if minor
        ]
        count = len(rows) + self._is("wrong_count")
        return pb.NettingResponse(
            window_id=request.window_id, obligations_count=count, net_positions=positions
        )

    def stop(self) -> None:
        """Let the calls end that were to be given no answer."""
        self._stopped.set()

    def _fail(self, context: Any) -> None:
        if self._is("reject"):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours")
        if self._is("timeout"):
            self._stopped.wait(context.time_remaining())
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer")
        if self._is("late"):
            self._stopped.wait(self._late_seconds)

    def _is(self, mode: str) -> bool:
        """Whether this call misbehaves in that mode; it is counted down."""
        with self._lock:
            left = self._faults.get(mode, 0)
            if left > 0:
                self._faults[mode] = left - 1
            return left != 0


@contextmanager
def serving(engine: ObligationEngine, address: str) -> Iterator[int]:
    """Serve on *address*, HOST:PORT, as long as the block lasts; yields the port."""
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    obligation_pb2_grpc.add_ObligationServiceServicer_to_server(engine, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield port
    finally:
        engine.stop()
        server.stop(grace=None).wait()


def _sent(row: Submission, sequence: int) -> pb.Obligation:
    return pb.Obligation(
        reference=row.reference,
        payer=row.payer,
        payee=row.payee,
        currency=row.currency,
        amount=row.amount,
        due_date=row.due_date.isoformat() if row.due_date else "",
        priority=row.priority,
        link=row.link or "",
        sequence=sequence,
    )
