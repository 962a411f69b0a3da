"""
OpenTelemetry, if ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector. If not, nothing of it is imported.

The packages are optional: ``requirements-otel.txt``. With the variable set and a package missing nothing
starts.
"""

import importlib
import os
from typing import Any

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "http/protobuf"


def is_on() -> bool:
    """Tell whether spans are to be sent anywhere."""
    is_named = bool(os.environ.get(ENDPOINT) or os.environ.get(TRACES_ENDPOINT))
    return is_named and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def refuse_incomplete() -> None:
    """Leave the program if spans are asked for and cannot be sent."""
    if is_on():
        _tracing()


def instrument() -> None:
    """Prepare the libraries before they are used. It starts no thread, so forks may follow."""
    if is_on():
        _tracing().instrument()


def start(process: str) -> None:
    """
    Send spans of this process from here on. Call it after the last fork: the sender's thread dies with one.

    Args:
        process: what it is, such as ``worker``.
    """
    if is_on():
        _tracing().instrument()
        _tracing().start(process)


def stop() -> None:
    """Send what waits, within seconds."""
    if is_on():
        _tracing().stop()


def _tracing() -> Any:
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(name, PROTOCOL) != PROTOCOL:
            raise SystemExit(f"{name} is {os.environ[name]!r}; spans are sent as {PROTOCOL} alone")
    try:
        return importlib.import_module("clearing_project.tracing")
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"{ENDPOINT} is set, but {missing.name} is not installed. Install the optional packages of"
            " requirements-otel.txt (make otel), or unset the variable."
        ) from missing
