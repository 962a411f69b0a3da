"""What ``manage.py stack`` does in a terminal, and how its data is deleted."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from clearing_project.errors import ClearingError
from clearing_project.stack.children import Site
from clearing_project.stack.postgres import EmbeddedPostgres
from clearing_project.stack.processes import end_left_behind
from clearing_project.stack.runner import Interrupted, Stack, hold
from clearing_project.stack.runtime import runtime_path

OWN = ("bin", "logs", "nats", "redis", "secrets")  # what we make in a data directory, PostgreSQL apart


def run(
    directory: Path,
    *,
    workers: int,
    concurrency: int,
    sample: bool = False,
    first: Sequence[str] = (),
    once: bool = False,
    stack: Callable[..., Stack] = Stack,
) -> int:
    """
    Run a stack in the foreground until it is told to stop; the exit status.

    Args:
        first: arguments of this Python: a command to run on this terminal once the stack is ready. If
            it fails, the stack stops and its status is returned.
        once: stop when *first* has ended.
    """
    console = Console(soft_wrap=True)
    status = 0
    try:
        with stack(directory, console, sample=sample, workers=workers, concurrency=concurrency) as running:
            since = time.monotonic()
            site = running.start()
            console.print(f"  all of it   {time.monotonic() - since:5.1f} s", highlight=False)
            print("stack ready", flush=True)  # noqa: T201  the line others wait for, exactly
            status = running.attend(first) if first else 0
            console.print(summary(site), highlight=False)
            if status == 0 and not once:
                console.print("Ctrl-C stops it all", highlight=False)
                running.watch()
    except Interrupted:
        pass
    except ClearingError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", highlight=False, markup=False)
        return 1
    console.print("stack stopped")
    return status


def forget(directory: Path) -> None:
    """
    Delete what embedded servers keep in *directory*.

    Raises:
        AlreadyRunning: a stack uses it now.
    """
    if not directory.exists():
        return
    with hold(directory):
        postgres = EmbeddedPostgres(directory)
        end_left_behind(directory, homes=[postgres.data])
        postgres.remove()
        for path in [path for path in OWN if (directory / path).exists()]:
            shutil.rmtree(directory / path)
        runtime_path(directory).unlink(missing_ok=True)


def summary(site: Site) -> str:
    """Where everything is, for a reader."""
    lines = {
        "console": f"{site.http_url}/",
        "admin": f"{site.http_url}/admin/",
        "API docs": f"{site.http_url}/api/docs",
        "gRPC": site.grpc_address,
        "Flower": f"{site.flower_url} (log in as {site.flower_login})",
        "logs": str(site.directory / "logs"),
    }
    return "\n".join(f"  {name:<12}{place}" for name, place in lines.items())
