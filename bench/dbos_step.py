"""
The seconds of one empty step of DBOS Transact on PostgreSQL: ``python -m bench.dbos_step URL``.

The price of a step is what a workflow of eleven steps takes longer than one of one step, by ten; so the
price of starting and ending a workflow is left out.
"""

import json
import sys
from statistics import median
from typing import Final

from dbos import DBOS, DBOSConfig

from bench.timing import timed

WORKFLOWS: Final = 60
MORE_STEPS: Final = 10


@DBOS.step()
def nothing() -> None:
    """Do nothing, durably."""


@DBOS.workflow()
def workflow(steps: int) -> None:
    """Do nothing so many times."""
    for _ in range(steps):
        nothing()


def main(url: str) -> int:
    """Launch DBOS on the database, measure, and print JSON on stdout."""
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", enable_otlp=False))
    DBOS.launch()
    for steps in (1, 1 + MORE_STEPS):
        workflow(steps)
    short = [timed(lambda: workflow(1))[0] for _ in range(WORKFLOWS)]
    long = [timed(lambda: workflow(1 + MORE_STEPS))[0] for _ in range(WORKFLOWS)]
    step_seconds = (median(long) - median(short)) / MORE_STEPS
    DBOS.destroy()
    print(json.dumps({"step_seconds": step_seconds, "workflow_of_one_step_seconds": median(short)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
