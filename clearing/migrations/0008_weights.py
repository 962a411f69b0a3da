"""Weights of a conservative window's obligations, and the sums per pair apart by weight."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0007_acts"),
        ("settlement", "0003_reference"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="grosspair",
            options={"ordering": ["operation_id", "currency_id", "payer_id", "payee_id", "-weight"]},
        ),
        migrations.RemoveConstraint(
            model_name="grosspair",
            name="one_gross_pair",
        ),
        migrations.AddField(
            model_name="clearingwindow",
            name="weights",
            field=models.CharField(
                choices=[("none", "None"), ("priority", "Priority"), ("age", "Age")],
                db_default="none",
                default="none",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="grosspair",
            name="weight",
            field=models.IntegerField(db_default=1, default=1, help_text="what a unit set off is worth"),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="weights",
            field=models.CharField(
                blank=True,
                choices=[("none", "None"), ("priority", "Priority"), ("age", "Age")],
                db_default="none",
                default="none",
                help_text="what to set off first; for a region that nets in conservative mode",
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="clearingwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("weights__in", ["none", "priority", "age"])), name="window_weights"
            ),
        ),
        migrations.AddConstraint(
            model_name="clearingwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("weights", "none"), ("netting_mode", "conservative"), _connector="OR"),
                name="window_weights_conservative",
            ),
        ),
        migrations.AddConstraint(
            model_name="grosspair",
            constraint=models.UniqueConstraint(
                fields=("operation", "currency", "payer", "payee", "weight"), name="one_gross_pair"
            ),
        ),
        migrations.AddConstraint(
            model_name="grosspair",
            constraint=models.CheckConstraint(
                condition=models.Q(("weight__gte", 1), ("weight__lte", 1000000)), name="gross_pair_weight"
            ),
        ),
        migrations.AddConstraint(
            model_name="regionschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("weights__in", ["none", "priority", "age"])), name="schedule_weights"
            ),
        ),
        migrations.AddConstraint(
            model_name="regionschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("weights", "none"), ("netting_mode", "conservative"), _connector="OR"),
                name="schedule_weights_conservative",
            ),
        ),
    ]
