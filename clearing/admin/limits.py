"""Limits of participants: set by operators, in major units; every change stays on record."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from clearing import counters
from clearing.models import Limit, LimitChange, LimitCount, LimitCounter
from clearing.obligations import set_limits
from netting import money
from netting.errors import NettingError
from settlement.admin.base import (
    Admin,
    LargeAdmin,
    RowForm,
    amount,
    amount_column,
    link_column,
    moment_column,
)
from settlement.states import ParticipantKind


class LimitForm(RowForm):
    """The limit in major units."""

    limit = forms.CharField(
        widget=UnfoldAdminTextInputWidget,
        help_text="The most it may owe net in a window, in major units. 0: nothing more than it is owed.",
    )

    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            row = self.instance
            self.initial["limit"] = money.format_minor(row.amount_minor, row.currency.code)
            self.initial["shown"] = _standing(row)
        for name in ("participant", "counterparty"):
            if name in self.fields:
                field: Any = self.fields[name]
                field.queryset = field.queryset.filter(kind=ParticipantKind.MEMBER)

    def clean(self) -> dict[str, Any]:
        """Read the amount as exactly as intake does, for a limit that nobody has set since it was shown."""
        cleaned: dict[str, Any] = super().clean() or {}
        participant = self.instance.participant if self.instance.pk else cleaned.get("participant")
        held = set_limits.hold(participant.pk) if participant is not None else []
        if any(row.pk == self.instance.pk and self._is_stale(row) for row in held):
            self.add_error(None, "Somebody has set this limit since it was shown: look at it again.")
        currency = self.instance.currency if self.instance.pk else cleaned.get("currency")
        if currency is not None and "limit" in cleaned:
            try:
                self.instance.amount_minor = money.parse_minor(
                    cleaned["limit"].strip(), currency.code, zero_ok=True
                )
            except NettingError as fault:
                self.add_error("limit", forms.ValidationError(str(fault), code=fault.code))
        return cleaned

    def _is_stale(self, row: Limit) -> bool:
        shown: str = self.cleaned_data.get("shown") or self.initial["shown"]
        return _standing(row) != shown


@admin.register(Limit)
class LimitAdmin(Admin):
    """Net debit caps and bilateral limits. One that holds no more is made inactive."""

    form = LimitForm
    list_display = ("participant", "counterparty", "amount", "is_active")
    list_filter = ("is_active", "currency")
    list_select_related = ("participant", "counterparty", "currency")
    search_fields = ("participant__code", "counterparty__code")
    amount = amount_column("amount_minor", "limit")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Whose limit it is never changes."""
        return ("participant", "counterparty", "currency", "amount") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Who may not set it sees it as it stands."""
        entered: tuple[str, ...] = ("limit", "is_active", "shown")
        if obj is not None and not self.has_change_permission(request, obj):
            entered = ("amount", "is_active")
        return ("participant", "counterparty", "currency", *entered)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: it stays as a record."""
        return False


def _standing(row: Limit) -> str:
    return f"{row.amount_minor} {row.is_active}"


@admin.register(LimitChange)
class LimitChangeAdmin(LargeAdmin):
    """What limits were set to, the latest first; who did it is in the limit's own history."""

    list_display = ("id", "limit", "amount", "is_active", "changed")
    list_select_related = ("limit__participant", "limit__counterparty", "limit__currency")
    fields = ("limit", "amount", "is_active", "changed")
    ordering = ("-id",)
    amount = amount_column("amount_minor", currency="limit.currency.code")
    changed = moment_column("changed_at")


@admin.register(LimitCounter)
class LimitCounterAdmin(LargeAdmin):
    """What counts towards each limit in the windows that accept, as it is counted along."""

    list_display = ("id", "window_link", "limit", "owed_net", "most")
    list_select_related = ("window", "limit__participant", "limit__counterparty", "limit__currency")
    fields = ("window_link", "limit", "owed_net", "most")
    ordering = ("-id",)
    window_link = link_column("window")
    most = amount_column("limit.amount_minor", "at most", currency="limit.currency.code")

    @admin.display(description="owed net")
    def owed_net(self, row: LimitCounter) -> str:
        """Add the counter's rows up: what is owed (+) or owing (-) in the window so far."""
        return amount(counters.owed(row.window_id, [row.limit_id])[row.limit_id], row.limit.currency.code)


@admin.register(LimitCount)
class LimitCountAdmin(LargeAdmin):
    """The parts of counters: what came with one statement, or many of them folded."""

    list_display = ("id", "window_link", "limit", "amount")
    list_select_related = ("window", "limit__participant", "limit__counterparty", "limit__currency")
    fields = ("window_link", "limit", "amount")
    ordering = ("-id",)
    window_link = link_column("window")
    amount = amount_column("amount_minor", currency="limit.currency.code")
