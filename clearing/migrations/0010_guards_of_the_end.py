"""Attempts per standstill, an end for windows that no run could take, and what PostgreSQL keeps for good."""

from django.db import migrations, models

MOVES = """
DROP TRIGGER legal_move ON clearing_clearingwindow;
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_clearingwindow
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Scheduled', 'Scheduled>Open', 'Open>Closing', 'Closing>Closed', 'Closed>Failed',
        'Closed>Processing', 'Processing>RolledBack', 'Processing>Settling', 'Settling>Completed',
        'RolledBack>Failed', 'RolledBack>Processing');
"""

MOVES_BACK = """
DROP TRIGGER legal_move ON clearing_clearingwindow;
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_clearingwindow
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Scheduled', 'Scheduled>Open', 'Open>Closing', 'Closing>Closed', 'Closed>Processing',
        'Processing>RolledBack', 'Processing>Settling', 'Settling>Completed',
        'RolledBack>Failed', 'RolledBack>Processing');
"""

NEVER_EMPTIED = (
    "clearing_clearingwindow",
    "clearing_atomicoperation",
    "clearing_checkpoint",
    "clearing_windowevent",
    "clearing_obligation",
    "clearing_obligationkey",
    "clearing_setaside",
    "clearing_rollon",
    "clearing_frozenset",
    "clearing_grosspair",
    "clearing_nettingresult",
    "clearing_residualpair",
    "clearing_multilateralposition",
    "clearing_bilateralposition",
    "clearing_windowmetrics",
)
EMPTYING = "".join(
    f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_truncate();\n"
    for table in NEVER_EMPTIED
)
EMPTYING_BACK = "".join(f"DROP TRIGGER never_emptied ON {table};\n" for table in NEVER_EMPTIED)

# A window's partition is emptied when the window was given up, in the same transaction.
PARTITIONS = """
CREATE FUNCTION refuse_truncate_of_kept_window() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF starts_with(current_database(), 'test_') AND current_setting('clearing.may_truncate', true) = 'on' THEN
        RETURN NULL;
    END IF;
    PERFORM FROM clearing_clearingwindow
        WHERE id = substring(TG_TABLE_NAME FROM '[0-9]+$')::bigint AND status = 'Failed';
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is emptied only with its window given up', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'never_emptied';
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'clearing_obligation'::regclass LOOP
        EXECUTE format('CREATE TRIGGER emptied_when_given_up BEFORE TRUNCATE ON %s'
                       ' EXECUTE FUNCTION refuse_truncate_of_kept_window()', part);
    END LOOP;
END $$;
"""

PARTITIONS_BACK = "DROP FUNCTION refuse_truncate_of_kept_window() CASCADE;"

COMPUTED = (
    "clearing_frozenset",
    "clearing_grosspair",
    "clearing_nettingresult",
    "clearing_residualpair",
    "clearing_multilateralposition",
    "clearing_bilateralposition",
)

# Once a run is final, nothing it computed is changed or deleted.
FINAL = """
CREATE FUNCTION refuse_loss_of_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_atomicoperation operation
        WHERE operation.final_at IS NOT NULL AND operation.id IN (SELECT operation_id FROM gone);
    IF FOUND THEN
        RAISE EXCEPTION 'rows of % that belong to a final run are kept', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'final_run_is_kept';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION refuse_undo_of_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_atomicoperation WHERE id = OLD.operation_id AND final_at IS NOT NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'checkpoints of a final run are neither undone nor deleted'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'final_run_is_kept';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER final_is_not_undone BEFORE UPDATE ON clearing_checkpoint
    FOR EACH ROW WHEN (NEW.status = 'Undone') EXECUTE FUNCTION refuse_undo_of_final();
CREATE TRIGGER final_is_kept BEFORE DELETE ON clearing_checkpoint
    FOR EACH ROW EXECUTE FUNCTION refuse_undo_of_final();
""" + "".join(
    f"""
CREATE TRIGGER final_is_fixed AFTER UPDATE ON {table} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_loss_of_final();
CREATE TRIGGER final_is_kept AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_loss_of_final();
"""
    for table in COMPUTED
)

FINAL_BACK = (
    "".join(
        f"DROP TRIGGER final_is_kept ON {table}; DROP TRIGGER final_is_fixed ON {table};\n"
        for table in COMPUTED
    )
    + """
DROP TRIGGER final_is_kept ON clearing_checkpoint;
DROP TRIGGER final_is_not_undone ON clearing_checkpoint;
DROP FUNCTION refuse_undo_of_final();
DROP FUNCTION refuse_loss_of_final();
"""
)


class Migration(migrations.Migration):
    dependencies = [("clearing", "0009_steps"), ("settlement", "0005_truncate")]

    operations = [
        migrations.AddField(
            model_name="dispatch",
            name="attempts",
            field=models.PositiveIntegerField(
                db_default=1, default=1, help_text="dispatches since the run last got further"
            ),
        ),
        migrations.AddField(
            model_name="dispatch",
            name="standing",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="how far it was at the last one",
                max_length=32,
            ),
        ),
        migrations.RunSQL(MOVES, MOVES_BACK),
        migrations.RunSQL(EMPTYING, EMPTYING_BACK),
        migrations.RunSQL(PARTITIONS, PARTITIONS_BACK),
        migrations.RunSQL(FINAL, FINAL_BACK),
    ]
