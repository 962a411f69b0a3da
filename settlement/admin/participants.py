"""Participants, currencies and accounts: what an operator may enter and change."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminTextInputWidget

from clearing_project.errors import ClearingError
from netting import money
from netting.errors import NettingError
from settlement import participants
from settlement.admin.base import Admin, RowForm, amount, amount_column, moment_column, status_column
from settlement.models import Currency, LedgerEntry, Participant, SettlementAccount
from settlement.states import ParticipantKind

CODE_SHAPE = r"^[A-Z0-9][A-Z0-9_-]{1,15}$"


class CurrencyForm(RowForm):
    """A new currency must be one that the engine can count in."""

    def clean_code(self) -> str:
        """Refuse a code that is not in ISO 4217, or has no minor unit."""
        code: str = self.cleaned_data["code"].upper()
        try:
            self.instance.exponent = money.exponent(code)
        except NettingError as unknown:
            raise forms.ValidationError(str(unknown), code=unknown.code) from unknown
        return code


class ParticipantForm(RowForm):
    """Codes and countries as they are written everywhere else."""

    code = forms.RegexField(
        CODE_SHAPE,
        widget=UnfoldAdminTextInputWidget,
        help_text="BIC or another short code: 2 to 16 capitals, digits, - and _. Never changed again.",
    )
    country = forms.RegexField(
        r"^[A-Z]{2}$",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="ISO 3166: two capitals.",
    )


class AccountForm(RowForm):
    """The floor in major units: an operator thinks in 1000.00, not in 100000."""

    floor = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Lowest balance allowed, in major units; below zero is a credit line. Empty: no floor.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account = self.instance
        if account.pk and account.floor_minor is not None:
            self.initial["floor"] = money.format_minor(account.floor_minor, account.currency.code)
        elif not account.pk:
            self.initial["floor"] = "0"

    def clean(self) -> dict[str, Any]:
        """Read the floor and hold it against the account as it is now, locked until the save."""
        cleaned: dict[str, Any] = super().clean() or {}
        currency = self.instance.currency if self.instance.pk else cleaned.get("currency")
        if currency is None or "floor" not in cleaned:
            return cleaned
        floor_minor = self._floor_minor(cleaned["floor"].strip(), currency.code)
        held = SettlementAccount.objects.select_for_update().filter(pk=self.instance.pk).first()
        free_minor = held.balance_minor - held.reserved_minor if held else 0
        if floor_minor is not None and free_minor < floor_minor:
            free = money.format_minor(free_minor, currency.code)
            self.add_error("floor", f"The account holds {free} {currency.code} that is not reserved.")
        self.instance.floor_minor = floor_minor
        return cleaned

    def _floor_minor(self, text: str, currency: str) -> int | None:
        if not text:
            return None
        sign = -1 if text.startswith("-") else 1
        try:
            return sign * money.parse_minor(text.removeprefix("-"), currency, zero_ok=True)
        except NettingError as fault:
            self.add_error("floor", forms.ValidationError(str(fault), code=fault.code))
            return None


class NeverDeleted(Admin):
    """Rows that history points to: changed within limits, never deleted; only what was entered is written."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the fields that were changed and no other: the engine may have moved the rest meanwhile."""
        if change:
            obj.save(update_fields=[self.columns.get(name, name) for name in form.changed_data])
        else:
            obj.save()

    columns: dict[str, str] = {}  # form field: model field, where they differ


@admin.register(Currency)
class CurrencyAdmin(NeverDeleted):
    """Currencies: enabled or not; a new one is checked against ISO 4217."""

    form = CurrencyForm
    list_display = ("code", "id", "exponent", "is_enabled")
    list_filter = ("is_enabled",)
    search_fields = ("code",)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """The exponent is never typed in: it follows from the code."""
        return ("code", "id", "exponent", "is_enabled") if obj else ("code", "id", "is_enabled")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Once made, a currency is only enabled or disabled."""
        return ("code", "id", "exponent") if obj else ()

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Without the code in the form there is nothing to check."""
        return super().get_form(request, obj, change, **({"form": RowForm} if obj else {}), **kwargs)


@admin.register(Participant)
class ParticipantAdmin(NeverDeleted):
    """Participants: registered and renamed here; suspended and reinstated by actions."""

    form = ParticipantForm
    list_display = ("code", "name", "country", "kind", "state", "created")
    list_filter = ("status", "kind")
    search_fields = ("code", "name")
    list_per_page = 50
    actions = ("suspend", "reinstate")
    state, created = status_column(), moment_column("created_at")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """What has no meaning before the participant exists is left out of the new page."""
        entered = ("code", "name", "country")
        return (*entered, "kind", "state", "created") if obj else entered

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """The code is fixed once made."""
        return ("code", "kind", "state", "created") if obj else ()

    @admin.action(description="Suspend: accept no more obligations", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        """Stop accepting obligations of or to the participants."""
        self._move(request, queryset, participants.suspend, "Suspended")

    @admin.action(description="Reinstate: accept obligations again", permissions=["change"])
    def reinstate(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        """Accept the participants' obligations again."""
        self._move(request, queryset, participants.reinstate, "Reinstated")

    def _move(self, request: HttpRequest, queryset: QuerySet[Participant], verb: Any, done: str) -> None:
        for participant in queryset:
            if participant.kind != ParticipantKind.MEMBER:
                self.message_user(request, f"{participant} is no member: left as it is.", messages.ERROR)
                continue
            try:
                verb(participant)
            except ClearingError as refused:
                self.message_user(request, f"{refused} ({refused.public_code})", messages.ERROR)
            else:
                self.log_change(request, participant, f"{done}.")
                self.message_user(request, f"{participant}: {done.lower()}.", messages.SUCCESS)


@admin.register(SettlementAccount)
class SettlementAccountAdmin(NeverDeleted):
    """Accounts: opened here, and given a floor; balances follow the ledger alone."""

    form = AccountForm
    columns = {"floor": "floor_minor"}
    list_display = ("__str__", "participant_name", "balance", "reserved", "available", "lowest")
    list_filter = ("currency", "participant__kind")
    list_select_related = ("participant", "currency")
    search_fields = ("participant__code", "participant__name", "currency__code")
    list_per_page = 50
    list_before_template = "settlement/account_totals.html"
    balance, reserved = amount_column("balance_minor"), amount_column("reserved_minor")
    lowest, created = amount_column("floor_minor", "floor"), moment_column("created_at")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """A new account has no money to show."""
        if obj is None:
            return ("participant", "currency", "floor")
        floor = "floor" if self.has_change_permission(request, obj) else "lowest"
        return ("participant", "currency", "balance", "reserved", "available", "ledger", floor, "created")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """The floor alone is an operator's."""
        return tuple(name for name in self.get_fields(request, obj) if obj and name != "floor")

    @admin.display(description="name")
    def participant_name(self, account: SettlementAccount) -> str:
        """Whose it is."""
        return account.participant.name

    @admin.display(description="available")
    def available(self, account: SettlementAccount) -> str:
        """What may still be reserved above the floor."""
        free = None
        if account.floor_minor is not None:
            free = account.balance_minor - account.reserved_minor - account.floor_minor
        return amount(free, account.currency.code)

    @admin.display(description="sum of its ledger entries")
    def ledger(self, account: SettlementAccount) -> str:
        """Add the entries up again: equals the balance, or something is very wrong."""
        total = LedgerEntry.objects.filter(account=account).aggregate(total=Sum("amount_minor"))["total"]
        return amount(total or 0, account.currency.code)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the totals per currency above the list: over all accounts they are zero."""
        return super().changelist_view(request, {**(extra_context or {}), "totals": account_totals()})


def account_totals() -> list[dict[str, str]]:
    """Add the balances up per currency: members, agent, funding source, and all, which is zero."""
    parts = {
        kind.name.lower(): Sum("balance_minor", filter=Q(participant__kind=kind), default=0)
        for kind in ParticipantKind
    }
    rows: Iterable[Mapping[str, Any]] = (
        SettlementAccount.objects.values("currency__code")
        .annotate(**parts, reserved=Sum("reserved_minor"), all=Sum("balance_minor"))
        .order_by("currency__code")
    )
    sums = (*parts, "reserved", "all")
    return [
        {"currency": code, **{name: amount(int(row[name]), code) for name in sums}}
        for row in rows
        for code in [row["currency__code"]]
    ]
