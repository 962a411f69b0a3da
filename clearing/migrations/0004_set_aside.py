"""Obligations set aside: parked, held or cancelled; and those that roll on from a window that overflows."""

import django.db.models.deletion
from django.db import migrations, models

# An obligation leaves a window only as long as that is not sealed, and only to where its key points by then:
# another window, or, whole and unchanged, the table of those set aside.
LEAVING = """
CREATE FUNCTION refuse_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_clearingwindow window_, clearing_obligationkey known
    WHERE window_.id = OLD.window_id AND window_.status IN ('Open', 'Closing')
      AND known.key = OLD.key AND known.obligation_id = OLD.id
      AND (known.window_id <> OLD.window_id OR known.window_id IS NULL AND EXISTS (
          SELECT FROM clearing_setaside aside
          WHERE (aside.id, aside.key, aside.currency_id, aside.payer_id, aside.payee_id, aside.amount_minor)
              = (OLD.id, OLD.key, OLD.currency_id, OLD.payer_id, OLD.payee_id, OLD.amount_minor)));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an obligation may not leave its window for nowhere'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'obligation_is_kept';
    END IF;
    RETURN OLD;
END $$;
DROP TRIGGER append_only ON clearing_obligation;
CREATE TRIGGER append_only BEFORE UPDATE ON clearing_obligation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER obligation_is_kept BEFORE DELETE ON clearing_obligation
    FOR EACH ROW EXECUTE FUNCTION refuse_loss();
"""

LEAVING_BACK = """
DROP TRIGGER obligation_is_kept ON clearing_obligation;
DROP TRIGGER append_only ON clearing_obligation;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_obligation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
DROP FUNCTION refuse_loss();
"""

# Set aside, an obligation stays what it is; it goes only into the window that its key names by then.
ASIDE = """
CREATE TRIGGER legal_move BEFORE INSERT OR UPDATE ON clearing_setaside
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move(
        '>Parked', 'Held>Cancelled', 'Held>Parked', 'Parked>Cancelled', 'Parked>Held');
CREATE TRIGGER row_is_fixed BEFORE UPDATE ON clearing_setaside
    FOR EACH ROW WHEN (
        OLD.status = 'Cancelled'
        OR (OLD.id, OLD.key, OLD.currency_id, OLD.payer_id, OLD.payee_id, OLD.amount_minor, OLD.submitted_at,
            OLD.reference, OLD.submitter, OLD.region)
           IS DISTINCT FROM
           (NEW.id, NEW.key, NEW.currency_id, NEW.payer_id, NEW.payee_id, NEW.amount_minor, NEW.submitted_at,
            NEW.reference, NEW.submitter, NEW.region))
    EXECUTE FUNCTION refuse_change();
CREATE FUNCTION refuse_loss_aside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_obligationkey known
    WHERE known.key = OLD.key AND known.window_id IS NOT NULL AND OLD.status = 'Parked';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an obligation set aside may not be deleted'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'obligation_is_kept';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER obligation_is_kept BEFORE DELETE ON clearing_setaside
    FOR EACH ROW EXECUTE FUNCTION refuse_loss_aside();
"""

ASIDE_BACK = """
DROP TRIGGER obligation_is_kept ON clearing_setaside;
DROP FUNCTION refuse_loss_aside();
DROP TRIGGER row_is_fixed ON clearing_setaside;
DROP TRIGGER legal_move ON clearing_setaside;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0003_reference"),
        ("settlement", "0003_reference"),
    ]

    operations = [
        migrations.CreateModel(
            name="SetAside",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("amount_minor", models.BigIntegerField()),
                (
                    "key",
                    models.UUIDField(
                        help_text="derived from submitter and reference: public id, idempotency key"
                    ),
                ),
                ("submitted_at", models.DateTimeField()),
                ("priority", models.SmallIntegerField(default=0)),
                (
                    "origin_window_id",
                    models.BigIntegerField(
                        help_text="first window it was sent to, if it is there no more", null=True
                    ),
                ),
                ("due_date", models.DateField(null=True)),
                (
                    "not_before",
                    models.DateTimeField(help_text="it enters a window whose cutoff is later", null=True),
                ),
                ("reference", models.CharField(max_length=64)),
                ("submitter", models.CharField(max_length=32)),
                ("link", models.CharField(max_length=140, null=True)),
                (
                    "arrival",
                    models.CharField(
                        choices=[
                            ("late", "Late"),
                            ("overflow", "Overflow"),
                            ("given_up", "Given Up"),
                            ("parked", "Parked"),
                            ("released", "Released"),
                        ],
                        help_text="how it came here, if not by intake",
                        max_length=16,
                        null=True,
                    ),
                ),
                (
                    "region",
                    models.CharField(
                        choices=[
                            ("Global", "Global"),
                            ("ADGM", "Adgm"),
                            ("Europe", "Europe"),
                            ("Americas", "Americas"),
                            ("AsiaPacific", "Asia Pacific"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("Parked", "Parked"), ("Held", "Held"), ("Cancelled", "Cancelled")],
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField()),
                (
                    "by",
                    models.CharField(
                        help_text="who set it aside; empty: the engine, by rule", max_length=150
                    ),
                ),
                ("aside_at", models.DateTimeField()),
                (
                    "expected_at",
                    models.DateTimeField(
                        help_text="when its window should open, if that is known", null=True
                    ),
                ),
                (
                    "due_by",
                    models.DateTimeField(
                        help_text="end of its due date in the region's time zone", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "obligation set aside",
                "verbose_name_plural": "obligations set aside",
                "ordering": ["id"],
                "abstract": False,
            },
        ),
        migrations.RemoveConstraint(
            model_name="windowevent",
            name="window_event_type",
        ),
        migrations.AddField(
            model_name="obligation",
            name="arrival",
            field=models.CharField(
                choices=[
                    ("late", "Late"),
                    ("overflow", "Overflow"),
                    ("given_up", "Given Up"),
                    ("parked", "Parked"),
                    ("released", "Released"),
                ],
                help_text="how it came here, if not by intake",
                max_length=16,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="obligation",
            name="not_before",
            field=models.DateTimeField(help_text="it enters a window whose cutoff is later", null=True),
        ),
        migrations.AddField(
            model_name="rollon",
            name="kind",
            field=models.CharField(
                choices=[
                    ("late", "Late"),
                    ("overflow", "Overflow"),
                    ("given_up", "Given Up"),
                    ("parked", "Parked"),
                    ("released", "Released"),
                ],
                default="given_up",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="obligation",
            name="currency",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="settlement.currency",
            ),
        ),
        migrations.AlterField(
            model_name="obligation",
            name="origin_window_id",
            field=models.BigIntegerField(
                help_text="first window it was sent to, if it is there no more", null=True
            ),
        ),
        migrations.AlterField(
            model_name="obligationkey",
            name="window_id",
            field=models.BigIntegerField(help_text="empty: it is set aside", null=True),
        ),
        migrations.AlterField(
            model_name="rollon",
            name="source",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rolled_on",
                to="clearing.clearingwindow",
            ),
        ),
        migrations.AlterField(
            model_name="rollon",
            name="target",
            field=models.ForeignKey(
                help_text="empty: none was open; they wait for the next",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rolled_in",
                to="clearing.clearingwindow",
            ),
        ),
        migrations.AlterField(
            model_name="windowevent",
            name="event_type",
            field=models.CharField(
                choices=[
                    ("Opened", "Opened"),
                    ("Closing", "Closing"),
                    ("Closed", "Closed"),
                    ("Processing", "Processing"),
                    ("Completed", "Completed"),
                    ("Failed", "Failed"),
                    ("RolledBack", "Rolled Back"),
                    ("EfficiencyAlert", "Efficiency Alert"),
                    ("Overflowed", "Overflowed"),
                    ("ObligationCancelled", "Obligation Cancelled"),
                    ("ObligationHeld", "Obligation Held"),
                    ("ObligationReleased", "Obligation Released"),
                ],
                max_length=24,
            ),
        ),
        migrations.AddConstraint(
            model_name="rollon",
            constraint=models.UniqueConstraint(fields=("source", "kind"), name="rolled_on_once"),
        ),
        migrations.AddConstraint(
            model_name="rollon",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["overflow", "given_up"])), name="roll_on_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="windowevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "event_type__in",
                        [
                            "Opened",
                            "Closing",
                            "Closed",
                            "Processing",
                            "Completed",
                            "Failed",
                            "RolledBack",
                            "EfficiencyAlert",
                            "Overflowed",
                            "ObligationCancelled",
                            "ObligationHeld",
                            "ObligationReleased",
                        ],
                    )
                ),
                name="window_event_type",
            ),
        ),
        migrations.AddField(
            model_name="setaside",
            name="currency",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="settlement.currency",
            ),
        ),
        migrations.AddField(
            model_name="setaside",
            name="payee",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="settlement.participant",
            ),
        ),
        migrations.AddField(
            model_name="setaside",
            name="payer",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="settlement.participant",
            ),
        ),
        migrations.AddIndex(
            model_name="setaside",
            index=models.Index(
                condition=models.Q(("status", "Parked")), fields=["region", "id"], name="aside_parked"
            ),
        ),
        migrations.AddIndex(
            model_name="setaside",
            index=models.Index(
                condition=models.Q(("status", "Held")), fields=["region", "id"], name="aside_held"
            ),
        ),
        migrations.AddIndex(
            model_name="setaside",
            index=models.Index(fields=["origin_window_id", "id"], name="aside_by_window"),
        ),
        migrations.AddConstraint(
            model_name="setaside",
            constraint=models.CheckConstraint(
                condition=models.Q(("region__in", ["Global", "ADGM", "Europe", "Americas", "AsiaPacific"])),
                name="aside_region",
            ),
        ),
        migrations.AddConstraint(
            model_name="setaside",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["Parked", "Held", "Cancelled"])), name="aside_status"
            ),
        ),
        migrations.AddConstraint(
            model_name="setaside",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="aside_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="setaside",
            constraint=models.UniqueConstraint(fields=("key",), name="one_aside_per_key"),
        ),
        migrations.RunSQL(LEAVING, LEAVING_BACK),
        migrations.RunSQL(ASIDE, ASIDE_BACK),
    ]
