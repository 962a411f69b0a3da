"""A rollback in fewer round trips: marked in one, undone without reading the run again, concluded with its last undo."""

from django.db import migrations

# The first moment, reason and code are kept. A run that never started fails; an ended or final one stays as it is.
OPEN_ROLLBACK = """
CREATE FUNCTION open_rollback(of_operation uuid, moment timestamptz, why text)
RETURNS TABLE (operation clearing_atomicoperation, cleared clearing_clearingwindow)
LANGUAGE plpgsql ROWS 1 AS $$
BEGIN
    UPDATE clearing_atomicoperation SET status = 'Failed', completed_at = moment
        WHERE id = of_operation AND status = 'Pending';
    UPDATE clearing_atomicoperation SET
        rolling_back_at = coalesce(rolling_back_at, moment),
        error_message = coalesce(nullif(error_message, ''), why),
        error_code = coalesce(nullif(error_code, ''), 'rolled_back_by_request')
        WHERE id = of_operation AND final_at IS NULL AND status NOT IN ('Pending', 'RolledBack', 'Failed');
    SELECT * INTO operation FROM clearing_atomicoperation WHERE id = of_operation FOR UPDATE;
    SELECT * INTO cleared FROM clearing_clearingwindow WHERE id = operation.window_id;
    RETURN NEXT;
END $$;
"""

# Whoever undoes holds the operation alone, so neither the step nor the window's status needs a lock of its own.
OPEN_UNDO = """
DROP FUNCTION open_undo(uuid, text);
CREATE FUNCTION open_undo(
    of_operation uuid, of_name text, OUT checkpoint_id bigint, OUT checkpoint_status text, OUT window_status text
) LANGUAGE plpgsql AS $$
DECLARE
    of_window bigint;
BEGIN
    SELECT window_id INTO of_window FROM clearing_atomicoperation WHERE id = of_operation FOR UPDATE;
    SELECT status INTO window_status FROM clearing_clearingwindow WHERE id = of_window;
    SELECT id, status INTO checkpoint_id, checkpoint_status
        FROM clearing_checkpoint WHERE operation_id = of_operation AND name = of_name;
END $$;
"""

OPEN_UNDO_BACK = """
DROP FUNCTION open_undo(uuid, text);
CREATE FUNCTION open_undo(of_operation uuid, of_name text)
RETURNS TABLE (
    checkpoint clearing_checkpoint, operation clearing_atomicoperation, cleared clearing_clearingwindow
) LANGUAGE plpgsql ROWS 1 AS $$
BEGIN
    SELECT * INTO operation FROM clearing_atomicoperation WHERE id = of_operation FOR UPDATE;
    SELECT * INTO cleared FROM clearing_clearingwindow WHERE id = operation.window_id;
    SELECT * INTO checkpoint FROM clearing_checkpoint WHERE operation_id = of_operation AND name = of_name;
    RETURN NEXT;
END $$;
"""

# The digest of the first step is the one of everything. Where it proves the last undo it proves the rollback,
# so the run is RolledBack in the same transaction; where it is not the run's own, the caller says so.
END_UNDO = """
DROP FUNCTION end_undo(bigint, text, timestamptz, text);
CREATE FUNCTION end_undo(
    of_checkpoint bigint, from_status text, moment timestamptz, child_type text, OUT outcome text, OUT digest text
) LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    SELECT operation.id, operation.window_id, operation.digest_before AS of_whole,
           checkpoint.position, checkpoint.digest_before INTO step
        FROM clearing_checkpoint checkpoint
        JOIN clearing_atomicoperation operation ON operation.id = checkpoint.operation_id
        WHERE checkpoint.id = of_checkpoint;
    digest := run_digest(step.id, step.window_id, step.position);
    IF digest IS DISTINCT FROM step.digest_before THEN
        outcome := 'differs';
    ELSIF NOT end_step(of_checkpoint, from_status, 'Undone', moment, child_type, 'RolledBack') THEN
        outcome := 'overtaken';
    ELSIF step.position > 1 OR digest IS DISTINCT FROM step.of_whole THEN
        outcome := 'undone';
    ELSE
        UPDATE clearing_atomicoperation SET status = 'RolledBack', completed_at = moment, digest_after = digest
            WHERE id = step.id;
        outcome := 'concluded';
    END IF;
END $$;
"""

END_UNDO_BACK = """
DROP FUNCTION end_undo(bigint, text, timestamptz, text);
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

# Nearly always all rows that go are of one run: then one look at it is enough, and no row is hashed.
FINAL = """
CREATE OR REPLACE FUNCTION refuse_loss_of_final() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_one uuid := (SELECT operation_id FROM gone LIMIT 1);
BEGIN
    PERFORM FROM gone WHERE operation_id <> first_one LIMIT 1;
    IF FOUND THEN
        PERFORM FROM clearing_atomicoperation operation
            WHERE operation.final_at IS NOT NULL AND operation.id IN (SELECT operation_id FROM gone);
    ELSE
        PERFORM FROM clearing_atomicoperation WHERE id = first_one AND final_at IS NOT NULL;
    END IF;
    IF FOUND THEN
        RAISE EXCEPTION 'rows of % that belong to a final run are kept', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'final_run_is_kept';
    END IF;
    RETURN NULL;
END $$;
"""

FINAL_BACK = """
CREATE OR REPLACE FUNCTION refuse_loss_of_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_atomicoperation operation
        WHERE operation.final_at IS NOT NULL AND operation.id IN (SELECT operation_id FROM gone);
    IF FOUND THEN
        RAISE EXCEPTION 'rows of % that belong to a final run are kept', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'final_run_is_kept';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("clearing", "0018_limit_counters"), ("settlement", "0009_roomy_accounts")]

    operations = [
        migrations.RunSQL(OPEN_ROLLBACK, "DROP FUNCTION open_rollback(uuid, timestamptz, text);"),
        migrations.RunSQL(OPEN_UNDO, OPEN_UNDO_BACK),
        migrations.RunSQL(END_UNDO, END_UNDO_BACK),
        migrations.RunSQL(FINAL, FINAL_BACK),
    ]
