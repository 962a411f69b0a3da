"""Corrections after finality, the alarm of a failed rollback, and who asked for an operation."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0004_set_aside"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="atomicoperation",
            name="operation_type",
        ),
        migrations.RemoveConstraint(
            model_name="windowevent",
            name="window_event_type",
        ),
        migrations.AddField(
            model_name="atomicoperation",
            name="requested_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="who asked for it, if it is known",
                max_length=150,
            ),
        ),
        migrations.AlterField(
            model_name="atomicoperation",
            name="operation_type",
            field=models.CharField(
                choices=[
                    ("WindowOpen", "Window Open"),
                    ("WindowClose", "Window Close"),
                    ("WindowClearing", "Window Clearing"),
                    ("ObligationCollection", "Obligation Collection"),
                    ("NettingCalculation", "Netting Calculation"),
                    ("InstructionGeneration", "Instruction Generation"),
                    ("SettlementInitiation", "Settlement Initiation"),
                    ("Correction", "Correction"),
                ],
                max_length=24,
            ),
        ),
        migrations.AlterField(
            model_name="windowevent",
            name="event_type",
            field=models.CharField(
                choices=[
                    ("Opened", "Opened"),
                    ("Closing", "Closing"),
                    ("Closed", "Closed"),
                    ("Processing", "Processing"),
                    ("Completed", "Completed"),
                    ("Failed", "Failed"),
                    ("RolledBack", "Rolled Back"),
                    ("EfficiencyAlert", "Efficiency Alert"),
                    ("Overflowed", "Overflowed"),
                    ("ObligationCancelled", "Obligation Cancelled"),
                    ("ObligationHeld", "Obligation Held"),
                    ("ObligationReleased", "Obligation Released"),
                    ("RollbackFailed", "Rollback Failed"),
                    ("Corrected", "Corrected"),
                ],
                max_length=24,
            ),
        ),
        migrations.AddConstraint(
            model_name="atomicoperation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "operation_type__in",
                        [
                            "WindowOpen",
                            "WindowClose",
                            "WindowClearing",
                            "ObligationCollection",
                            "NettingCalculation",
                            "InstructionGeneration",
                            "SettlementInitiation",
                            "Correction",
                        ],
                    )
                ),
                name="operation_type",
            ),
        ),
        migrations.AddConstraint(
            model_name="windowevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "event_type__in",
                        [
                            "Opened",
                            "Closing",
                            "Closed",
                            "Processing",
                            "Completed",
                            "Failed",
                            "RolledBack",
                            "EfficiencyAlert",
                            "Overflowed",
                            "ObligationCancelled",
                            "ObligationHeld",
                            "ObligationReleased",
                            "RollbackFailed",
                            "Corrected",
                        ],
                    )
                ),
                name="window_event_type",
            ),
        ),
    ]
