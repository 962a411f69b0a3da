"""
Real servers for the whole session.

They start when this file is read, before any settings are: so the settings module is named here and not
in pyproject.toml, where pytest-django would load it first.
"""

import atexit
import os
import signal
from collections.abc import Iterator
from typing import TypeGuard

import django
import pytest
from django.conf import settings
from django.db import connection
from django.db.models.signals import post_save
from pytest_django.plugin import blocking_manager_key

from tests import contract
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

    One that did not ask for it would find the tables flushed by those before it. It is marked so before the
    database is made, which keeps that data only if some test asks.
    """
    for item in items:
        if _commits(item):
            item.add_marker(pytest.mark.django_db(transaction=True, serialized_rollback=True), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Give the reference data back to a test that does not commit, where it follows one that flushed."""
    yield
    if _commits(item) and nextitem is not None and not _commits(nextitem):
        with item.config.stash[blocking_manager_key].unblock():
            connection.creation.deserialize_db_from_string(connection._test_serialized_contents)  # type: ignore[attr-defined]


def _commits(item: pytest.Item) -> TypeGuard[pytest.Function]:
    if not isinstance(item, pytest.Function):
        return False
    mark = item.get_closest_marker("django_db")
    return "transactional_db" in item.fixturenames or bool(mark and mark.kwargs.get("transaction"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """
    Where tests run side by side, each process has servers of its own and reads its settings after them.

    So it inherits neither the addresses of this one's servers nor the name of the settings.
    """
    SERVERS.stop()
    del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_sessionstart() -> None:
    """Hold every event that any test has written to its published schema."""
    post_save.connect(contract.hold, sender="clearing.WindowEvent")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no server behind."""
    SERVERS.stop()


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The session's servers, for tests that stop and start them."""
    return SERVERS
