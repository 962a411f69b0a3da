"""The partitioned obligation table, and what PostgreSQL itself refuses in the clearing room."""

from django.db import migrations

# Fixed-width columns first; no foreign keys, no secondary index: each costs intake several times the insert.
OBLIGATIONS = """
DROP TABLE clearing_obligation;
CREATE TABLE clearing_obligation (
    window_id bigint NOT NULL,
    id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    key uuid NOT NULL,
    submitted_at timestamptz NOT NULL,
    payer_id integer NOT NULL,
    payee_id integer NOT NULL,
    due_date date,
    currency_id smallint NOT NULL,
    priority smallint NOT NULL,
    reference varchar(64) NOT NULL,
    submitter varchar(32) NOT NULL,
    link varchar(140),
    origin_window_id bigint,
    CONSTRAINT obligation_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT obligation_two_parties CHECK (payer_id <> payee_id),
    PRIMARY KEY (window_id, id)
) PARTITION BY LIST (window_id);
-- A batch takes one value and owns the ids from it up to the next.
CREATE SEQUENCE clearing_obligation_block AS bigint INCREMENT BY 10000;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_obligation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

OBLIGATIONS_BACK = """
DROP TABLE clearing_obligation;
DROP SEQUENCE clearing_obligation_block;
CREATE TABLE clearing_obligation (
    id bigint PRIMARY KEY, window_id bigint, currency_id smallint, payer_id integer, payee_id integer);
"""

MOVES = """
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_clearingwindow
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Scheduled', 'Scheduled>Open', 'Open>Closing', 'Closing>Closed', 'Closed>Processing',
        'Processing>RolledBack', 'Processing>Settling', 'Settling>Completed',
        'RolledBack>Failed', 'RolledBack>Processing');

CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_atomicoperation
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Pending', 'Pending>Failed', 'Pending>InProgress',
        'InProgress>Committed', 'InProgress>Failed', 'InProgress>RollbackFailed', 'InProgress>RolledBack',
        'Committed>RollbackFailed', 'Committed>RolledBack', 'RollbackFailed>RolledBack');

CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_checkpoint
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Planned', 'Planned>Started', 'Started>Applied', 'Started>Undone', 'Applied>Undone');

CREATE TRIGGER never_deleted BEFORE DELETE ON clearing_clearingwindow
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Once written, the moment of finality is neither changed nor lost with its row.
CREATE TRIGGER finality_is_fixed BEFORE UPDATE OF final_at ON clearing_atomicoperation
    FOR EACH ROW WHEN (OLD.final_at IS NOT NULL AND NEW.final_at IS DISTINCT FROM OLD.final_at)
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER finality_is_kept BEFORE DELETE ON clearing_atomicoperation
    FOR EACH ROW WHEN (OLD.final_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
"""

MOVES_BACK = """
DROP TRIGGER finality_is_kept ON clearing_atomicoperation;
DROP TRIGGER finality_is_fixed ON clearing_atomicoperation;
DROP TRIGGER never_deleted ON clearing_clearingwindow;
DROP TRIGGER legal_move ON clearing_checkpoint;
DROP TRIGGER legal_move ON clearing_atomicoperation;
DROP TRIGGER legal_move ON clearing_clearingwindow;
"""

# An event is fixed but for the mark that it was published.
EVENTS = """
CREATE TRIGGER event_is_fixed BEFORE UPDATE ON clearing_windowevent
    FOR EACH ROW WHEN (
        OLD.published_at IS NOT NULL
        OR (OLD.id, OLD.window_id, OLD.sequence, OLD.event_id, OLD.event_type, OLD.occurred_at, OLD.data)
           IS DISTINCT FROM
           (NEW.id, NEW.window_id, NEW.sequence, NEW.event_id, NEW.event_type, NEW.occurred_at, NEW.data))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER event_is_kept BEFORE DELETE ON clearing_windowevent
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

EVENTS_BACK = """
DROP TRIGGER event_is_kept ON clearing_windowevent;
DROP TRIGGER event_is_fixed ON clearing_windowevent;
"""

MONEY = """
CREATE FUNCTION refuse_unbalanced_positions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_multilateralposition position
        JOIN (SELECT DISTINCT operation_id, currency_id FROM fresh) touched
          USING (operation_id, currency_id)
        GROUP BY operation_id, currency_id
        HAVING sum(position.net_minor) <> 0;
    IF FOUND THEN
        RAISE EXCEPTION 'net positions of a currency must sum to zero'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'positions_sum_to_zero';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER positions_sum_to_zero AFTER INSERT ON clearing_multilateralposition
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_positions();
CREATE TRIGGER positions_are_fixed BEFORE UPDATE ON clearing_multilateralposition
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A clearing run commits only with every checkpoint Applied, and with instructions that move, for each
-- participant and currency, exactly its net position.
CREATE FUNCTION refuse_unfounded_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_checkpoint WHERE operation_id = NEW.id HAVING
        count(*) FILTER (WHERE status = 'Applied') <> 4 OR count(*) <> 4;
    IF FOUND THEN
        RAISE EXCEPTION 'operation % has checkpoints not applied', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'commit_is_founded';
    END IF;
    PERFORM FROM (
        SELECT currency_id, participant_id, net_minor AS amount FROM clearing_multilateralposition
            WHERE operation_id = NEW.id
        UNION ALL
        SELECT instruction.currency_id, side.participant_id, side.amount
        FROM settlement_settlementinstruction instruction
        CROSS JOIN LATERAL (VALUES (instruction.payer_id, instruction.amount_minor),
                                   (instruction.payee_id, -instruction.amount_minor))
            AS side (participant_id, amount)
        WHERE instruction.batch_id = NEW.id
    ) AS both_sides
    GROUP BY currency_id, participant_id HAVING sum(amount) <> 0;
    IF FOUND THEN
        RAISE EXCEPTION 'instructions of operation % differ from its net positions', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instructions_equal_positions';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER commit_is_founded BEFORE UPDATE OF status ON clearing_atomicoperation
    FOR EACH ROW WHEN (NEW.status = 'Committed' AND OLD.status <> 'Committed'
                       AND NEW.operation_type = 'WindowClearing')
    EXECUTE FUNCTION refuse_unfounded_commit();
-- And again at finality: between the two a run may be held for long.
CREATE TRIGGER finality_is_founded BEFORE UPDATE OF final_at ON clearing_atomicoperation
    FOR EACH ROW WHEN (NEW.final_at IS NOT NULL AND OLD.final_at IS NULL
                       AND NEW.operation_type = 'WindowClearing')
    EXECUTE FUNCTION refuse_unfounded_commit();
"""

MONEY_BACK = """
DROP TRIGGER finality_is_founded ON clearing_atomicoperation;
DROP TRIGGER commit_is_founded ON clearing_atomicoperation;
DROP FUNCTION refuse_unfounded_commit();
DROP TRIGGER positions_are_fixed ON clearing_multilateralposition;
DROP TRIGGER positions_sum_to_zero ON clearing_multilateralposition;
DROP FUNCTION refuse_unbalanced_positions();
"""


class Migration(migrations.Migration):
    dependencies = [("clearing", "0001_initial"), ("settlement", "0003_reference")]

    operations = [
        migrations.RunSQL(OBLIGATIONS, OBLIGATIONS_BACK),
        migrations.RunSQL(MOVES, MOVES_BACK),
        migrations.RunSQL(EVENTS, EVENTS_BACK),
        migrations.RunSQL(MONEY, MONEY_BACK),
    ]
