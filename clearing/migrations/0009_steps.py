"""
Begin and end a step of an operation with one statement each, and take the digest where the rows are.

A function's statements each see what was committed before they began, so what is read after a lock was
waited for is not older than the lock.
"""

from typing import Any

from django.db import migrations, models

# A child is written by a function below, so what a new operation leaves empty is empty by PostgreSQL's rule.
EMPTY_TEXTS: dict[str, Any] = {
    "reason": models.TextField(blank=True, db_default="", default="", help_text="why it was asked for"),
    "error_code": models.CharField(blank=True, db_default="", default="", max_length=64),
    "error_message": models.TextField(blank=True, db_default="", default=""),
    "hold_reason": models.CharField(blank=True, db_default="", default="", max_length=140),
    "digest_before": models.CharField(
        blank=True,
        db_default="",
        default="",
        help_text="of the state before the first checkpoint",
        max_length=64,
    ),
    "digest_after": models.CharField(
        blank=True,
        db_default="",
        default="",
        help_text="of the state after the last undo: must equal",
        max_length=64,
    ),
}

# What a step and those after it write, the step given by its position. Whole rows: a new column is covered.
# A window that is closed and one that is rolled back are the same to a run: neither is cleared.
DIGEST = """
CREATE FUNCTION run_digest(of_operation uuid, of_window bigint, since smallint)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    line text;
BEGIN
    SELECT 'window ' || id
           || CASE WHEN status IN ('Closed', 'RolledBack') THEN ' uncleared' ELSE ' ' || status END
        INTO state FROM clearing_clearingwindow WHERE id = of_window;
    IF since <= 2 THEN
        SELECT E'\\nfrozen sets ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_frozenset held WHERE operation_id = of_operation;
        state := state || line;
        SELECT E'\\npairs ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_grosspair held WHERE operation_id = of_operation;
        state := state || line;
    END IF;
    IF since <= 3 THEN
        SELECT E'\\nresults ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_nettingresult held WHERE operation_id = of_operation;
        state := state || line;
        SELECT E'\\nresidual ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_residualpair held WHERE operation_id = of_operation;
        state := state || line;
        SELECT E'\\nnet positions ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_multilateralposition held WHERE operation_id = of_operation;
        state := state || line;
        SELECT E'\\nbilateral positions ' || count(*) || ' '
               || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
            INTO line FROM clearing_bilateralposition held WHERE operation_id = of_operation;
        state := state || line;
    END IF;
    SELECT E'\\ninstructions ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
        INTO line FROM settlement_settlementinstruction held WHERE batch_id = of_operation;
    state := state || line;
    SELECT E'\\nreservations ' || count(*) || ' ' || coalesce(bit_xor(hash_record_extended(held, 0)), 0)
        INTO line FROM settlement_reservation held WHERE batch_id = of_operation;
    state := state || line;
    SELECT E'\\nledger entries ' || count(*) || ' ' || coalesce(sum(entry.amount_minor * entry.account_id), 0)
        INTO line FROM settlement_posting posting
        JOIN settlement_ledgerentry entry ON entry.posting_id = posting.id
        WHERE posting.kind = 'Settlement' AND posting.reference = of_operation::text;
    state := state || line;
    SELECT E'\\naccounts that disagree with their reservations ' || count(*)
        INTO line
        FROM (SELECT id, reserved_minor FROM settlement_settlementaccount WHERE reserved_minor <> 0) account
        FULL JOIN (
            SELECT account_id, sum(amount_minor) AS amount_minor FROM settlement_reservation GROUP BY 1
        ) held ON held.account_id = account.id
        WHERE coalesce(account.reserved_minor, 0) <> coalesce(held.amount_minor, 0);
    RETURN encode(sha256(convert_to(state || line, 'UTF8')), 'hex');
END $$;
"""

# Locks in this order: the operation, the caller's dispatch, the step. A part of a step leaves the step itself
# unlocked, so that parts run side by side.
ENTER = """
CREATE TYPE entered_step AS (
    window_id bigint, operation_status text, rolling_back_at timestamptz, dispatch_count integer,
    checkpoint_id bigint, checkpoint_status text, checkpoint_position smallint, missing text
);

CREATE FUNCTION enter_step(of_operation uuid, of_name text, token integer, is_alone boolean, is_part boolean)
RETURNS entered_step LANGUAGE plpgsql AS $$
DECLARE
    entered entered_step;
BEGIN
    IF is_alone THEN
        SELECT window_id, status, rolling_back_at
            INTO entered.window_id, entered.operation_status, entered.rolling_back_at
            FROM clearing_atomicoperation WHERE id = of_operation FOR UPDATE;
    ELSE
        SELECT window_id, status, rolling_back_at
            INTO entered.window_id, entered.operation_status, entered.rolling_back_at
            FROM clearing_atomicoperation WHERE id = of_operation FOR SHARE;
    END IF;
    IF entered.operation_status IS DISTINCT FROM 'InProgress' OR entered.rolling_back_at IS NOT NULL THEN
        RETURN entered;
    END IF;
    IF token IS NOT NULL THEN
        SELECT count INTO entered.dispatch_count
            FROM clearing_dispatch WHERE operation_id = of_operation FOR SHARE;
    END IF;
    IF NOT is_part THEN
        PERFORM FROM clearing_checkpoint WHERE operation_id = of_operation AND name = of_name FOR UPDATE;
    END IF;
    SELECT id, status, position
        INTO entered.checkpoint_id, entered.checkpoint_status, entered.checkpoint_position
        FROM clearing_checkpoint WHERE operation_id = of_operation AND name = of_name;
    SELECT name INTO entered.missing FROM clearing_checkpoint
        WHERE operation_id = of_operation AND position < entered.checkpoint_position AND status <> 'Applied'
        ORDER BY position LIMIT 1;
    RETURN entered;
END $$;
"""

# The first step writes the digest into the operation too: beside a double, a share lock could not be raised
# to that, so the operation is locked for it from the beginning.
BEGIN = """
CREATE FUNCTION begin_step(
    of_operation uuid, of_name text, token integer, moment timestamptz, child_type text
) RETURNS entered_step LANGUAGE plpgsql AS $$
DECLARE
    is_first boolean := EXISTS (
        SELECT FROM clearing_checkpoint WHERE operation_id = of_operation AND name = of_name AND position = 1
    );
    entered entered_step := enter_step(of_operation, of_name, token, is_first, false);
    digest text;
    child uuid;
BEGIN
    IF entered.checkpoint_status IS DISTINCT FROM 'Planned' OR entered.missing IS NOT NULL
       OR token <> coalesce(entered.dispatch_count, 0) THEN
        RETURN entered;
    END IF;
    digest := run_digest(of_operation, entered.window_id, entered.checkpoint_position);
    UPDATE clearing_checkpoint SET status = 'Started', started_at = moment, digest_before = digest
        WHERE id = entered.checkpoint_id AND status = 'Planned';
    IF is_first THEN
        UPDATE clearing_atomicoperation SET digest_before = digest WHERE id = of_operation;
    END IF;
    IF child_type IS NOT NULL THEN
        INSERT INTO clearing_atomicoperation (id, window_id, parent_id, operation_type, status)
            VALUES (gen_random_uuid(), entered.window_id, of_operation, child_type, 'Pending')
            RETURNING id INTO child;
        UPDATE clearing_atomicoperation SET status = 'InProgress', started_at = moment
            WHERE id = child AND status = 'Pending';
    END IF;
    RETURN entered;
END $$;
"""

END = """
CREATE FUNCTION end_step(
    of_checkpoint bigint, from_status text, to_status text, moment timestamptz,
    child_type text, child_status text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    of_operation uuid;
BEGIN
    UPDATE clearing_checkpoint
        SET status = to_status,
            applied_at = CASE to_status WHEN 'Applied' THEN moment ELSE applied_at END,
            undone_at = CASE to_status WHEN 'Undone' THEN moment ELSE undone_at END
        WHERE id = of_checkpoint AND status = from_status
        RETURNING operation_id INTO of_operation;
    IF of_operation IS NOT NULL AND child_type IS NOT NULL THEN
        UPDATE clearing_atomicoperation SET status = child_status, completed_at = moment
            WHERE parent_id = of_operation AND operation_type = child_type;
    END IF;
    RETURN of_operation IS NOT NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("clearing", "0008_weights"), ("settlement", "0003_reference")]

    operations = [
        *(migrations.AlterField("atomicoperation", name, field) for name, field in EMPTY_TEXTS.items()),
        migrations.RunSQL(DIGEST, "DROP FUNCTION run_digest(uuid, bigint, smallint);"),
        migrations.RunSQL(
            ENTER, "DROP FUNCTION enter_step(uuid, text, integer, boolean, boolean); DROP TYPE entered_step;"
        ),
        migrations.RunSQL(BEGIN, "DROP FUNCTION begin_step(uuid, text, integer, timestamptz, text);"),
        migrations.RunSQL(END, "DROP FUNCTION end_step(bigint, text, text, timestamptz, text, text);"),
    ]
