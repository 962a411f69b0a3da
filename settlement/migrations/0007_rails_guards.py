"""What PostgreSQL itself refuses of executions at outside engines and of the risk engine's verdicts."""

from django.db import migrations

MOVES = """
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_execution
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Planned', 'Planned>Completed', 'Planned>Executing', 'Planned>Failed', 'Planned>Sending',
        'Sending>Completed', 'Sending>Executing', 'Sending>Failed', 'Sending>Unknown',
        'Unknown>Completed', 'Unknown>Executing', 'Unknown>Failed', 'Unknown>Planned',
        'Executing>Completed', 'Executing>Failed');

CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_riskverdict
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Pending', 'Pending>Approved', 'Pending>Rejected');

DROP TRIGGER legal_move ON settlement_settlementinstruction;
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_settlementinstruction
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Pending', 'Pending>InProgress', 'Pending>Completed', 'Pending>Failed',
        'InProgress>Completed', 'InProgress>Failed', 'Failed>Completed', 'Failed>InProgress');
"""

MOVES_BACK = """
DROP TRIGGER legal_move ON settlement_settlementinstruction;
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_settlementinstruction
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Pending', 'Pending>InProgress', 'Pending>Completed', 'Pending>Failed',
        'InProgress>Completed', 'InProgress>Failed');
DROP TRIGGER legal_move ON settlement_riskverdict;
DROP TRIGGER legal_move ON settlement_execution;
"""

# A failed instruction changes by its next attempt alone.
FIXED = """
DROP TRIGGER order_is_fixed ON settlement_settlementinstruction;
CREATE TRIGGER order_is_fixed BEFORE UPDATE ON settlement_settlementinstruction
    FOR EACH ROW WHEN (
        OLD.status = 'Completed'
        OR (OLD.status = 'Failed' AND NEW.status = 'Failed')
        OR (OLD.id, OLD.batch_id, OLD.currency_id, OLD.payer_id, OLD.payee_id, OLD.amount_minor,
            OLD.instruction_type)
           IS DISTINCT FROM
           (NEW.id, NEW.batch_id, NEW.currency_id, NEW.payer_id, NEW.payee_id, NEW.amount_minor,
            NEW.instruction_type))
    EXECUTE FUNCTION refuse_change();

CREATE TRIGGER order_is_fixed BEFORE UPDATE ON settlement_execution
    FOR EACH ROW WHEN (
        (OLD.id, OLD.instruction_id, OLD.batch_id, OLD.attempt, OLD.rail, OLD.actor, OLD.reason)
        IS DISTINCT FROM
        (NEW.id, NEW.instruction_id, NEW.batch_id, NEW.attempt, NEW.rail, NEW.actor, NEW.reason)
        OR (OLD.status IN ('Completed', 'Failed')
            AND (OLD.settlement_id, OLD.reference, OLD.confirmation_code, OLD.sends, OLD.completed_at)
                IS DISTINCT FROM
                (NEW.settlement_id, NEW.reference, NEW.confirmation_code, NEW.sends, NEW.completed_at))
        OR (OLD.contradicted_at IS NOT NULL AND NEW.contradicted_at IS DISTINCT FROM OLD.contradicted_at))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sent_is_kept BEFORE DELETE ON settlement_execution
    FOR EACH ROW WHEN (OLD.sends > 0 OR OLD.status <> 'Planned' OR OLD.attempt > 1)
    EXECUTE FUNCTION refuse_change();

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON settlement_execution EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON settlement_riskverdict EXECUTE FUNCTION refuse_truncate();

CREATE TRIGGER verdict_is_fixed BEFORE UPDATE ON settlement_riskverdict
    FOR EACH ROW WHEN (OLD.status <> 'Pending' OR OLD.instruction_id <> NEW.instruction_id
                       OR OLD.batch_id <> NEW.batch_id)
    EXECUTE FUNCTION refuse_change();
"""

FIXED_BACK = """
DROP TRIGGER verdict_is_fixed ON settlement_riskverdict;
DROP TRIGGER never_emptied ON settlement_riskverdict;
DROP TRIGGER never_emptied ON settlement_execution;
DROP TRIGGER sent_is_kept ON settlement_execution;
DROP TRIGGER order_is_fixed ON settlement_execution;
DROP TRIGGER order_is_fixed ON settlement_settlementinstruction;
CREATE TRIGGER order_is_fixed BEFORE UPDATE ON settlement_settlementinstruction
    FOR EACH ROW WHEN (
        OLD.status IN ('Completed', 'Failed')
        OR (OLD.id, OLD.batch_id, OLD.currency_id, OLD.payer_id, OLD.payee_id, OLD.amount_minor,
            OLD.instruction_type)
           IS DISTINCT FROM
           (NEW.id, NEW.batch_id, NEW.currency_id, NEW.payer_id, NEW.payee_id, NEW.amount_minor,
            NEW.instruction_type))
    EXECUTE FUNCTION refuse_change();
"""

# By statement, not by row: a batch on our own ledger pays for two empty joins.
FOUNDED = """
CREATE FUNCTION refuse_unfounded_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM fresh JOIN settlement_riskverdict verdict ON verdict.instruction_id = fresh.id
        WHERE fresh.status IN ('InProgress', 'Completed') AND verdict.status <> 'Approved';
    IF FOUND THEN
        RAISE EXCEPTION 'an instruction is sent or settled that the risk engine has not approved'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'risk_approved';
    END IF;
    PERFORM FROM fresh JOIN settlement_execution execution ON execution.instruction_id = fresh.id
        WHERE fresh.status = 'Completed'
        GROUP BY fresh.id HAVING NOT bool_or(execution.status = 'Completed');
    IF FOUND THEN
        RAISE EXCEPTION 'an instruction is completed that no engine has confirmed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'completion_is_confirmed';
    END IF;
    PERFORM FROM stale JOIN fresh USING (id)
        JOIN settlement_execution execution ON execution.instruction_id = fresh.id
        WHERE stale.status = 'Failed' AND fresh.status = 'InProgress'
        GROUP BY fresh.id HAVING bool_and(execution.status = 'Failed');
    IF FOUND THEN
        RAISE EXCEPTION 'a failed instruction is tried again without a new attempt'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'retry_is_founded';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER settlement_is_founded AFTER UPDATE ON settlement_settlementinstruction
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unfounded_settlement();
"""

FOUNDED_BACK = """
DROP TRIGGER settlement_is_founded ON settlement_settlementinstruction;
DROP FUNCTION refuse_unfounded_settlement();
"""


class Migration(migrations.Migration):
    dependencies = [("settlement", "0006_rails")]

    operations = [
        migrations.RunSQL(MOVES, MOVES_BACK),
        migrations.RunSQL(FIXED, FIXED_BACK),
        migrations.RunSQL(FOUNDED, FOUNDED_BACK),
    ]
