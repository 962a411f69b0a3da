"""Who may do what in the admin: each act with the permission it takes, and no act outside the matrix."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import RequestFactory

pytestmark = pytest.mark.django_db

# table and act -> the permission without which it is neither offered nor done
MATRIX = {
    ("clearing.ClearingWindow", "force_close"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "emergency"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "process"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "release"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "roll_back"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "give_up"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "correct"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "retry_failed"): "clearing.change_clearingwindow",
    ("clearing.ClearingWindow", "settle_by_hand"): "clearing.change_clearingwindow",
    ("clearing.Obligation", "cancel"): "clearing.change_obligation",
    ("clearing.Obligation", "hold"): "clearing.change_obligation",
    ("clearing.SetAside", "cancel"): "clearing.change_obligation",
    ("clearing.SetAside", "hold"): "clearing.change_obligation",
    ("clearing.SetAside", "release"): "clearing.change_obligation",
    ("settlement.Execution", "declare_completed"): "settlement.declare_execution",
    ("settlement.Execution", "declare_failed"): "settlement.declare_execution",
    ("settlement.Participant", "suspend"): "settlement.change_participant",
    ("settlement.Participant", "reinstate"): "settlement.change_participant",
    ("clearing.ApiToken", "revoke"): "clearing.change_apitoken",
    ("clearing.CalendarYear", "accept"): "clearing.change_regionschedule",
    ("clearing.WebhookEndpoint", "show_secret"): "clearing.change_webhookendpoint",
    ("clearing.WebhookEndpoint", "rotate_secret"): "clearing.change_webhookendpoint",
    ("clearing.WebhookDelivery", "replay"): "clearing.change_webhookendpoint",
    ("auth.Group", "delete_selected"): "auth.delete_group",
    ("django_celery_beat.PeriodicTask", "enable_tasks"): "django_celery_beat.change_periodictask",
    ("django_celery_beat.PeriodicTask", "disable_tasks"): "django_celery_beat.change_periodictask",
    ("django_celery_beat.PeriodicTask", "toggle_tasks"): "django_celery_beat.change_periodictask",
    ("django_celery_beat.PeriodicTask", "run_tasks"): "django_celery_beat.change_periodictask",
    ("django_celery_beat.PeriodicTask", "delete_selected"): "django_celery_beat.delete_periodictask",
    ("django_celery_beat.IntervalSchedule", "delete_selected"): "django_celery_beat.delete_intervalschedule",
    ("django_celery_beat.CrontabSchedule", "delete_selected"): "django_celery_beat.delete_crontabschedule",
    ("django_celery_beat.SolarSchedule", "delete_selected"): "django_celery_beat.delete_solarschedule",
    ("django_celery_beat.ClockedSchedule", "delete_selected"): "django_celery_beat.delete_clockedschedule",
}


def every_permission() -> set[str]:
    rows = Permission.objects.select_related("content_type")
    return {f"{each.content_type.app_label}.{each.codename}" for each in rows}


def offered(user: User) -> dict[tuple[str, str], Any]:
    """Every act that every page offers to the user."""
    request = RequestFactory().get("/")
    request.user = user
    return {
        (model._meta.label, name): pages
        for model, pages in admin.site._registry.items()
        for name in pages.get_actions(request)
    }


def holder(*permissions: str) -> User:
    """A staff user with these permissions alone."""
    user = User(is_active=True, is_staff=True, username="somebody")
    user._perm_cache = user._user_perm_cache = user._group_perm_cache = set(permissions)  # type: ignore[attr-defined]
    return user


def test_every_act_is_in_the_matrix() -> None:
    superuser = User(is_active=True, is_staff=True, is_superuser=True)

    assert sorted(set(offered(superuser)) ^ set(MATRIX)) == []


def test_an_act_takes_its_permission_and_no_other() -> None:
    everything = every_permission()
    assert set(MATRIX.values()) <= everything

    for permission in set(MATRIX.values()):
        acts = {act for act, needed in MATRIX.items() if needed == permission}

        assert acts <= set(offered(holder(permission)))
        assert not acts & set(offered(holder(*(everything - {permission}))))
