"""The real runner on a table of small processes: ``small_stack.py DIRECTORY [COMMAND …]``."""

import sys
from functools import partial
from pathlib import Path

from clearing_project.stack import foreground, probes, runner
from clearing_project.stack.children import Child, Site

# Each says that it is up; "stubborn" ignores being asked to end and has a child of its own.
STEADY = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    " print('up', flush=True); time.sleep(600)"
)


def table(site: Site) -> list[Child]:
    """A process that ends when asked, one that does not, one that may come back, and a job."""
    child = partial(Child, grace_seconds=0.5)
    return [
        child("steady", ("-c", STEADY), probes.log_says(site.log("steady"), "up"), restarts_max=0),
        child("stubborn", ("-c", STUBBORN), probes.log_says(site.log("stubborn"), "up"), restarts_max=0),
        child("worker-1", ("-c", STEADY), probes.log_says(site.log("worker-1"), "up")),
        child("job", ("-c", "print('done')"), once=True),
    ]


if __name__ == "__main__":
    job = Child("migrate", ("-c", "print('done')"), once=True)
    stack = partial(runner.Stack, table=table, migration=job)
    directory, *command = sys.argv[1:]
    sys.exit(
        foreground.run(
            Path(directory), workers=1, concurrency=1, first=command, once=bool(command), stack=stack
        )
    )
