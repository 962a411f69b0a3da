"""Obligations and their keys: read-only, one window at a time, quick at millions of rows."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from clearing.admin.acts import ActingAdmin
from clearing.admin.filters import ObligationsOfWindow
from clearing.models import HeldTotal, Obligation, ObligationAct, ObligationKey, RollOn, SetAside
from settlement.admin.base import (
    ChangeList,
    LargeAdmin,
    ReadOnlyAdmin,
    amount_column,
    link_column,
    moment_column,
    status_column,
)


class ObligationList(ChangeList):
    """A list whose links name the window, too: the id alone would be looked for in every partition."""

    def url_for_result(self, result: Any) -> str:
        """Address the row as WINDOW-ID."""
        return reverse("admin:clearing_obligation_change", args=[f"{result.window_id}-{result.pk}"])


@admin.register(Obligation)
class ObligationAdmin(ActingAdmin, LargeAdmin):
    """Obligations of one window, the latest first. The search takes a whole reference or a public id."""

    list_display = ("id", "reference", "payer", "payee", "amount", "due_date", "submitter", "submitted")
    list_filter = (ObligationsOfWindow, "currency")
    list_before_template = "clearing/of_window.html"
    list_select_related = ("payer", "payee", "currency")
    fields = (
        "key",
        "window_link",
        "reference",
        "payer",
        "payee",
        "amount",
        "priority",
        "due_date",
        "link",
        "submitter",
        "submitted",
    )
    actions = ("cancel", "hold")
    ordering = ("-id",)
    search_fields = ("reference",)
    search_help_text = "A whole reference within the window, or an obligation's public id in any window"
    amount, submitted = amount_column("amount_minor"), moment_column("submitted_at")
    window_link = link_column("window")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Link by window and id."""
        return ObligationList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Compare whole values: a part of a reference would be looked for in every row."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            key = UUID(term)
        except ValueError:
            return queryset.filter(reference=term), False
        place = ObligationKey.objects.filter(pk=key).first()
        if place is None:
            return queryset.none(), False
        rows = Obligation.objects.select_related(*self.list_select_related)
        return rows.filter(window_id=place.window_id, pk=place.obligation_id), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Find WINDOW-ID, or an id alone."""
        window_id, _, obligation_id = object_id.rpartition("-")
        if not obligation_id.isdecimal() or (window_id and not window_id.isdecimal()):
            return None
        rows = Obligation.objects.select_related("window", *self.list_select_related)
        if window_id:
            rows = rows.filter(window_id=int(window_id))
        return rows.filter(pk=int(obligation_id)).first()


@admin.register(SetAside)
class SetAsideAdmin(ActingAdmin, LargeAdmin):
    """Obligations in no window, the latest first. The search takes a whole reference or a public id."""

    list_display = ("id", "state", "reference", "payer", "payee", "amount", "due_date", "reason", "since")
    list_filter = ("status", "region", "currency")
    list_select_related = ("payer", "payee", "currency")
    fields = (
        "key",
        "state",
        "reason",
        "by",
        ("since", "expected"),
        "region",
        "origin_window_id",
        "reference",
        "payer",
        "payee",
        "amount",
        "priority",
        "due_date",
        "not_before",
        "link",
        "submitter",
        "submitted",
    )
    actions = ("cancel", "hold", "release")
    ordering = ("-id",)
    search_fields = ("reference",)
    search_help_text = "A whole reference or a public id"
    state, amount, since = status_column(), amount_column("amount_minor"), moment_column("aside_at")
    expected, submitted = moment_column("expected_at"), moment_column("submitted_at")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Compare whole values."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(key=UUID(term)), False
        except ValueError:
            return queryset.filter(reference=term), False


class ByPublicId(LargeAdmin):
    """Pages of a large table that is searched by an obligation's public id, through its index."""

    search_fields = ("=key",)
    search_help_text = "A whole public id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Compare the whole id; nothing is found by what is none."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(key=UUID(term)), False
        except ValueError:
            return queryset.none(), False


@admin.register(ObligationKey)
class ObligationKeyAdmin(ByPublicId):
    """Where the obligation of a public id is. The search takes a whole id."""

    list_display = ("key", "window_id", "obligation_id")
    ordering = ("key",)


@admin.register(RollOn)
class RollOnAdmin(ReadOnlyAdmin):
    """Which window's obligations moved on to which, and why."""

    list_display = ("id", "kind", "source_link", "target_link", "obligations_count", "rolled", "reason")
    list_filter = ("kind",)
    list_select_related = ("source", "target")
    fields = ("kind", "source_link", "target_link", "obligations_count", "rolled", "reason")
    source_link, target_link = link_column("source", "moved on from"), link_column("target", "moved on to")
    rolled = moment_column("rolled_at")


@admin.register(ObligationAct)
class ObligationActAdmin(ByPublicId):
    """Who cancelled, held or released which obligation, the latest first. The search takes a public id."""

    list_display = ("id", "act", "key", "by", "reason", "done")
    list_filter = ("act",)
    fields = ("act", "key", "by", "party", "reason", "window_id", "done")
    ordering = ("-id",)
    done = moment_column("at")


@admin.register(HeldTotal)
class HeldTotalAdmin(ReadOnlyAdmin):
    """What was held back at each window's close."""

    list_display = ("id", "window_link", "obligations_count", "gross")
    list_select_related = ("window", "currency")
    fields = ("window_link", "obligations_count", "gross")
    ordering = ("-id",)
    window_link, gross = link_column("window"), amount_column("gross_minor")
