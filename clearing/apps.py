from django.apps import AppConfig


class ClearingConfig(AppConfig):
    """Windows, operations, checkpoints, the cycle, and every door to the street."""

    name = "clearing"
    default_auto_field = "django.db.models.BigAutoField"
