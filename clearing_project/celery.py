"""The Celery application: it moves the work along, the database holds the truth."""

import logging.config
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import beat_init, before_task_publish, setup_logging, task_postrun, task_prerun
from django.conf import settings
from django.db import close_old_connections
from structlog.contextvars import clear_contextvars

from clearing_project import trace

REQUEST_ID = "request_id"  # key of a message's headers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clearing_project.settings")

app = Celery("clearing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["clearing"], related_name="tasks")
app.autodiscover_tasks(["clearing"], related_name="pipeline")


@task_prerun.connect
def drop_dead_connections(**_: object) -> None:
    """Give the task a live connection: a worker outlives restarts of PostgreSQL."""
    close_old_connections()


@setup_logging.connect
def log_as_we_do(**_: object) -> None:
    """Configure logging ourselves: Celery, asked by nobody, would add handlers and forms of its own."""
    logging.config.dictConfig(settings.LOGGING)


@beat_init.connect
def say_that_beat_is_ready(**_: object) -> None:
    """Print what the stack waits for, whatever the log level."""
    sys.stdout.write("beat ready\n")
    sys.stdout.flush()


@before_task_publish.connect
def carry_request_id(headers: dict[str, Any] | None = None, **_: object) -> None:
    """Send the request's id along with every message."""
    if headers is not None and (request_id := trace.request_id()):
        headers[REQUEST_ID] = request_id


@task_prerun.connect
def bind_task(task_id: str, task: Any, args: Any = (), **_: object) -> None:
    """Let lines and events of a task bear the request's id; what Beat started is its own request."""
    clear_contextvars()
    trace.bind(request_id=getattr(task.request, REQUEST_ID, None) or task_id, task=task.name, task_id=task_id)
    if args and task.name.startswith(
        "clearing.pipeline."
    ):  # every task of the cycle begins with its operation
        trace.bind(operation_id=str(args[0]))


@task_postrun.connect
def release_task(**_: object) -> None:
    """Bind nothing to what comes after the task."""
    clear_contextvars()
