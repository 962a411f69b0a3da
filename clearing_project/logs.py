"""
How every process logs: one line each, for people (``line``) or as JSON, with what ``trace`` has bound.

Lines of libraries pass through the same processors as ours.
"""

from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import Processor

FORMATS = ("line", "json")

SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
)
JSON: tuple[Processor, ...] = (
    ProcessorFormatter.remove_processors_meta,
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(default=str),
)
LINE: tuple[Processor, ...] = (
    ProcessorFormatter.remove_processors_meta,
    structlog.dev.ConsoleRenderer(
        colors=False,
        timestamp_key="at",
        pad_event_to=0,
        pad_level=False,
        exception_formatter=structlog.dev.plain_traceback,  # never the values of variables
    ),
)


def configuration(*, style: str, level: str) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` takes, for one of FORMATS."""
    if style not in FORMATS:
        raise SystemExit(f"LOG_FORMAT is {style!r}; it is one of {', '.join(FORMATS)}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "ours": {
                "()": ProcessorFormatter,
                "processors": JSON if style == "json" else LINE,
                "foreign_pre_chain": SHARED,
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {"httpx": {"level": "WARNING"}},
    }
