"""The engine's settings: each is documented, and none may be what no window could be cleared with."""

import math
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from clearing.states import NettingMode
from clearing_project import bounds
from clearing_project.stack.runtime import REPOSITORY

FOR_TESTS_ALONE = {"FAULTS"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NETTING_MODE", "trilateral"),
        ("SHORTFALL_POLICY", "queue"),
        ("RISK_POLICY", "hope"),
        ("PULL_POLICY", ""),
        ("SETTLEMENT_METHOD", "sepa"),
        ("WINDOW_DURATION_HOURS", 0),
        ("GRACE_PERIOD_SECONDS", -1),
        ("MAX_OBLIGATIONS_PER_WINDOW", 0),
        ("MIN_NETTING_EFFICIENCY", 50.0),
        ("EMERGENCY_THRESHOLD", -0.1),
        ("EMERGENCY_THRESHOLD", math.nan),
        ("RETENTION_DAYS", 0),
    ],
)
def test_a_value_that_no_window_could_be_cleared_with_is_refused_by_name(name: str, value: Any) -> None:
    bounds.check(settings.CLEARING)

    with pytest.raises(ImproperlyConfigured, match=f"^CLEARING_{name} is "):
        bounds.check({**settings.CLEARING, name: value})


def test_what_may_be_chosen_is_what_the_engine_knows() -> None:
    assert set(bounds.CHOICES["NETTING_MODE"]) == set(NettingMode.values)


def test_every_setting_of_the_engine_is_documented() -> None:
    page = (REPOSITORY / "docs" / "settings.md").read_text("utf-8")

    missing = [name for name in settings.CLEARING if f"| `CLEARING_{name}` |" not in page]

    assert set(missing) == FOR_TESTS_ALONE
