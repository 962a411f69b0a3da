"""Stored days of holiday calendars, special days of operators; those a window was opened for stay as they are."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# A day that a window has been opened for, or that lies before one, is part of what was published. What the library
# computes may still be added to it (a calendar chosen in July stores January, too), and changes no window.
SETTLED = """
CREATE FUNCTION clearing_settled_until(of_region text) RETURNS date STABLE LANGUAGE sql AS $$
    SELECT (past.cutoff_at AT TIME ZONE schedule.time_zone)::date
    FROM clearing_clearingwindow past JOIN clearing_regionschedule schedule USING (region)
    WHERE past.region = of_region ORDER BY past.opens_at DESC LIMIT 1
$$;

CREATE FUNCTION refuse_settled_calendar_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clearing_calendaryear stored
        WHERE stored.id = OLD.calendar_year_id AND OLD.date <= clearing_settled_until(stored.schedule_id);
    IF FOUND THEN
        RAISE EXCEPTION 'a window has been opened for %', OLD.date
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settled_day_is_fixed';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RAISE EXCEPTION 'a stored day is replaced, not changed'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'stored_day_is_fixed';
END $$;
CREATE TRIGGER settled_day_is_fixed BEFORE UPDATE OR DELETE ON clearing_calendarday
    FOR EACH ROW EXECUTE FUNCTION refuse_settled_calendar_day();

CREATE FUNCTION refuse_settled_special_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP <> 'INSERT' AND OLD.date < clearing_settled_until(OLD.schedule_id))
       OR (TG_OP <> 'DELETE' AND NEW.date < clearing_settled_until(NEW.schedule_id)) THEN
        RAISE EXCEPTION 'a window has been opened beyond this day'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settled_day_is_fixed';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER settled_day_is_fixed BEFORE INSERT OR UPDATE OR DELETE ON clearing_specialday
    FOR EACH ROW EXECUTE FUNCTION refuse_settled_special_day();
"""

SETTLED_BACK = """
DROP TRIGGER settled_day_is_fixed ON clearing_specialday;
DROP FUNCTION refuse_settled_special_day();
DROP TRIGGER settled_day_is_fixed ON clearing_calendarday;
DROP FUNCTION refuse_settled_calendar_day();
DROP FUNCTION clearing_settled_until(text);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0011_rails"),
    ]

    operations = [
        migrations.AddField(
            model_name="regionschedule",
            name="calendars",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=16),
                blank=True,
                default=list,
                help_text="holiday calendars, comma separated: ECB (TARGET), XFED, XNYS, XLON, a country such as DE, a part of one such as DE-BY. A day closed in any of them is closed",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="half_day_closes_at",
            field=models.TimeField(
                blank=True, help_text="last cutoff of a half-day; empty: as on any other day", null=True
            ),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="half_day_opening_times",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TimeField(),
                blank=True,
                default=list,
                help_text="of a half-day; empty: the ordinary ones before its last cutoff",
                size=None,
            ),
        ),
        migrations.CreateModel(
            name="CalendarYear",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("calendar", models.CharField(max_length=16)),
                ("year", models.PositiveSmallIntegerField()),
                ("library_version", models.CharField(max_length=32)),
                ("stored_at", models.DateTimeField()),
                (
                    "accepted_at",
                    models.DateTimeField(help_text="when its days were last replaced", null=True),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="years",
                        to="clearing.regionschedule",
                    ),
                ),
            ],
            options={
                "verbose_name": "year of a holiday calendar",
                "verbose_name_plural": "years of holiday calendars",
                "ordering": ["schedule", "calendar", "year"],
            },
        ),
        migrations.CreateModel(
            name="CalendarDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("date", models.DateField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("closed", "Closed"), ("half", "Half"), ("open", "Open")], max_length=8
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "calendar_year",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="days",
                        to="clearing.calendaryear",
                    ),
                ),
            ],
            options={
                "ordering": ["date"],
            },
        ),
        migrations.CreateModel(
            name="SpecialDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("date", models.DateField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("closed", "Closed"), ("half", "Half"), ("open", "Open")], max_length=8
                    ),
                ),
                (
                    "opening_times",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TimeField(),
                        blank=True,
                        default=list,
                        help_text="empty: the schedule's",
                        size=None,
                    ),
                ),
                (
                    "closes_at",
                    models.TimeField(blank=True, help_text="last cutoff; empty: the schedule's", null=True),
                ),
                ("note", models.CharField(help_text="why", max_length=200)),
                (
                    "is_withdrawn",
                    models.BooleanField(
                        default=False, help_text="as if it had never been entered", verbose_name="withdrawn"
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="special_days",
                        to="clearing.regionschedule",
                    ),
                ),
            ],
            options={
                "ordering": ["date"],
            },
        ),
        migrations.AddConstraint(
            model_name="calendaryear",
            constraint=models.UniqueConstraint(
                fields=("schedule", "calendar", "year"), name="one_calendar_year"
            ),
        ),
        migrations.AddConstraint(
            model_name="calendarday",
            constraint=models.UniqueConstraint(fields=("calendar_year", "date"), name="one_calendar_day"),
        ),
        migrations.AddConstraint(
            model_name="calendarday",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["closed", "half"])), name="calendar_day_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="calendarday",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="calendar_day_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="specialday",
            constraint=models.UniqueConstraint(fields=("schedule", "date"), name="one_special_day"),
        ),
        migrations.AddConstraint(
            model_name="specialday",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["closed", "half", "open"])), name="special_day_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="specialday",
            constraint=models.CheckConstraint(
                condition=models.Q(("note", ""), _negated=True), name="special_day_has_note"
            ),
        ),
        migrations.AddConstraint(
            model_name="specialday",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "closed"), _negated=True),
                    models.Q(("closes_at__isnull", True), ("opening_times__len", 0)),
                    _connector="OR",
                ),
                name="closed_day_has_no_times",
            ),
        ),
        migrations.RunSQL(SETTLED, SETTLED_BACK),
    ]
