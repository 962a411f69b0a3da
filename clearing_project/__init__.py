"""Wires the rooms together by name: settings, Celery, addresses, errors, lifecycle."""

from clearing_project.celery import app as celery_app

__all__ = ["celery_app"]
