"""What gunicorn is told besides its arguments: ``gunicorn --config=python:clearing_project.webserver``."""

from typing import Any

from clearing_project import telemetry


def post_fork(_server: Any, _worker: Any) -> None:
    """Send spans from the worker, not from the process that it was forked from."""
    telemetry.start("web")


def worker_exit(_server: Any, _worker: Any) -> None:
    """Send what waits."""
    telemetry.stop()
