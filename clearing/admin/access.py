"""Who may come in: users, groups, API tokens; and what they did."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from clearing.access import new_token
from clearing.models import ApiToken, IdempotencyRecord
from settlement.admin.base import Admin, LargeAdmin, badge, link_column, moment_column

admin.site.unregister([User, Group])


@admin.register(User)
class OperatorAdmin(UserAdmin, Admin):  # type: ignore[type-arg]
    """Users. They are deactivated, not deleted: the log of what they did hangs on them."""

    form, add_form, change_password_form = UserChangeForm, UserCreationForm, AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_staff", "is_superuser")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False


@admin.register(Group)
class RoleAdmin(GroupAdmin, Admin):
    """Groups of permissions."""


@admin.register(ApiToken)
class ApiTokenAdmin(Admin):
    """API tokens: issued, shown once, revoked; never changed, never deleted."""

    list_display = ("user", "role", "participant", "state", "created", "revoked")
    list_filter = ("role", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "participant")
    search_fields = ("user__username", "participant__code")
    actions = ("revoke",)
    created, revoked = moment_column("created_at"), moment_column("revoked_at")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """A new token has no past."""
        entered = ("user", "role", "participant")
        return (*entered, "state", "created", "revoked") if obj else entered

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: a token with another role is another token."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: a revoked token stays as a record."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may *change* tokens may revoke them."""
        return request.user.has_perm("clearing.change_apitoken")

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Does it open doors?"""
        return badge("Active" if token.revoked_at is None else "Revoked")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Make the tokens worthless from now on."""
        for token in queryset.filter(revoked_at=None):
            if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
                self.log_change(request, token, "Revoked.")
                self.message_user(request, f"Token of {token} revoked.", messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Keep the digest; the token itself lives only until it is shown."""
        secret, obj.digest = new_token()
        obj.save()
        request.issued_token = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: Any = None
    ) -> HttpResponse:
        """Show the token, this once."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Token issued",
            "token": obj,
            "secret": request.issued_token,  # type: ignore[attr-defined]
        }
        response = TemplateResponse(request, "clearing/token_issued.html", context)
        response["Cache-Control"] = "no-store"
        return response


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(LargeAdmin):
    """Answers kept for idempotency keys."""

    list_display = ("id", "user", "key", "status_code", "created")
    list_select_related = ("user",)
    fields = ("user", "key", "fingerprint", "status_code", "body", "created")
    ordering = ("-id",)
    created = moment_column("created_at")


@admin.register(LogEntry)
class LogEntryAdmin(LargeAdmin):
    """What was done in this admin: who, what, and for windows why."""

    list_display = ("id", "done", "user", "content_type", "object_repr", "change_message")
    list_filter = ("content_type",)
    list_select_related = ("user", "content_type")
    fields = ("done", "user", "content_type", "object_id", "object_repr", "message")
    ordering = ("-id",)
    done = moment_column("action_time")
    user_link = link_column("user")

    @admin.display(description="message")
    def message(self, entry: LogEntry) -> str:
        """Read the stored message."""
        return entry.get_change_message()
