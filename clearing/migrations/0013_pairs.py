"""Rows of pairs without foreign keys: one look a statement in their place. An undo proven at its end."""

import django.db.models.deletion
from django.db import migrations, models

# The frozen set of a run and currency has its own foreign keys. The parties of gross pairs come from obligations,
# which the freeze checks and names.
FOUNDED = """
CREATE FUNCTION refuse_unfounded_pairs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM (SELECT DISTINCT operation_id, currency_id FROM fresh) written
        LEFT JOIN clearing_frozenset frozen USING (operation_id, currency_id)
        WHERE frozen.id IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'rows of % belong to no frozen set', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'pairs_of_a_frozen_set';
    END IF;
    IF TG_TABLE_NAME = 'clearing_bilateralposition' THEN
        PERFORM FROM fresh
            WHERE participant_a_id NOT IN (SELECT id FROM settlement_participant)
               OR participant_b_id NOT IN (SELECT id FROM settlement_participant);
    ELSIF TG_TABLE_NAME = 'clearing_residualpair' THEN
        PERFORM FROM fresh
            WHERE payer_id NOT IN (SELECT id FROM settlement_participant)
               OR payee_id NOT IN (SELECT id FROM settlement_participant);
    END IF;
    IF FOUND THEN
        RAISE EXCEPTION 'rows of % name parties that are no participants', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'pairs_of_participants';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER pairs_are_founded AFTER INSERT ON clearing_grosspair
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse_unfounded_pairs();
CREATE TRIGGER pairs_are_founded AFTER INSERT ON clearing_residualpair
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse_unfounded_pairs();
CREATE TRIGGER pairs_are_founded AFTER INSERT ON clearing_bilateralposition
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse_unfounded_pairs();
"""

FOUNDED_BACK = """
DROP TRIGGER pairs_are_founded ON clearing_bilateralposition;
DROP TRIGGER pairs_are_founded ON clearing_residualpair;
DROP TRIGGER pairs_are_founded ON clearing_grosspair;
DROP FUNCTION refuse_unfounded_pairs();
"""

# PostgreSQL's sum() of a bigint goes through numeric; this one adds, and raises where 64 bits end.
SUM = """
CREATE AGGREGATE sum8 (bigint) (
    SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE);
"""

# Prove an undo and mark it: the digest is taken again, and equals the one before the step, or nothing moves.
END_UNDO = """
CREATE FUNCTION end_undo(of_checkpoint bigint, from_status text, moment timestamptz, child_type text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    SELECT operation.id, operation.window_id, checkpoint.position, checkpoint.digest_before INTO step
        FROM clearing_checkpoint checkpoint
        JOIN clearing_atomicoperation operation ON operation.id = checkpoint.operation_id
        WHERE checkpoint.id = of_checkpoint;
    IF run_digest(step.id, step.window_id, step.position) IS DISTINCT FROM step.digest_before THEN
        RETURN 'differs';
    ELSIF end_step(of_checkpoint, from_status, 'Undone', moment, child_type, 'RolledBack') THEN
        RETURN 'undone';
    END IF;
    RETURN 'overtaken';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0012_calendar_days"),
        ("settlement", "0004_corrections"),
    ]

    operations = [
        migrations.AlterField(
            model_name="bilateralposition",
            name="currency",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                to="settlement.currency",
            ),
        ),
        migrations.AlterField(
            model_name="bilateralposition",
            name="operation",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="%(class)ss",
                to="clearing.atomicoperation",
            ),
        ),
        migrations.AlterField(
            model_name="bilateralposition",
            name="participant_a",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="settlement.participant",
            ),
        ),
        migrations.AlterField(
            model_name="bilateralposition",
            name="participant_b",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="settlement.participant",
            ),
        ),
        migrations.AlterField(
            model_name="grosspair",
            name="currency",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                to="settlement.currency",
            ),
        ),
        migrations.AlterField(
            model_name="grosspair",
            name="operation",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="%(class)ss",
                to="clearing.atomicoperation",
            ),
        ),
        migrations.AlterField(
            model_name="residualpair",
            name="currency",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                to="settlement.currency",
            ),
        ),
        migrations.AlterField(
            model_name="residualpair",
            name="operation",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="%(class)ss",
                to="clearing.atomicoperation",
            ),
        ),
        migrations.RunSQL(FOUNDED, FOUNDED_BACK),
        migrations.RunSQL(END_UNDO, "DROP FUNCTION end_undo(bigint, text, timestamptz, text);"),
        migrations.RunSQL(SUM, "DROP AGGREGATE sum8 (bigint);"),
    ]
