"""Outside engines on real sockets, and settings that do not make a test wait."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from clearing_project import remote


@pytest.fixture(autouse=True)
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short time-outs and waits; breakers and channels of this test alone."""
    settings.REMOTE = {
        "TIMEOUT_SECONDS": 2.0,
        "ATTEMPTS_MAX": 3,
        "FAILURES_MAX": 5,
        "RESET_SECONDS": 0.3,
    }
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    remote.close()
    yield
    remote.close()
