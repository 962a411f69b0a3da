"""Instructions that send settled money back, and what PostgreSQL itself holds about them."""

import django.db.models.deletion
from django.db import migrations, models

CORRECTIONS = """
CREATE FUNCTION refuse_no_opposite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM settlement_settlementinstruction original
        WHERE original.id = NEW.corrects_id
          AND original.status = 'Completed'
          AND original.corrects_id IS NULL
          AND (original.currency_id, original.payer_id, original.payee_id, original.amount_minor)
            = (NEW.currency_id, NEW.payee_id, NEW.payer_id, NEW.amount_minor);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a correction is the opposite of a completed instruction that corrects none itself'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'correction_is_opposite';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER correction_is_opposite BEFORE INSERT ON settlement_settlementinstruction
    FOR EACH ROW WHEN (NEW.corrects_id IS NOT NULL) EXECUTE FUNCTION refuse_no_opposite();
CREATE TRIGGER correction_is_fixed BEFORE UPDATE OF corrects_id ON settlement_settlementinstruction
    FOR EACH ROW WHEN (OLD.corrects_id IS DISTINCT FROM NEW.corrects_id) EXECUTE FUNCTION refuse_change();
"""

CORRECTIONS_BACK = """
DROP TRIGGER correction_is_fixed ON settlement_settlementinstruction;
DROP TRIGGER correction_is_opposite ON settlement_settlementinstruction;
DROP FUNCTION refuse_no_opposite();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("settlement", "0003_reference"),
    ]

    operations = [
        migrations.AddField(
            model_name="settlementinstruction",
            name="corrects",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="the settled instruction whose money this one sends back",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="corrections",
                to="settlement.settlementinstruction",
            ),
        ),
        migrations.AddConstraint(
            model_name="settlementinstruction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("corrects__isnull", False)), fields=("corrects",), name="corrected_once"
            ),
        ),
        migrations.RunSQL(CORRECTIONS, CORRECTIONS_BACK),
    ]
