"""Limits of participants, and what they were set to."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

HISTORY = """
CREATE FUNCTION note_limit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO clearing_limitchange (limit_id, amount_minor, is_active)
    VALUES (NEW.id, NEW.amount_minor, NEW.is_active);
    RETURN NULL;
END $$;
CREATE TRIGGER every_limit_is_noted AFTER INSERT OR UPDATE ON clearing_limit
    FOR EACH ROW EXECUTE FUNCTION note_limit();
CREATE TRIGGER limit_is_fixed BEFORE UPDATE ON clearing_limit
    FOR EACH ROW WHEN ((OLD.participant_id, OLD.counterparty_id, OLD.currency_id)
                       IS DISTINCT FROM (NEW.participant_id, NEW.counterparty_id, NEW.currency_id))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER limit_is_kept BEFORE DELETE ON clearing_limit
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_limitchange
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

HISTORY_BACK = """
DROP TRIGGER append_only ON clearing_limitchange;
DROP TRIGGER limit_is_kept ON clearing_limit;
DROP TRIGGER limit_is_fixed ON clearing_limit;
DROP TRIGGER every_limit_is_noted ON clearing_limit;
DROP FUNCTION note_limit();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0014_pulls"),
        ("settlement", "0007_rails_guards"),
    ]

    operations = [
        migrations.CreateModel(
            name="Limit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                ("is_active", models.BooleanField(db_default=True, default=True)),
                (
                    "counterparty",
                    models.ForeignKey(
                        blank=True,
                        help_text="empty: all together, a net debit cap",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="settlement.participant",
                    ),
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
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="limits",
                        to="settlement.participant",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="LimitChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                ("is_active", models.BooleanField()),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "limit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="clearing.limit",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.UniqueConstraint(
                fields=("participant", "counterparty", "currency"),
                name="one_limit",
                nulls_distinct=False,
                violation_error_message="There is such a limit already; change that one.",
            ),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gte", 0)), name="limit_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("counterparty", None),
                    models.Q(("counterparty", models.F("participant")), _negated=True),
                    _connector="OR",
                ),
                name="limit_two_parties",
                violation_error_message="A participant has no limit towards itself.",
            ),
        ),
        migrations.RunSQL(HISTORY, HISTORY_BACK),
    ]
