"""What this process logs, as the machine reads it."""

import json
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clearing_project.logs import configuration


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[list[dict[str, Any]]]:
    """Collect every line as an object, with all that is bound while it is written, from any thread."""
    form = logging.config.DictConfigurator(configuration(style="json", level="INFO"))
    formatter = form.configure_formatter(form.config["formatters"]["ours"])
    seen: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(json.loads(formatter.format(record)))

    root, handler = logging.getLogger(), Keep(level)
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield seen
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
