"""The currencies cleared from the start (ISO 4217 numbers), the settlement agent, the funding source."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

CURRENCIES = [
    (36, "AUD", 2), (48, "BHD", 3), (124, "CAD", 2), (156, "CNY", 2), (208, "DKK", 2), (344, "HKD", 2),
    (356, "INR", 2), (392, "JPY", 0), (410, "KRW", 0), (414, "KWD", 3), (512, "OMR", 3), (554, "NZD", 2),
    (578, "NOK", 2), (634, "QAR", 2), (682, "SAR", 2), (702, "SGD", 2), (710, "ZAR", 2), (752, "SEK", 2),
    (756, "CHF", 2), (784, "AED", 2), (826, "GBP", 2), (840, "USD", 2), (949, "TRY", 2), (978, "EUR", 2),
    (985, "PLN", 2), (986, "BRL", 2),
]  # fmt: skip


def write(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    currency = apps.get_model("settlement", "Currency")
    currency.objects.bulk_create(
        [currency(id=number, code=code, exponent=exponent) for number, code, exponent in CURRENCIES],
        ignore_conflicts=True,
    )
    participant = apps.get_model("settlement", "Participant")
    participant.objects.get_or_create(code="AGENT", defaults={"name": "Settlement agent", "kind": "Agent"})
    participant.objects.get_or_create(
        code="FUNDING", defaults={"name": "Source of prefunding", "kind": "Funding"}
    )


class Migration(migrations.Migration):
    dependencies = [("settlement", "0002_guards")]

    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
