"""How a process that runs until it is told to stop is told: by SIGTERM, or by Ctrl-C."""

import asyncio
import signal
import threading
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def told() -> threading.Event:
    """Return an event that either signal sets. Call it in the main thread, once a process."""
    stop = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    return stop


def told_in_loop() -> asyncio.Event:
    """Return an event of the running loop that either signal sets."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    return stop
