"""Lock a step and read what it works on with one statement: the operation and its window, read after the locks."""

from django.db import migrations

OPEN_STEP = """
CREATE FUNCTION open_step(of_operation uuid, of_name text, token integer, is_part boolean)
RETURNS TABLE (entered entered_step, operation clearing_atomicoperation, cleared clearing_clearingwindow)
LANGUAGE plpgsql ROWS 1 AS $$
BEGIN
    entered := enter_step(of_operation, of_name, token, false, is_part);
    SELECT * INTO operation FROM clearing_atomicoperation WHERE id = of_operation;
    SELECT * INTO cleared FROM clearing_clearingwindow WHERE id = operation.window_id;
    RETURN NEXT;
END $$;
"""

# Whoever undoes holds the operation alone, so the step needs no lock of its own.
OPEN_UNDO = """
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


class Migration(migrations.Migration):
    dependencies = [("clearing", "0016_webhooks")]

    operations = [
        migrations.RunSQL(OPEN_STEP, "DROP FUNCTION open_step(uuid, text, integer, boolean);"),
        migrations.RunSQL(OPEN_UNDO, "DROP FUNCTION open_undo(uuid, text);"),
    ]
