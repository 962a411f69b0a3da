"""
``python -m tests.chaos``: random runs by seed with a table at the end; ``--serve`` plays what stdin asks for.

With ``--serve`` each line in is a JSON object, ``{"seed": 7}`` or ``{"point": "commit.between", "action":
"kill"}``, and each line out is the run's outcome.
"""

import argparse
import importlib
import os
import signal
import sys

import django

from clearing_project.stack.processes import adopt_orphans
from tests.chaos.cluster import Cluster


def main() -> int:
    """Start the servers, then hand over to what can only be imported once they are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[1])
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each next run takes the next")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--serve", action="store_true", help="play what stdin asks for, line by line")
    parser.add_argument(
        "--defaults", action="store_true", help="with the lease and the intervals of a deployment: slower"
    )
    parser.add_argument(
        "--rails",
        choices=("ledger", "engine"),
        default="ledger",
        help="what settles: our own ledger, or a simulated engine outside that is tormented as well",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave logs and data where they are, and say where"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything is stopped
    adopt_orphans()
    cluster = Cluster(hurried=not arguments.defaults, outside=arguments.rails == "engine")
    try:
        cluster.start()
        os.environ["DJANGO_SETTINGS_MODULE"] = "clearing_project.settings"
        django.setup()
        session = importlib.import_module("tests.chaos.session")  # reads settings, which read the environment
        if arguments.serve:
            return int(session.serve(cluster))
        return int(session.series(cluster, seed=arguments.seed, runs=arguments.runs))
    finally:
        cluster.stop(keep=arguments.keep)
        if arguments.keep:
            sys.stderr.write(f"logs: {cluster.directory / 'logs'}\n")


if __name__ == "__main__":
    sys.exit(main())
