"""The Celery application: it moves the work along, the database holds the truth."""

import os

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clearing_project.settings")

app = Celery("clearing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["clearing"], related_name="tasks")
app.autodiscover_tasks(["clearing"], related_name="pipeline")


@task_prerun.connect
def drop_dead_connections(**_: object) -> None:
    """Give the task a live connection: a worker outlives restarts of PostgreSQL."""
    close_old_connections()
