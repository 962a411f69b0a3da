"""Webhooks: endpoints are the operator's, deliveries the engine's; the dead may be sent again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from clearing.models import WebhookDelivery, WebhookEndpoint
from clearing.webhooks import delivery, sending, signing
from settlement.admin.base import Admin, ReadOnlyAdmin, RowForm, badge, moment_column


class EndpointForm(RowForm):
    """An endpoint as it is entered."""

    def clean_url(self) -> str:
        """Refuse at once what could never be called."""
        url: str = self.cleaned_data["url"]
        try:
            sending.check(url)
        except sending.AddressRefused as refused:
            raise forms.ValidationError(str(refused)) from refused
        return url


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(Admin):
    """Endpoints: entered, stopped, given a new secret; never deleted, for deliveries hang on them."""

    form = EndpointForm
    list_display = ("name", "url", "region", "is_active", "secret_version")
    list_filter = ("is_active", "region")
    fields = ("name", "url", "region", "is_active")
    actions = ("show_secret", "rotate_secret")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: stop it instead."""
        return False

    @admin.action(description="Show the secret", permissions=["change"])
    def show_secret(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        """Tell each chosen endpoint's secret, to be entered at its receiver."""
        for endpoint in chosen:
            self.log_change(request, endpoint, "the secret was shown")
            messages.info(request, f"{endpoint}: {signing.secret(endpoint)}")

    @admin.action(description="Make a new secret; both sign for a week", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        """Replace each chosen endpoint's secret."""
        for endpoint in chosen:
            told = signing.rotate(endpoint, at=timezone.now())
            self.log_change(request, endpoint, "a new secret was made")
            messages.success(request, f"{endpoint}: {told}")


class Standing(admin.SimpleListFilter):
    """Waiting, delivered, dead."""

    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name them."""
        return [(name, name) for name in ("Waiting", "Delivered", "Dead")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Choose."""
        chosen: dict[str, dict[str, Any]] = {
            "Waiting": {"delivered_at": None, "dead_at": None},
            "Delivered": {"delivered_at__isnull": False},
            "Dead": {"dead_at__isnull": False},
        }
        return queryset.filter(**chosen.get(self.value() or "", {}))


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Deliveries; the dead ones are the dead-letter list."""

    list_display = ("event", "endpoint", "state", "attempts", "answer", "next_try", "delivered")
    list_filter = (Standing, "endpoint")
    list_select_related = ("event", "endpoint")
    actions = ("replay",)
    next_try, delivered = moment_column("next_at"), moment_column("delivered_at")

    @admin.display(description="status")
    def state(self, row: WebhookDelivery) -> str:
        """Where it stands."""
        return badge(row.status)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Who may change endpoints may send again."""
        return request.user.has_perm("clearing.change_webhookendpoint")

    @admin.action(description="Send dead ones again", permissions=["replay"])
    def replay(self, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> None:
        """Begin again with the first attempt; what is not dead is left alone."""
        many = delivery.replay(list(chosen.values_list("pk", flat=True)))
        messages.success(request, f"{many} of {len(chosen)} will be sent again.")
