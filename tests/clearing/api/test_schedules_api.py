"""Schedules and the windows they plan, read by anyone with a token."""

from datetime import time

import pytest
from django.utils import timezone

from clearing import clockwork
from clearing.models import ClearingWindow, RegionSchedule
from clearing.states import Region
from tests.clearing.api.caller import Caller, is_problem

pytestmark = pytest.mark.django_db


def test_the_schedules_of_all_regions_are_listed(operator: Caller) -> None:
    shown = operator.get("schedules").json()["results"]

    assert [row["region"] for row in shown] == ["ADGM", "Americas", "AsiaPacific", "Europe", "Global"]
    assert shown[3] == operator.get("schedules/Europe").json()
    assert shown[3] == {
        "region": "Europe",
        "is_enabled": True,
        "time_zone": "Europe/Brussels",
        "opening_times": ["08:00:00", "14:00:00", "20:00:00"],
        "closes_at": None,
        "when_closed": "span",
        "weekdays": [1, 2, 3, 4, 5, 6, 7],
        "calendars": [],
        "half_day_opening_times": [],
        "half_day_closes_at": None,
        "waits_until": None,
    }


def test_the_preview_begins_with_the_open_window(operator: Caller) -> None:
    clockwork.keep(Region.EUROPE, at=timezone.now())
    opened = ClearingWindow.objects.get()

    shown = operator.get("schedules/Europe/preview", count=5).json()

    first, second = shown["windows"][:2]
    assert len(shown["windows"]) == 5
    assert (first["is_open"], second["is_open"]) == (True, False)
    assert first["opens_at"] == operator.get(f"windows/{opened.pk}").json()["opens_at"]
    assert first["cutoff_at"] == second["opens_at"]
    assert (
        time.fromisoformat(second["opens_local"][11:19])
        in RegionSchedule.objects.get(pk="Europe").opening_times
    )


def test_what_cannot_be_previewed_is_refused(operator: Caller) -> None:
    is_problem(operator.get("schedules/Atlantis"), 422, "unknown_region")
    is_problem(operator.get("schedules/Europe/preview", count=0), 422, "parameter_invalid")
    is_problem(operator.get("schedules/Europe/preview", count=401), 422, "parameter_invalid")
