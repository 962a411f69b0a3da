"""Weekdays, last cutoffs and waiting intake of a schedule; windows of a region never overlap."""

import django.contrib.postgres.fields
import django.core.validators
from django.db import migrations, models

import clearing.models.schedules

# A window lasts until its cutoff, or until it was closed before. The range of the region stands for the region
# itself: so no extension is needed to have it in the index.
NO_OVERLAP = """
CREATE TYPE clearing_region_range AS RANGE (subtype = text);
ALTER TABLE clearing_clearingwindow ADD CONSTRAINT windows_never_overlap EXCLUDE USING gist (
    clearing_region_range(region, region, '[]') WITH =,
    tstzrange(opens_at, greatest(opens_at, least(closing_at, cutoff_at))) WITH &&);
"""

NO_OVERLAP_BACK = """
ALTER TABLE clearing_clearingwindow DROP CONSTRAINT windows_never_overlap;
DROP TYPE clearing_region_range;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0005_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="regionschedule",
            name="closes_at",
            field=models.TimeField(
                blank=True,
                help_text="last cutoff of a day, after midnight if not later than the first opening; empty: the last window lasts until the next opening",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="waits_until",
            field=models.DateTimeField(
                editable=False, help_text="intake waits for this opening; empty: a window accepts", null=True
            ),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="weekdays",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.SmallIntegerField(
                    validators=[
                        django.core.validators.MinValueValidator(1),
                        django.core.validators.MaxValueValidator(7),
                    ]
                ),
                default=clearing.models.schedules.every_weekday,
                help_text="days with openings, comma separated: 1 is Monday, 7 is Sunday",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="regionschedule",
            name="when_closed",
            field=models.CharField(
                choices=[
                    ("span", "a window lasts until the next opening: there is always one that accepts"),
                    ("wait", "intake waits for the next opening"),
                ],
                db_default="span",
                default="span",
                help_text="after the last cutoff of a day",
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="regionschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("when_closed__in", ["span", "wait"])), name="schedule_when_closed"
            ),
        ),
        migrations.AddConstraint(
            model_name="regionschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("weekdays__contained_by", [1, 2, 3, 4, 5, 6, 7]), ("weekdays__len__gt", 0)
                ),
                name="schedule_weekdays",
            ),
        ),
        migrations.AddConstraint(
            model_name="regionschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("when_closed", "span"), ("closes_at__isnull", False), _connector="OR"),
                name="schedule_waits_from_a_cutoff",
            ),
        ),
        migrations.RunSQL(NO_OVERLAP, NO_OVERLAP_BACK),
    ]
