"""The engine's own processes beside the benchmark: the same worker and web server that a stack runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clearing_project.stack.children import Site, children
from clearing_project.stack.processes import wait_until
from clearing_project.stack.servers import free_port

READY_SECONDS = 60.0


def of(directory: Path) -> Site:
    """Describe the place of the processes: the servers as the environment names them, free ports."""
    names = ("DATABASE_URL", "REDIS_URL", "NATS_URL", "BROKER_URL")
    return Site(
        directory,
        {name: os.environ[name] for name in names},
        http_host="127.0.0.1",
        http_port=free_port("127.0.0.1"),
        grpc_port=free_port("127.0.0.1"),
        flower_port=free_port("127.0.0.1"),
    )


@contextmanager
def running(site: Site, name: str) -> Iterator[None]:
    """Run one process of the stack, ready, until the context ends."""
    child = next(child for child in children(site) if child.name == name)
    assert child.ready is not None, "it says when it is ready"
    process = child.process(site)
    process.start()
    try:
        wait_until(child.ready, watched=process, seconds=READY_SECONDS)
        yield
    finally:
        process.stop()
