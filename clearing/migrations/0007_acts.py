"""Acts on single obligations, and what is held back at a window's close: written once, never changed."""

import django.db.models.deletion
from django.db import migrations, models

FIXED = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_obligationact
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_heldtotal
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

FIXED_BACK = """
DROP TRIGGER append_only ON clearing_heldtotal;
DROP TRIGGER append_only ON clearing_obligationact;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0006_calendar"),
        ("settlement", "0003_reference"),
    ]

    operations = [
        migrations.AddField(
            model_name="setaside",
            name="party",
            field=models.ForeignKey(
                help_text="whose act it was, if one's",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="settlement.participant",
            ),
        ),
        migrations.CreateModel(
            name="HeldTotal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("obligations_count", models.BigIntegerField()),
                (
                    "gross_minor",
                    models.DecimalField(decimal_places=0, help_text="may exceed 64 bits", max_digits=38),
                ),
                (
                    "currency",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="settlement.currency",
                    ),
                ),
                (
                    "window",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="held_totals",
                        to="clearing.clearingwindow",
                    ),
                ),
            ],
            options={
                "ordering": ["currency"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("window", "currency"), name="one_held_total_per_currency"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("obligations_count__gt", 0)), name="held_total_not_empty"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ObligationAct",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("obligation_id", models.BigIntegerField()),
                ("key", models.UUIDField(db_index=True)),
                (
                    "act",
                    models.CharField(
                        choices=[("Cancelled", "Cancelled"), ("Held", "Held"), ("Released", "Released")],
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField()),
                ("by", models.CharField(max_length=150)),
                (
                    "window_id",
                    models.BigIntegerField(help_text="which it left or entered; empty: none", null=True),
                ),
                ("at", models.DateTimeField()),
                (
                    "party",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="settlement.participant",
                    ),
                ),
            ],
            options={
                "verbose_name": "act on an obligation",
                "verbose_name_plural": "acts on obligations",
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("act__in", ["Cancelled", "Held", "Released"])),
                        name="obligation_act",
                    )
                ],
            },
        ),
        migrations.RunSQL(FIXED, FIXED_BACK),
    ]
