"""The Celery application: it moves the work along, the database holds the truth."""

import logging.config
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    task_failure,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
)
from django.conf import settings
from django.db import close_old_connections
from structlog.contextvars import clear_contextvars

from clearing_project import telemetry, trace

TRACE_CONTEXT = ("traceparent", "tracestate", "baggage")  # what W3C calls them
SPAN = "_clearing_span"  # of the task's request, while it runs

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
    telemetry.start("beat")
    sys.stdout.write("beat ready\n")
    sys.stdout.flush()


@worker_process_init.connect
def trace_this_process(**_: object) -> None:
    """Send spans from the processes that do the tasks; what was forked from has no part in it."""
    telemetry.start("worker")


@worker_process_shutdown.connect
def end_tracing(**_: object) -> None:
    """Send what waits: this process ends without Python's own exit."""
    telemetry.stop()


@before_task_publish.connect
def carry_ids(headers: dict[str, Any] | None = None, **_: object) -> None:
    """Send request, window, operation and span along with every message."""
    if headers is not None:
        headers.update(trace.carried())


@task_prerun.connect
def bind_task(task_id: str, task: Any, args: Any = (), **_: object) -> None:
    """Let lines, events and spans of a task bear its request's ids; what Beat started is its own request."""
    clear_contextvars()
    sent = {name: getattr(task.request, name, None) for name in (*trace.CARRIED, *TRACE_CONTEXT)}
    span = trace.span(task.name, kind="consumer", carrier={name: each for name, each in sent.items() if each})
    span.__enter__()  # it ends with the task
    setattr(task.request, SPAN, span)
    trace.bind(request_id=task_id, task=task.name, task_id=task_id)
    trace.bind_ids({**sent, "window_id": int(sent["window_id"] or 0)})
    if args and task.name.startswith(
        "clearing.pipeline."
    ):  # every task of the cycle begins with its operation
        trace.bind(operation_id=str(args[0]))


@task_failure.connect
def tell_of_failure(exception: BaseException, **_: object) -> None:
    """Say in the task's span that it failed."""
    trace.fail(exception)


@task_postrun.connect
def release_task(task: Any = None, **_: object) -> None:
    """Bind nothing to what comes after the task."""
    if (span := getattr(getattr(task, "request", None), SPAN, None)) is not None:
        span.__exit__(None, None, None)
        setattr(task.request, SPAN, None)
    clear_contextvars()
