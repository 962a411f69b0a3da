from django.apps import AppConfig


class SettlementConfig(AppConfig):
    """Participants, accounts, instructions, the ledger. Knows no windows."""

    name = "settlement"
    default_auto_field = "django.db.models.BigAutoField"
