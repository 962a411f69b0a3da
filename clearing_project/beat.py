"""Beat's scheduler."""

from typing import Any

from django_celery_beat.schedulers import DatabaseScheduler

from clearing_project import pulse


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """The entries of the database, with a sign of life each time round."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; return the seconds until the next is."""
        pulse.beat()
        seconds: float = super().tick(*args, **kwargs)
        return seconds
