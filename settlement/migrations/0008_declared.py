"""An outcome that the engine never told, declared by somebody."""

from django.db import migrations, models

# Who declares decides what nobody knows: not what was never sent, and not what has ended.
UNDECIDED = """
CREATE TRIGGER declared_undecided BEFORE UPDATE ON settlement_execution
    FOR EACH ROW WHEN (
        (OLD.declared_at, OLD.declared_by, OLD.declared_reason)
        IS DISTINCT FROM (NEW.declared_at, NEW.declared_by, NEW.declared_reason)
        AND OLD.status NOT IN ('Unknown', 'Executing'))
    EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("settlement", "0007_rails_guards")]

    operations = [
        migrations.AlterModelOptions(
            name="execution",
            options={
                "ordering": ["batch_id", "instruction_id", "attempt"],
                "permissions": [("declare_execution", "Can declare an outcome that the engine never told")],
            },
        ),
        migrations.AddField(
            model_name="execution",
            name="declared_at",
            field=models.DateTimeField(
                help_text="since then its outcome is what somebody declared, not what the engine said",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="execution",
            name="declared_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=150),
        ),
        migrations.AddField(
            model_name="execution",
            name="declared_reason",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddConstraint(
            model_name="execution",
            constraint=models.CheckConstraint(
                condition=models.Q(("declared_at", None), ("declared_by", ""), ("declared_reason", ""))
                | (
                    models.Q(("declared_at__isnull", False), ("status__in", ("Completed", "Failed")))
                    & ~models.Q(("declared_by", ""))
                    & ~models.Q(("declared_reason", ""))
                ),
                name="declared_has_reason",
            ),
        ),
        migrations.RunSQL(UNDECIDED, "DROP TRIGGER declared_undecided ON settlement_execution;"),
    ]
