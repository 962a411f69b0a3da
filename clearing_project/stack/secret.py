"""Passwords of a data directory: made once, readable by its owner alone."""

import os
import secrets
from pathlib import Path


def secret(directory: Path, name: str) -> str:
    """The secret called *name* of *directory*, made at the first call."""
    path = directory / "secrets" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        private_write(path, secrets.token_urlsafe(32))
    return path.read_text()


def private_write(path: Path, text: str) -> None:
    """Replace *path* by *text* in one step, readable by its owner alone."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    new.replace(path)
