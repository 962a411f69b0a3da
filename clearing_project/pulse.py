"""
A sign of life of a process that listens nowhere: ``PULSE_FILE``, touched each time round its loop.

A container's health check looks at it (``python -m clearing_project.stack pulse FILE``). Without the variable
nothing is written.
"""

import os
from pathlib import Path


def beat() -> None:
    """Say that the process is at work, or waits for what is away and will go on."""
    if file := os.environ.get("PULSE_FILE"):
        Path(file).touch()
