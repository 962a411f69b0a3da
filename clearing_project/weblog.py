"""Gunicorn's own lines among ours, in the same form."""

from typing import Any

from gunicorn.glogging import Logger


class WebLogger(Logger):
    """What ``gunicorn --logger-class`` names; requests are logged by ``clearing.api.middleware``."""

    def setup(self, cfg: Any) -> None:
        """Leave the lines to the root logger."""
        super().setup(cfg)
        for own in (self.error_log, self.access_log):
            own.handlers.clear()
            own.propagate = True
