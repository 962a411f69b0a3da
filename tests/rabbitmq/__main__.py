"""``python -m tests.rabbitmq``: the cycle's tests, and what only RabbitMQ can show, on a node of its own."""

import json
import os
import subprocess
import sys

from clearing_project.stack.runtime import REPOSITORY
from tests.rabbitmq.node import Node

TESTS = (
    "tests/cycle/test_cycle.py",
    "tests/cycle/test_cycle_failures.py",
    "tests/cycle/test_worker.py",
    "tests/rabbitmq/checks.py",  # its name keeps it out of `make test`, which needs no RabbitMQ
)


def main(arguments: list[str]) -> int:
    """Run them; the exit status is pytest's."""
    node = Node()
    try:
        node.start()
        told = {"port": node.port, "directory": str(node.directory), "environment": node.environment}
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # settings are read once the test's servers are named
        environment = {**os.environ, "BROKER_URL": node.url, "RABBITMQ_OF_TESTS": json.dumps(told)}
        print(f"RabbitMQ {node.ask('server_version')} at {node.url}", flush=True)  # noqa: T201
        command = [sys.executable, "-m", "pytest", *TESTS, *arguments]
        status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
        for name, (kind, durable) in sorted(node.queues().items()):
            if not name.startswith("celery_delayed_"):  # 28 of them, for retries that wait
                print(f"  queue {name}: {kind}, {'durable' if durable else 'transient'}")  # noqa: T201
        return status
    finally:
        node.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
