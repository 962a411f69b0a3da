"""
Named places where a test may make the engine fail; in a deployment they cost one comparison.

Enabled only by ``CLEARING_FAULTS``, a folder. A file in it named after a point arms that point once: who
takes the file away first acts on what it says, in whichever process. Actions:

    raise        raise FaultInjected
    kill         end the process with SIGKILL
    hang N       stop for N seconds, as a paused worker does
    drop         at a publish: leave the message unsent
    duplicate    at a publish: send it twice
"""

import os
import signal
import time
from pathlib import Path

from django.conf import settings

POINTS = (
    *(
        f"{step}.{place}"
        for step in (
            "window_status_changed",
            "obligations_collected",
            "netting_calculated",
            "instructions_generated",
        )
        for place in (
            "begin.before",
            "begin.after",
            "before",
            "between",
            "after",
            "undo.before",
            "undo.between",
            "undo.after",
        )
    ),
    "currency.computed",
    "currency.between",
    "currency.after",
    "commit.before",
    "commit.between",
    "commit.after",
    "rollback.before",
    "rollback.conclude",
    "finality.between",
    "finality.after",
    "settlement.between",
    "settlement.after",
    "correction.before",
    "correction.between",
    "correction.after",
    "engine.claimed",
    "engine.answered",
    "engine.recorded",
    "publish.before",
    "publish.after",
    "relay.before",
    "relay.between",
    "relay.after",
    "pull.between",
    "intake.between",
)


class FaultInjected(Exception):
    """A test asked for this failure."""


def reach(point: str) -> str:
    """
    Pass a point; fail there if a test armed it.

    Returns:
        ``drop`` or ``duplicate`` for the publisher to act on, else an empty string.
    """
    folder: str = settings.CLEARING["FAULTS"]
    if not folder:
        return ""
    assert point in POINTS, f"{point} is not a fault point"
    armed = Path(folder) / point
    taken = armed.with_name(f"{point}.{os.getpid()}.taken")
    try:
        armed.rename(taken)
    except FileNotFoundError:
        return ""
    action, _, argument = taken.read_text().strip().partition(" ")
    if action == "raise":
        raise FaultInjected(point)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "hang":
        time.sleep(float(argument))
    return action if action in ("drop", "duplicate") else ""
