"""What limited participants owe net in a window, counted along by PostgreSQL with every row."""

import django.db.models.deletion
from django.db import migrations, models

# One function for both directions: what comes counts for its payer and against its payee, what goes the other
# way round. The triggers of a partition come with its first counter (clearing.counters); these on the
# partitioned table are for statements that name it instead.
COUNTING = """
CREATE FUNCTION count_for_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO clearing_limitcount (window_id, limit_id, amount_minor)
    SELECT counter.window_id, counter.limit_id,
           sum(owed.amount_minor) * CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    FROM (
        SELECT window_id, payer_id AS party_id, payee_id AS other_id, currency_id, amount_minor FROM moved
        UNION ALL
        SELECT window_id, payee_id, payer_id, currency_id, -amount_minor FROM moved
    ) owed
    JOIN clearing_limit held
      ON held.participant_id = owed.party_id AND held.currency_id = owed.currency_id
         AND (held.counterparty_id IS NULL OR owed.other_id = held.counterparty_id)
    JOIN clearing_limitcounter counter
      ON counter.limit_id = held.id AND counter.window_id = owed.window_id
    GROUP BY 1, 2;
    RETURN NULL;
END $$;
CREATE TRIGGER brought_is_counted AFTER INSERT ON clearing_obligation
    REFERENCING NEW TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION count_for_limits();
CREATE TRIGGER taken_is_counted AFTER DELETE ON clearing_obligation
    REFERENCING OLD TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION count_for_limits();
CREATE TRIGGER append_only BEFORE UPDATE ON clearing_limitcount
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON clearing_limitcounter
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- Rows come and go all day: cleaned up by their number, not by their share.
ALTER TABLE clearing_limitcount SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
"""

COUNTING_BACK = """
ALTER TABLE clearing_limitcount RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
DROP TRIGGER append_only ON clearing_limitcounter;
DROP TRIGGER append_only ON clearing_limitcount;
DROP FUNCTION count_for_limits() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0017_opened_steps"),
    ]

    operations = [
        migrations.CreateModel(
            name="LimitCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "amount_minor",
                    models.DecimalField(
                        decimal_places=0,
                        help_text="what it owes (+) or is owed (-); may exceed 64 bits",
                        max_digits=38,
                    ),
                ),
                (
                    "limit",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="clearing.limit",
                    ),
                ),
                (
                    "window",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="clearing.clearingwindow",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["window", "limit"], name="limit_count_by_counter")],
            },
        ),
        migrations.CreateModel(
            name="LimitCounter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "limit",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="clearing.limit",
                    ),
                ),
                (
                    "window",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="clearing.clearingwindow",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(fields=("window", "limit"), name="one_limit_counter")
                ],
            },
        ),
        migrations.RunSQL(COUNTING, COUNTING_BACK),
    ]
