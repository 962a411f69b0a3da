"""Windows as an operator sees and steers them, their events and their measures."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import action

from clearing import queries
from clearing.admin import detail, opening, steering
from clearing.engine import pulls
from clearing.models import ClearingWindow, WindowEvent, WindowMetrics
from settlement.admin.base import (
    ChangeList,
    LargeAdmin,
    ReadOnlyAdmin,
    link_column,
    moment_column,
    percent,
    percent_column,
    status_column,
)

COUNTED_MAX = 100_000


class WindowList(ChangeList):
    """A list that counts the obligations of the windows it shows in one query."""

    def get_results(self, request: HttpRequest) -> None:
        """Count where no run has counted yet; never more rows a window than are worth telling apart."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        for row in rows:
            row.metrics_or_none = getattr(row, "metrics", None)
        counts = queries.bounded_counts(
            [row.pk for row in rows if row.metrics_or_none is None], counted_max=COUNTED_MAX
        )
        for row in rows:
            row.counted = counts.get(row.pk)
        self.result_list = rows


@admin.register(ClearingWindow)
class ClearingWindowAdmin(ReadOnlyAdmin):
    """Windows: read-only rows; what an operator may do to them asks for a reason."""

    list_display = (
        "__str__",
        "state",
        "opens",
        "cutoff",
        "closed",
        "obligations",
        "efficiency",
        "netting_mode",
    )
    list_filter = ("region", "status", "emergency_mode")
    list_select_related = ("metrics",)
    search_fields = ("=id",)
    search_help_text = "A window's number"
    actions = tuple(verb.name for verb in steering.VERBS)
    actions_list = ("open_window",)
    change_form_template = "clearing/window.html"
    fields = (
        "region",
        "state",
        ("opens", "cutoff"),
        ("closing", "closed"),
        "obligation_engine",
        ("processing", "processed"),
        ("netting_mode", "weights", "transfers"),
        ("max_obligations", "created"),
        ("grace_seconds", "least_efficiency"),
        ("auto_settle", "emergency_mode"),
    )
    state, opens, cutoff = status_column(), moment_column("opens_at"), moment_column("cutoff_at")
    closing, closed = moment_column("closing_at"), moment_column("closed_at")
    created = moment_column("created_at")
    processing, processed = moment_column("processing_at"), moment_column("processed_at")
    least_efficiency = percent_column("min_netting_efficiency_bps", "least netting efficiency")

    @admin.display(description="obligation engine")
    def obligation_engine(self, window: ClearingWindow) -> str:
        """What the window's close waits for, or went on without."""
        found = pulls.of(window.pk)
        if found is None:
            return "not asked"
        text = f"{found.status}, {found.taken:,} taken"
        if found.attempts:
            text += f", {found.attempts} attempts in a row failed: {found.error_code}"
        url = reverse("admin:clearing_obligationpull_change", args=[found.pk])
        return format_html('<a class="row-link" href="{}">{}</a>', url, text)

    @admin.display(description="obligations")
    def obligations(self, window: Any) -> str:
        """How many; exact up to a bound that keeps the list quick."""
        if window.metrics_or_none is not None:
            text = f"{window.metrics_or_none.obligations_count:,}"
        else:
            counted = window.counted or 0
            text = f"{counted:,}" if counted <= COUNTED_MAX else f"over {COUNTED_MAX:,}"
        url = reverse("admin:clearing_obligation_changelist")
        return format_html('<a class="row-link amount" href="{}?window={}">{}</a>', url, window.pk, text)

    @admin.display(description="efficiency")
    def efficiency(self, window: Any) -> str:
        """What netting saved, once the window is complete."""
        metrics = window.metrics_or_none
        return percent(metrics.efficiency_bps if metrics else None)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Count for the page at once."""
        return WindowList

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Whoever may *change* windows may steer them; their rows stay the engine's."""
        return request.user.has_perm(steering.PERMISSION)

    @action(description="Open a window …", url_path="open", permissions=["steer"])  # type: ignore[untyped-decorator]
    def open_window(self, request: HttpRequest) -> HttpResponse:
        """Open a window in a region that has none."""
        return opening.respond(self, request)

    @admin.action(description="Force close …", permissions=["steer"])
    def force_close(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Close the chosen windows now."""
        return self._steer_chosen(request, queryset, steering.FORCE_CLOSE)

    @admin.action(description="Clear as an emergency …", permissions=["steer"])
    def emergency(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Close and clear the chosen windows now."""
        return self._steer_chosen(request, queryset, steering.EMERGENCY)

    @admin.action(description="Process …", permissions=["steer"])
    def process(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Clear the chosen windows now."""
        return self._steer_chosen(request, queryset, steering.PROCESS)

    @admin.action(description="Roll back …", permissions=["steer"])
    def roll_back(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Undo the live clearing runs of the chosen windows."""
        return self._steer_chosen(request, queryset, steering.ROLL_BACK)

    @admin.action(description="Release …", permissions=["steer"])
    def release(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Settle the held runs of the chosen windows."""
        return self._steer_chosen(request, queryset, steering.RELEASE)

    @admin.action(description="Give up …", permissions=["steer"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Fail the chosen rolled-back windows and move their obligations on."""
        return self._steer_chosen(request, queryset, steering.GIVE_UP)

    @admin.action(description="Correct …", permissions=["steer"])
    def correct(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Send back what the chosen windows settled."""
        return self._steer_chosen(request, queryset, steering.CORRECT)

    @admin.action(description="Retry failed instructions …", permissions=["steer"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Have what the settlement engine failed of the chosen windows tried again."""
        return self._steer_chosen(request, queryset, steering.RETRY_FAILED)

    @admin.action(description="Settle failed by hand …", permissions=["steer"])
    def settle_by_hand(self, request: HttpRequest, queryset: QuerySet[ClearingWindow]) -> HttpResponse:
        """Post what the settlement engine failed of the chosen windows and was paid another way."""
        return self._steer_chosen(request, queryset, steering.SETTLE_BY_HAND)

    def get_urls(self) -> list[URLPattern]:
        """Give each verb an address below the window's page."""
        verbs = [
            path(
                f"<int:window_id>/{verb.slug}/",
                self.admin_site.admin_view(partial(self.steer_view, verb=verb)),
                name=f"clearing_clearingwindow_{verb.name}",
            )
            for verb in steering.VERBS
        ]
        return [*verbs, *super().get_urls()]

    def steer_view(self, request: HttpRequest, window_id: int, *, verb: steering.Verb) -> HttpResponse:
        """Steer one window from its own page."""
        window = self.get_queryset(request).filter(pk=window_id).first()
        if window is None:
            raise Http404
        back = reverse("admin:clearing_clearingwindow_change", args=[window_id])
        return steering.respond(self, request, [window], verb, back=back)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what became of the window, and the verbs that fit its state."""
        window = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if window is not None and self.has_view_permission(request, window):
            context |= detail.of(window)
            if self.has_steer_permission(request):
                context["verbs"] = [
                    (verb, reverse(f"admin:clearing_clearingwindow_{verb.name}", args=[window.pk]))
                    for verb in steering.VERBS
                    if window.status in verb.states and _fits(verb, window, is_held=context["is_held"])
                ]
        return super().change_view(request, object_id, form_url, context)

    def _steer_chosen(
        self, request: HttpRequest, queryset: QuerySet[ClearingWindow], verb: steering.Verb
    ) -> HttpResponse:
        chosen = list(queryset.order_by("pk")[: steering.WINDOWS_MAX + 1])
        return steering.respond(self, request, chosen, verb, back=request.get_full_path())


def _fits(verb: steering.Verb, window: ClearingWindow, *, is_held: bool) -> bool:
    """Tell whether there is something for the verb to act on."""
    if verb is steering.RELEASE:
        return is_held
    if verb in (steering.RETRY_FAILED, steering.SETTLE_BY_HAND):
        return queries.failed(window).exists()
    return True


@admin.register(WindowEvent)
class WindowEventAdmin(LargeAdmin):
    """Events as they are told to the outside, the latest first."""

    list_display = ("id", "window_link", "sequence", "event_type", "occurred", "published")
    list_filter = ("event_type", ("published_at", admin.EmptyFieldListFilter))
    list_select_related = ("window",)
    fields = ("event_id", "window_link", "sequence", "event_type", "occurred", "published", "data")
    ordering = ("-id",)
    window_link, occurred = link_column("window"), moment_column("occurred_at")
    published = moment_column("published_at")


@admin.register(WindowMetrics)
class WindowMetricsAdmin(ReadOnlyAdmin):
    """What clearing each window took and gave."""

    list_display = (
        "window_id",
        "window_link",
        "obligations_count",
        "currencies_count",
        "instructions_count",
        "efficiency",
        "close_ms",
        "processing_ms",
    )
    list_select_related = ("window",)
    fields = (
        "window_link",
        "obligations_count",
        "currencies_count",
        "positions_count",
        "instructions_count",
        "efficiency",
        "close_ms",
        "processing_ms",
    )
    ordering = ("-window_id",)
    window_link, efficiency = link_column("window"), percent_column("efficiency_bps")
