"""
Run a command and tell what it took: ``python -m bench.peak ARGV``.

A process of its own, because a child inherits the peak of the process that starts it: started from here,
which is small, the command's peak is its own. Prints JSON on stdout; the command's output goes nowhere.
"""

import json
import resource
import subprocess
import sys
from functools import partial

from bench.timing import timed


def main(argv: list[str]) -> int:
    """Run *argv*; return its exit status."""
    seconds, done = timed(partial(subprocess.run, argv, stdout=subprocess.DEVNULL, check=False))
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mb": peak_kib / 1024}))
    return int(done.returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
