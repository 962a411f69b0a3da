"""
Ask one process whether it is ready.

``python -m clearing_project.stack http URL | grpc HOST:PORT | worker NODE | pulse FILE``

Exit status 0 if it is; else 1, and the reason on stderr. For health checks of containers.
"""

import os
import sys
from collections.abc import Callable
from functools import partial

from clearing_project.stack import probes


def main(kind: str, place: str) -> int:
    """Ask once."""
    broker = os.environ.get("BROKER_URL") or os.environ.get("REDIS_URL", "")
    kinds: dict[str, Callable[[str], probes.Probe]] = {
        "http": probes.http,
        "grpc": probes.grpc_health,
        "worker": partial(probes.worker, broker),
        "pulse": probes.pulse,
    }
    try:
        kinds[kind](place)()
    except Exception as error:  # whatever it is, it is the reason
        print(f"{place}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
