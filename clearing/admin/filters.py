"""Filters that keep a page of a large table within one window."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from clearing.models import ClearingWindow, NettingResult, Obligation

if TYPE_CHECKING:  # Unfold ships no types
    Dropdown = admin.SimpleListFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter as Dropdown

LISTED_MAX = 50


class OfWindow(Dropdown):
    """
    One window at a time; without a choice, the latest that has rows.

    The whole table is never asked for: at a million rows a window that would take seconds.
    """

    title = "window"
    parameter_name = "window"
    all_option = None
    path = "window_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List the latest windows, and the chosen one if it is older."""
        rows = ClearingWindow.objects.order_by("-pk").values_list("pk", "region", "status")[:LISTED_MAX]
        listed = [(str(pk), f"{region} {pk} · {status}") for pk, region, status in rows]
        chosen = self.value()
        if chosen and chosen not in dict(listed):
            listed.append((chosen, f"window {chosen}"))
        return listed

    @property
    def shown(self) -> ClearingWindow | None:
        """The window that the list is about."""
        chosen = self.value()
        return ClearingWindow.objects.filter(pk=int(chosen)).first() if chosen else None

    def has_output(self) -> bool:
        """Shown even while there is only one window."""
        return True

    def value(self) -> str | None:
        """Return the chosen window, else the latest with rows."""
        chosen = super().value()
        if chosen and chosen.isdecimal():
            return chosen
        if not hasattr(self, "_latest"):
            latest = self.latest_id()
            self._latest = None if latest is None else str(latest)
        return self._latest

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the window's rows."""
        chosen = self.value()
        return queryset.filter(**{self.path: int(chosen)}) if chosen else queryset.none()

    def latest_id(self) -> int | None:
        """Find the latest window with rows."""
        raise NotImplementedError


class ObligationsOfWindow(OfWindow):
    """Obligations of one window: one partition."""

    def latest_id(self) -> int | None:
        """Read the end of each partition's key."""
        return Obligation.objects.order_by("-window_id").values_list("window_id", flat=True).first()


class RunOfWindow(OfWindow):
    """What clearing one window computed."""

    path = "operation__window_id"

    def latest_id(self) -> int | None:
        """Find the latest window with a result."""
        done = NettingResult.objects.order_by("-operation__window_id")
        return done.values_list("operation__window_id", flat=True).first()
