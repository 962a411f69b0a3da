"""Constraints that several tables share."""

from django.db import models
from django.db.models import Q


def choices_check(
    field: str, choices: type[models.TextChoices], *, name: str | None = None
) -> models.CheckConstraint:
    """Hold *field* to *choices* in PostgreSQL as well."""
    return models.CheckConstraint(
        name=name or f"{choices.__name__.lower()}_{field}", condition=Q(**{f"{field}__in": choices.values})
    )
