"""What the admin pages share: rows that the engine owns are shown, never edited; amounts read as money."""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views import main
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.paginator import InfinitePaginator

from netting import money

if TYPE_CHECKING:  # Unfold ships no types; its classes are Django's with more attributes
    Admin = admin.ModelAdmin[Any]
    Inline = admin.TabularInline[Any, Any]
    ChangeList = main.ChangeList
    RowForm = forms.ModelForm[Any]
else:
    RowForm = forms.ModelForm
    from unfold.admin import ModelAdmin as Admin
    from unfold.admin import TabularInline as Inline
    from unfold.views import ChangeList

__all__ = [
    "Admin",
    "ChangeList",
    "Column",
    "Inline",
    "LargeAdmin",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "RowForm",
    "amount",
    "amount_column",
    "badge",
    "link",
    "link_column",
    "moment",
    "moment_column",
    "percent",
    "percent_column",
    "status_column",
]

Column = Callable[[Any, Any], str]

TONES = {
    "good": {"Active", "Applied", "Approved", "Committed", "Completed", "Success"},
    "live": {
        *("Open", "InProgress", "Started", "Processing", "Settling", "Published"),
        *("Sending", "Executing"),
    },
    "warn": {
        *("Cancelled", "Closing", "Held", "PartialSuccess", "RolledBack", "Suspended", "Undone"),
        "Unknown",
    },
    "bad": {"Failed", "RollbackFailed", "Rejected"},
}
TONE = {status: tone for tone, statuses in TONES.items() for status in statuses}


class ReadOnly:
    """Nobody adds, changes or deletes these rows here, superusers included: the engine writes them."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never; this also takes *delete selected* out of the actions."""
        return False


class ReadOnlyAdmin(ReadOnly, Admin):
    """Pages of a table that the engine owns."""

    list_per_page = 50


class LargeAdmin(ReadOnlyAdmin):
    """
    Pages of a table that may hold millions of rows: no COUNT, and only orders that an index gives.

    A page costs what its 50 rows cost.
    """

    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()


class ReadOnlyInline(ReadOnly, Inline):
    """Rows of a detail page that the engine owns."""

    extra = 0
    can_delete = False


def badge(status: str) -> SafeString:
    """Show a status as a coloured label."""
    return format_html('<span class="badge badge-{}">{}</span>', TONE.get(status, "plain"), status)


def amount(minor: int | None, currency: str) -> str:
    """Show minor units as a decimal with its currency, thousands apart: 1,000.00 USD."""
    if minor is None:
        return "–"
    whole, point, fraction = money.format_minor(abs(minor), currency).partition(".")
    text = f"{'-' if minor < 0 else ''}{int(whole):,}{point}{fraction}"
    return format_html('<span class="amount">{} <i>{}</i></span>', text, currency)


def percent(bps: int | None) -> str:
    """Show basis points as a percentage: 7852 is 78.52 %."""
    return "–" if bps is None else f"{bps // 100}.{bps % 100:02d} %"


def moment(at: datetime | None) -> str:
    """Show a moment in UTC to the millisecond."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def link(row: Model | None, text: object = None) -> str:
    """Link to the page of *row*."""
    if row is None:
        return "–"
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a class="row-link" href="{}">{}</a>', url, row if text is None else text)


def status_column(path: str = "status") -> Column:
    """Make a column that shows the status at *path* as a label."""
    read = attrgetter(path)

    @admin.display(description=_title(path), ordering=path.replace(".", "__"))
    def show(_admin: Any, row: Any) -> str:
        return badge(read(row))

    return show


def amount_column(path: str, description: str = "", *, currency: str = "currency.code") -> Column:
    """Make a column that shows the minor units at *path* as money of the currency at path *currency*."""
    read, read_currency = attrgetter(path), attrgetter(currency)

    @admin.display(description=description or _title(path))
    def show(_admin: Any, row: Any) -> str:
        return amount(read(row), read_currency(row))

    return show


def percent_column(path: str, description: str = "") -> Column:
    """Make a column that shows the basis points at *path* as a percentage."""
    read = attrgetter(path)

    @admin.display(description=description or _title(path))
    def show(_admin: Any, row: Any) -> str:
        return percent(read(row))

    return show


def moment_column(path: str) -> Column:
    """Make a column that shows the moment at *path* in UTC, to the second."""
    read = attrgetter(path)

    @admin.display(description=_title(path), ordering=path.replace(".", "__"))
    def show(_admin: Any, row: Any) -> str:
        at = read(row)
        return "–" if at is None else format_html('<span class="when">{}</span>', f"{at:%Y-%m-%d %H:%M:%S}")

    return show


def link_column(path: str, description: str = "") -> Column:
    """Make a column that links to the row at *path*; an empty path is the row itself."""
    read: Callable[[Any], Any] = attrgetter(path) if path else lambda row: row

    @admin.display(description=description or _title(path))
    def show(_admin: Any, row: Any) -> str:
        return link(read(row))

    return show


def _title(path: str) -> str:
    name = path.rpartition(".")[2]
    for unit in ("_minor", "_bps", "_at"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")
