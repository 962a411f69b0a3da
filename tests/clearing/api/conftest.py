"""Callers of the REST door, one a role."""

from collections.abc import Callable

import pytest

from clearing import access
from tests import factories
from tests.clearing.api.caller import Caller
from tests.factories import A, B


@pytest.fixture
def operator(db: None) -> Caller:
    """Who steers."""
    return Caller(access.issue("operator", role="operator"))


@pytest.fixture
def auditor(db: None) -> Caller:
    """Who reads everything and changes nothing."""
    return Caller(access.issue("auditor", role="auditor"))


@pytest.fixture
def approver(db: None) -> Caller:
    """Who reads everything, too."""
    return Caller(access.issue("approver", role="approver"))


@pytest.fixture
def as_participant(db: None) -> Callable[[str], Caller]:
    """The bearer of a participant's token."""

    def caller(code: str) -> Caller:
        return Caller(access.issue(f"user-of-{code}", role="participant", participant_code=code))

    return caller


@pytest.fixture
def bank_a(as_participant: Callable[[str], Caller]) -> Caller:
    """The first of three banks with money."""
    factories.circle()
    return as_participant(A)


@pytest.fixture
def bank_b(bank_a: Caller, as_participant: Callable[[str], Caller]) -> Caller:
    """The second of them."""
    return as_participant(B)
