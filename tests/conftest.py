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
from django.conf import settings

from tests.servers import Servers

SERVERS = Servers()
atexit.register(SERVERS.stop)
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the servers are stopped
SERVERS.start()
os.environ["DJANGO_SETTINGS_MODULE"] = "clearing_project.settings"
django.setup()
# Between tests that commit, tables are emptied; PostgreSQL allows that here alone (refuse_truncate).
settings.DATABASES["default"]["OPTIONS"]["options"] += " -c clearing.may_truncate=on"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Give every test that commits the reference data back: currencies, the agent, schedules.

    One that did not ask for it would leave the tables flushed and half refilled to those behind it.
    """
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        mark = item.get_closest_marker("django_db")
        commits = "transactional_db" in item.fixturenames or (mark and mark.kwargs.get("transaction"))
        if commits and "django_db_serialized_rollback" not in item.fixturenames:
            item.fixturenames.append("django_db_serialized_rollback")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """
    Where tests run side by side, each process has servers of its own and reads its settings after them.

    So it inherits neither the addresses of this one's servers nor the name of the settings.
    """
    SERVERS.stop()
    del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no server behind."""
    SERVERS.stop()


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The session's servers, for tests that stop and start them."""
    return SERVERS
