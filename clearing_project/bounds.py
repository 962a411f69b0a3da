"""What the engine's settings may be: another value ends a program at its start, not a window hours later."""

import math
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

CHOICES: Mapping[str, tuple[str, ...]] = {
    "NETTING_MODE": ("bilateral", "multilateral", "conservative", "gross"),
    "SHORTFALL_POLICY": ("fail",),
    "RISK_POLICY": ("hold", "fail"),
    "PULL_POLICY": ("hold", "proceed"),
    "SETTLEMENT_METHOD": ("SWIFT", "SEPA", "LOCAL_ACH", "MOCK"),
}
BOUNDS: Mapping[str, tuple[float, float]] = {
    "WINDOW_DURATION_HOURS": (1, 31 * 24),
    "GRACE_PERIOD_SECONDS": (0, 24 * 3600),
    "MAX_OBLIGATIONS_PER_WINDOW": (1, 2**31 - 1),
    "MIN_NETTING_EFFICIENCY": (0, 1),
    "EMERGENCY_THRESHOLD": (0, 1),
    "RETENTION_DAYS": (1, math.inf),
    "ATTEMPTS_MAX": (1, math.inf),
    "RUNS_MAX": (1, math.inf),
    "SETTLEMENT_PARALLEL": (1, math.inf),
}


def check(clearing: Mapping[str, Any]) -> None:
    """
    Refuse what no window could be opened or cleared with.

    Raises:
        ImproperlyConfigured: names the environment variable.
    """
    for name, known in CHOICES.items():
        if clearing[name] not in known:
            raise ImproperlyConfigured(f"CLEARING_{name} is {clearing[name]!r}, not {' or '.join(known)}")
    for name, (least, most) in BOUNDS.items():
        if not least <= clearing[name] <= most:
            raise ImproperlyConfigured(f"CLEARING_{name} is {clearing[name]}, not in {least} to {most}")
