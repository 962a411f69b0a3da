"""
``make bench``: measure the engine against its floors on servers of its own.

``SIZES=10000,100000`` in the environment changes the sizes; ``ARGS="netting operations cycle doors"`` names
the parts to measure.
"""

import os
import sys
from importlib import import_module

import django
from rich.console import Console

from bench.servers import Servers

SIZES = "10000,100000,1000000"
WIDTH = 150


def main(arguments: list[str]) -> int:
    """Start the servers, set Django up on them, and measure."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    sizes = sorted(int(size) for size in os.environ.get("SIZES", SIZES).split(","))
    with Servers() as servers:
        os.environ["DJANGO_SETTINGS_MODULE"] = "clearing_project.settings"
        django.setup()
        run = import_module("bench.run")  # it imports models: only once Django is set up
        parts = set(arguments or run.PARTS)
        if unknown := parts.difference(run.PARTS):
            console.print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(run.PARTS)}")
            return 2
        run.Run(sizes, servers.directory, console).measure(parts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
