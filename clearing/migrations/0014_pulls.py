"""Pulls from the obligation engine; no window closes while its pull is pending."""

import django.db.models.deletion
from django.db import migrations, models

NO_CLOSE = """
CREATE FUNCTION refuse_close_before_pull() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM clearing_obligationpull WHERE window_id = NEW.id AND status = 'Pending') THEN
        RAISE EXCEPTION 'a window may not close before its obligations have come'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'pull_before_close';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER pull_before_close BEFORE UPDATE OF status ON clearing_clearingwindow
    FOR EACH ROW WHEN (OLD.status = 'Closing' AND NEW.status = 'Closed')
    EXECUTE FUNCTION refuse_close_before_pull();
"""

NO_CLOSE_BACK = """
DROP TRIGGER pull_before_close ON clearing_clearingwindow;
DROP FUNCTION refuse_close_before_pull();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0013_pairs"),
    ]

    operations = [
        migrations.CreateModel(
            name="ObligationPull",
            fields=[
                (
                    "window",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="pull",
                        serialize=False,
                        to="clearing.clearingwindow",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("Pending", "Pending"), ("Complete", "Complete"), ("Waived", "Waived")],
                        default="Pending",
                        max_length=16,
                    ),
                ),
                (
                    "cursor",
                    models.BigIntegerField(
                        default=0, help_text="sequence of the last obligation that was taken"
                    ),
                ),
                (
                    "taken",
                    models.BigIntegerField(default=0, help_text="obligations received, repetitions included"),
                ),
                ("attempts", models.PositiveIntegerField(default=0, help_text="failed in a row")),
                (
                    "next_at",
                    models.DateTimeField(help_text="end of the lease, or of the pause after a failure"),
                ),
                ("error_code", models.CharField(blank=True, default="", max_length=64)),
                ("error_message", models.TextField(blank=True, default="")),
                (
                    "waived_reason",
                    models.TextField(blank=True, default="", help_text="why the window went on without it"),
                ),
                ("completed_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "pull from the obligation engine",
                "verbose_name_plural": "pulls from the obligation engine",
                "ordering": ["-window_id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "Pending")), fields=["next_at"], name="pull_due"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["Pending", "Complete", "Waived"])),
                        name="pull_status",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("completed_at", None), ("status", "Pending")),
                            models.Q(
                                models.Q(("status", "Pending"), _negated=True),
                                ("completed_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="pull_ends_once",
                    ),
                ],
            },
        ),
        migrations.RunSQL(NO_CLOSE, NO_CLOSE_BACK),
    ]
