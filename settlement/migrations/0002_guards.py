"""What PostgreSQL itself refuses in the settlement room."""

from django.db import migrations

MOVES = """
CREATE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT '>' || NEW.status = ANY (TG_ARGV) THEN
            RAISE EXCEPTION '% may not begin as %', TG_TABLE_NAME, NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_move';
        END IF;
    ELSIF NEW.status <> OLD.status AND NOT OLD.status || '>' || NEW.status = ANY (TG_ARGV) THEN
        RAISE EXCEPTION '% may not move from % to %', TG_TABLE_NAME, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_move';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_participant
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Active', 'Active>Suspended', 'Suspended>Active');

CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON settlement_settlementinstruction
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Pending', 'Pending>InProgress', 'Pending>Completed', 'Pending>Failed',
        'InProgress>Completed', 'InProgress>Failed');
"""

MOVES_BACK = """
DROP TRIGGER legal_move ON settlement_settlementinstruction;
DROP TRIGGER legal_move ON settlement_participant;
DROP FUNCTION refuse_illegal_move();
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON settlement_posting
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON settlement_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- An instruction's order never changes; once Completed or Failed nothing of it does.
CREATE TRIGGER order_is_fixed BEFORE UPDATE ON settlement_settlementinstruction
    FOR EACH ROW WHEN (
        OLD.status IN ('Completed', 'Failed')
        OR (OLD.id, OLD.batch_id, OLD.currency_id, OLD.payer_id, OLD.payee_id, OLD.amount_minor,
            OLD.instruction_type)
           IS DISTINCT FROM
           (NEW.id, NEW.batch_id, NEW.currency_id, NEW.payer_id, NEW.payee_id, NEW.amount_minor,
            NEW.instruction_type))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sent_is_kept BEFORE DELETE ON settlement_settlementinstruction
    FOR EACH ROW WHEN (OLD.status <> 'Pending') EXECUTE FUNCTION refuse_change();
"""

APPEND_ONLY_BACK = """
DROP TRIGGER sent_is_kept ON settlement_settlementinstruction;
DROP TRIGGER order_is_fixed ON settlement_settlementinstruction;
DROP TRIGGER append_only ON settlement_ledgerentry;
DROP TRIGGER append_only ON settlement_posting;
DROP FUNCTION refuse_change();
"""

# Balances follow entries and reservations, one UPDATE a statement. A posting balances in one currency.
LEDGER = """
CREATE FUNCTION ledger_apply_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM settlement_ledgerentry entry
        JOIN settlement_settlementaccount account ON account.id = entry.account_id
        WHERE entry.posting_id IN (SELECT posting_id FROM fresh)
        GROUP BY entry.posting_id
        HAVING sum(entry.amount_minor) <> 0 OR count(DISTINCT account.currency_id) <> 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a posting must balance to zero in one currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balances';
    END IF;
    PERFORM FROM settlement_settlementaccount WHERE id IN (SELECT account_id FROM fresh)
        ORDER BY id FOR UPDATE;
    UPDATE settlement_settlementaccount account
        SET balance_minor = account.balance_minor + moved.amount_minor
        FROM (SELECT account_id, sum(amount_minor)::bigint AS amount_minor FROM fresh GROUP BY 1) moved
        WHERE account.id = moved.account_id AND moved.amount_minor <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER balances_follow AFTER INSERT ON settlement_ledgerentry
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply_entries();

CREATE FUNCTION ledger_apply_reservations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM settlement_settlementaccount WHERE id IN (SELECT account_id FROM touched)
        ORDER BY id FOR UPDATE;
    UPDATE settlement_settlementaccount account
        SET reserved_minor = account.reserved_minor
            + CASE TG_OP WHEN 'INSERT' THEN held.amount_minor ELSE -held.amount_minor END
        FROM (SELECT account_id, sum(amount_minor)::bigint AS amount_minor FROM touched GROUP BY 1) held
        WHERE account.id = held.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER reservations_taken AFTER INSERT ON settlement_reservation
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply_reservations();
CREATE TRIGGER reservations_given_back AFTER DELETE ON settlement_reservation
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply_reservations();
CREATE TRIGGER reservations_fixed BEFORE UPDATE ON settlement_reservation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Only the two functions above write balances: they run inside a trigger, so the depth is above 1.
CREATE FUNCTION refuse_balance_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND (NEW.balance_minor, NEW.reserved_minor) = (0, 0) THEN
        RETURN NEW;
    END IF;
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'balances follow ledger entries and reservations only'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_from_entries';
END $$;
CREATE TRIGGER balance_from_entries BEFORE INSERT ON settlement_settlementaccount
    FOR EACH ROW EXECUTE FUNCTION refuse_balance_by_hand();
CREATE TRIGGER balance_from_entries_only BEFORE UPDATE ON settlement_settlementaccount
    FOR EACH ROW WHEN (
        (OLD.balance_minor, OLD.reserved_minor, OLD.participant_id, OLD.currency_id)
        IS DISTINCT FROM (NEW.balance_minor, NEW.reserved_minor, NEW.participant_id, NEW.currency_id))
    EXECUTE FUNCTION refuse_balance_by_hand();
"""

LEDGER_BACK = """
DROP TRIGGER balance_from_entries_only ON settlement_settlementaccount;
DROP TRIGGER balance_from_entries ON settlement_settlementaccount;
DROP FUNCTION refuse_balance_by_hand();
DROP TRIGGER reservations_fixed ON settlement_reservation;
DROP TRIGGER reservations_given_back ON settlement_reservation;
DROP TRIGGER reservations_taken ON settlement_reservation;
DROP FUNCTION ledger_apply_reservations();
DROP TRIGGER balances_follow ON settlement_ledgerentry;
DROP FUNCTION ledger_apply_entries();
"""


class Migration(migrations.Migration):
    dependencies = [("settlement", "0001_initial")]

    operations = [
        migrations.RunSQL(MOVES, MOVES_BACK),
        migrations.RunSQL(APPEND_ONLY, APPEND_ONLY_BACK),
        migrations.RunSQL(LEDGER, LEDGER_BACK),
    ]
