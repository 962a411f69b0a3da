"""Every table has its pages, and what the engine owns nobody edits there."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse

from settlement.models import LedgerEntry

OURS = [model for app in ("settlement", "clearing") for model in apps.get_app_config(app).get_models()]
# What an operator may do to a row, beyond looking at it. Every table that is not named here: nothing.
MAY = {
    "settlement.Currency": {"add", "change"},
    "settlement.Participant": {"add", "change"},
    "settlement.SettlementAccount": {"add", "change"},
    "clearing.Limit": {"add", "change"},
    "clearing.RegionSchedule": {"change"},
    "clearing.SpecialDay": {"add", "change"},
    "clearing.ApiToken": {"add"},
    "clearing.WebhookEndpoint": {"add", "change"},
}
VERBS = ("add", "change", "delete")


def pages(model: type[Model]) -> Any:
    """The admin pages of the model."""
    assert model in admin.site._registry, f"{model._meta.label} has no admin pages"
    return admin.site._registry[model]


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_even_a_superuser_may_do_to_a_row_only_what_is_an_operators(model: type[Model]) -> None:
    request = RequestFactory().get("/")
    request.user = User(is_active=True, is_staff=True, is_superuser=True)

    allowed = {verb for verb in VERBS if getattr(pages(model), f"has_{verb}_permission")(request)}

    assert allowed == MAY.get(model._meta.label, set())
    assert "delete_selected" not in pages(model).get_actions(request)
    assert not pages(model).list_editable


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_forbidden_pages_are_refused_and_offered_nowhere(superuser: Client, model: type[Model]) -> None:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    may = MAY.get(model._meta.label, set())

    listed = superuser.get(reverse(f"{name}_changelist"))
    added = superuser.post(reverse(f"{name}_add"), {})
    deleted = superuser.post(reverse(f"{name}_delete", args=["1"]), {"post": "yes"})

    assert listed.status_code == 200
    assert added.status_code == (200 if "add" in may else 403)
    assert deleted.status_code in (302, 403)  # 302: there is no such row
    assert (reverse(f"{name}_add") in listed.content.decode()) == ("add" in may)


def test_a_posted_change_of_an_engine_row_is_refused(superuser: Client, scene: Any) -> None:
    entry = LedgerEntry.objects.order_by("pk")[0]
    addresses = {
        "settlement_ledgerentry": entry.pk,
        "clearing_clearingwindow": scene.completed.pk,
        "clearing_atomicoperation": scene.run.pk,
        "clearing_obligation": f"{scene.completed.pk}-{scene.completed.obligations.all()[0].pk}",
    }

    for name, key in addresses.items():
        changed = superuser.post(
            reverse(f"admin:{name}_change", args=[key]), {"status": "Open", "amount_minor": 1}
        )
        deleted = superuser.post(reverse(f"admin:{name}_delete", args=[key]), {"post": "yes"})
        assert (changed.status_code, deleted.status_code) == (403, 403), name

    scene.completed.refresh_from_db()
    assert scene.completed.status == "Completed"
    assert LedgerEntry.objects.get(pk=entry.pk).amount_minor == entry.amount_minor


def test_users_are_not_deleted_for_their_log_hangs_on_them(superuser: Client) -> None:
    user = User.objects.create_user("gone")

    answer = superuser.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})

    assert answer.status_code == 403
    assert User.objects.filter(pk=user.pk).exists()
