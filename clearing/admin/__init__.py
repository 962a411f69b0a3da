"""The operators' door: every table shown, windows steered through the same verbs as every other door."""

from clearing.admin import (
    access,
    beat,
    executions,
    limits,
    netting,
    obligations,
    operations,
    pulls,
    schedules,
    webhooks,
    windows,
)

__all__ = [
    "access",
    "beat",
    "executions",
    "limits",
    "netting",
    "obligations",
    "operations",
    "pulls",
    "schedules",
    "webhooks",
    "windows",
]
