"""
``make bench``: measure the engine against its floors on servers of its own.

``SIZES=10000,100000`` in the environment changes the sizes; ``ARGS="netting operations cycle doors"`` names
the parts to measure.
"""

import os
import signal
import sys
from importlib import import_module

import django
from rich.console import Console

from bench.servers import Servers

SIZES = "10000,100000,1000000"
WIDTH = 150
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Measure; whatever ends it, the servers are stopped and their data deleted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # also where a shell has it ignored
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    sizes = sorted(int(size) for size in os.environ.get("SIZES", SIZES).split(","))
    try:
        with Servers() as servers:
            return _measure(servers, sizes, set(arguments), console)
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure(servers: Servers, sizes: list[int], parts: set[str], console: Console) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "clearing_project.settings"
    django.setup()
    run = import_module("bench.run")  # it imports models: only once Django is set up
    if unknown := parts.difference(run.PARTS):
        console.print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(run.PARTS)}")
        return 2
    run.Run(sizes, servers.directory, console).measure(parts or set(run.PARTS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
