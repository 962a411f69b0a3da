"""
Real servers for the whole session.

They start when this file is read, before any settings are: so the settings module is named here and not
in pyproject.toml, where pytest-django would load it first.
"""

import atexit
import os
import signal

import django
import pytest

from tests.servers import Servers

SERVERS = Servers()
atexit.register(SERVERS.stop)
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the servers are stopped
SERVERS.start()
os.environ["DJANGO_SETTINGS_MODULE"] = "clearing_project.settings"
django.setup()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no server behind."""
    SERVERS.stop()


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The session's servers, for tests that stop and start them."""
    return SERVERS
