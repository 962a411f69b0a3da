"""The schedules of the regions, and Beat's entries."""

from datetime import time

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

EVERY_SIX_HOURS = [time(0), time(6), time(12), time(18)]
SCHEDULES = [
    ("Global", "UTC", EVERY_SIX_HOURS, True),
    ("ADGM", "Asia/Dubai", EVERY_SIX_HOURS, True),
    ("Europe", "Europe/Brussels", [time(8), time(14), time(20)], True),
    ("Americas", "America/New_York", EVERY_SIX_HOURS, False),
    ("AsiaPacific", "Asia/Singapore", EVERY_SIX_HOURS, False),
]
BEAT = [
    ("clearing: make the windows agree with the clock", "clearing.tasks.tick", 5, "seconds"),
    ("clearing: finish what a lost message left behind", "clearing.tasks.sweep", 5, "seconds"),
    ("clearing: clean up old operations", "clearing.tasks.clean_up", 1, "days"),
]


def write(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schedule = apps.get_model("clearing", "RegionSchedule")
    for region, time_zone, opening_times, is_enabled in SCHEDULES:
        schedule.objects.get_or_create(
            region=region,
            defaults={"time_zone": time_zone, "opening_times": opening_times, "is_enabled": is_enabled},
        )
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    entry = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, task, every, period in BEAT:
        pace, _ = interval.objects.get_or_create(every=every, period=period)
        entry.objects.get_or_create(
            name=name, defaults={"task": task, "interval": pace, "expire_seconds": 60}
        )


class Migration(migrations.Migration):
    dependencies = [
        ("clearing", "0002_guards"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
