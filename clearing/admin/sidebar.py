"""The admin's menu, by what an operator comes for; each entry only for those who may see it."""

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

GROUPS: list[tuple[str, list[tuple[str, str, str]]]] = [
    (
        "Clearing",
        [
            ("Windows", "clearing_clearingwindow", "schedule"),
            ("Obligations", "clearing_obligation", "receipt_long"),
            ("Obligations set aside", "clearing_setaside", "front_hand"),
            ("Acts on obligations", "clearing_obligationact", "gavel"),
            ("Held at closes", "clearing_heldtotal", "pan_tool"),
            ("Operations", "clearing_atomicoperation", "sync"),
            ("Netting results", "clearing_nettingresult", "compress"),
            ("Net positions", "clearing_multilateralposition", "balance"),
            ("Bilateral positions", "clearing_bilateralposition", "swap_horiz"),
            ("Events", "clearing_windowevent", "campaign"),
            ("Limits in use", "clearing_limitcounter", "data_usage"),
            ("Pulls", "clearing_obligationpull", "cloud_download"),
            ("Moved on", "clearing_rollon", "redo"),
            ("Window metrics", "clearing_windowmetrics", "speed"),
        ],
    ),
    (
        "Settlement",
        [
            ("Instructions", "settlement_settlementinstruction", "send_money"),
            ("Executions outside", "settlement_execution", "outbound"),
            ("Risk verdicts", "settlement_riskverdict", "policy"),
            ("Accounts", "settlement_settlementaccount", "account_balance_wallet"),
            ("Ledger entries", "settlement_ledgerentry", "menu_book"),
            ("Postings", "settlement_posting", "post_add"),
            ("Reservations", "settlement_reservation", "lock"),
        ],
    ),
    (
        "Set-up",
        [
            ("Participants", "settlement_participant", "groups"),
            ("Currencies", "settlement_currency", "payments"),
            ("Limits", "clearing_limit", "vertical_align_top"),
            ("Limit changes", "clearing_limitchange", "history_edu"),
            ("Region schedules", "clearing_regionschedule", "calendar_month"),
            ("Holiday calendars", "clearing_calendaryear", "event_busy"),
            ("Special days", "clearing_specialday", "event_note"),
            ("Users", "auth_user", "person"),
            ("Groups", "auth_group", "badge"),
            ("API tokens", "clearing_apitoken", "key"),
            ("Webhook endpoints", "clearing_webhookendpoint", "webhook"),
            ("Webhook deliveries", "clearing_webhookdelivery", "outbox"),
        ],
    ),
    (
        "Inside the engine",
        [
            ("Checkpoints", "clearing_checkpoint", "flag"),
            ("Frozen sets", "clearing_frozenset", "ac_unit"),
            ("Gross pairs", "clearing_grosspair", "join"),
            ("Residual pairs", "clearing_residualpair", "call_split"),
            ("Dispatches", "clearing_dispatch", "outbox"),
            ("Parts of limit counters", "clearing_limitcount", "exposure"),
            ("Obligation keys", "clearing_obligationkey", "fingerprint"),
            ("Idempotency records", "clearing_idempotencyrecord", "history"),
            ("Calendar days", "clearing_calendarday", "today"),
            ("Beat: tasks", "django_celery_beat_periodictask", "timer"),
            ("Beat: intervals", "django_celery_beat_intervalschedule", "update"),
            ("Beat: crontabs", "django_celery_beat_crontabschedule", "date_range"),
            ("Beat: clocked", "django_celery_beat_clockedschedule", "alarm"),
            ("Beat: solar", "django_celery_beat_solarschedule", "wb_sunny"),
            ("Admin log", "admin_logentry", "edit_note"),
        ],
    ),
]


def navigation(_request: HttpRequest) -> list[dict[str, Any]]:
    """Build the menu."""
    doors = {
        "title": "Doors",
        "separator": True,
        "items": [
            {"title": "Operations console", "icon": "monitoring", "link": "/", "active": False},
            {"title": "API documentation", "icon": "api", "link": "/api/docs"},
        ],
    }
    groups = [
        {
            "title": title,
            "separator": True,
            "collapsible": title == GROUPS[-1][0],
            "items": [
                {
                    "title": name,
                    "icon": icon,
                    "link": reverse(f"admin:{table}_changelist"),
                    "permission": partial(_may_view, table=table),
                }
                for name, table, icon in entries
            ],
        }
        for title, entries in GROUPS
    ]
    return [doors, *groups]


def stylesheet(_request: HttpRequest) -> str:
    """Return the address of our own additions to Unfold's style."""
    return static("clearing/admin.css")


def icon(_request: HttpRequest) -> str:
    """Return the address of the icon that browsers show beside the title."""
    return static("clearing/icon.svg")


def _may_view(request: HttpRequest, *, table: str) -> bool:
    app, _, model = table.rpartition("_")
    return any(request.user.has_perm(f"{app}.{may}_{model}") for may in ("view", "change"))
