"""
Listen to the settlement engine's events, so that confirmations are taken when they come.

An event is a knock: what it is about is asked for. One that is lost while nobody listens costs time and
nothing else, because the sweep asks as well.
"""

import logging
import queue
import random
import threading
from datetime import datetime
from typing import Any
from uuid import UUID

import grpc
from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone

from clearing import finality, settling
from clearing_project import pulse, trace
from settlement.rails import engine
from settlement.rails.executions import Outcome

logger = logging.getLogger(__name__)

Heard = tuple[str, str, Outcome]

TAKEN_MAX = 500
GATHER_SECONDS = 0.1
POLL_SECONDS = 0.5
WAIT_SECONDS_MAX = 10.0  # before the stream is opened again: random, up to twice as long each time


def run(*, stop: threading.Event) -> None:
    """Listen until *stop* is set, opening the stream again whenever it breaks."""
    heard: queue.Queue[Heard] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(heard, stop), daemon=True)
    listener.start()
    while not stop.is_set():
        pulse.beat()
        told = _gather(heard, stop)
        if told:
            close_old_connections()
            try:
                take(told, at=timezone.now())
            except (OperationalError, InterfaceError) as away:
                logger.warning("%d event(s) are left to the sweep: %s", len(told), away)
    listener.join()


def take(told: list[Heard], *, at: datetime) -> set[UUID]:
    """Ask for what the events are about, and go on with the runs concerned, each for itself."""
    runs = settling.hear(told, at=at)
    for operation_id in sorted(runs):
        with trace.step("settle", operation_id=str(operation_id)):
            try:
                finality.settle(operation_id, at=at)
            except (OperationalError, InterfaceError):
                raise
            except Exception:  # the sweep meets it again
                logger.exception("operation %s", operation_id)
    return runs


def _gather(heard: "queue.Queue[Heard]", stop: threading.Event) -> list[Heard]:
    """Return what has come in, a little of it at once; empty after a while of silence."""
    try:
        told = [heard.get(timeout=POLL_SECONDS)]
    except queue.Empty:
        return []
    stop.wait(GATHER_SECONDS)
    while len(told) < TAKEN_MAX and not heard.empty():
        told.append(heard.get())
    return told


def _listen(heard: "queue.Queue[Heard]", stop: threading.Event) -> None:
    wait = 1.0
    while not stop.is_set():
        call = engine.subscribe()
        ender = threading.Thread(target=_cancel_at, args=(call, stop), daemon=True)
        ender.start()
        try:
            for event in engine.events(call):
                heard.put(event)
                wait = 1.0
        except grpc.RpcError as broken:
            if not stop.is_set():
                logger.warning("the settlement engine's stream broke: %s", broken)
        stop.wait(random.uniform(0, wait))  # noqa: S311 - spreads reconnections # nosec B311
        wait = min(2 * wait, WAIT_SECONDS_MAX)


def _cancel_at(call: Any, stop: threading.Event) -> None:
    """Cancel the stream when we are told to stop; end when it has ended by itself."""
    while not stop.wait(POLL_SECONDS):
        if call.done():
            return
    call.cancel()
