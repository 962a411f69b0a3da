"""
Where a running stack can be found, for every other terminal in the same folder.

Settings call ``fill_environment`` before they read the environment, so a management command typed
without any variable reaches the stack that runs here. Imports nothing of Django.
"""

import fcntl
import json
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = ("DATABASE_URL", "REDIS_URL", "NATS_URL", "BROKER_URL")
SHARED = (*SERVERS, "SECRET_KEY", "HTTP_URL", "GRPC_ADDRESS", "FLOWER_URL")


def data_dir() -> Path:
    """Where embedded servers keep their data: ``DATA_DIR``, else ``.data`` in the repository."""
    return (REPOSITORY / os.environ.get("DATA_DIR", ".data")).resolve()


def lock_path(directory: Path) -> Path:
    """The file a running stack holds locked; the kernel lets go of it however the stack ends."""
    return directory / "stack.lock"


def runtime_path(directory: Path) -> Path:
    """The file in which a running stack says where its servers are."""
    return directory / "runtime.json"


def is_running(directory: Path) -> bool:
    """Whether a stack holds *directory* at this moment."""
    try:
        handle = os.open(lock_path(directory), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def read_runtime() -> dict[str, str]:
    """What the last stack of this data directory wrote; empty if there was none or it is not ours to read."""
    try:
        text = runtime_path(data_dir()).read_text()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    return {str(name): str(value) for name, value in json.loads(text).items()}


def fill_environment() -> None:
    """
    Put the running stack's addresses into the environment where a variable is unset.

    A server variable that is set to something else means another system: then nothing is filled,
    so that two systems are never mixed.
    """
    runtime = read_runtime()
    if not runtime or not is_running(data_dir()):
        return
    if any(os.environ.get(name, runtime.get(name)) != runtime.get(name) for name in SERVERS):
        return
    for name in SHARED:
        if name in runtime:
            os.environ.setdefault(name, runtime[name])
