"""``manage.py demo_day``: clear the sample day on a running stack, and show a rollback."""

import os
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from rich.console import Console

from clearing import obligations, operations, pipeline, windows
from clearing.management import tables, watch
from clearing.management.base import ClearingCommand, dictionaries
from clearing.management.commands.load_sample_day import SAMPLE_DAY
from clearing.models import ClearingWindow, ObligationKey
from clearing.obligations import Submission
from clearing.obligations.items import OPERATOR_SCOPE
from clearing.obligations.screen import key
from clearing.states import Region, WindowStatus
from clearing_project.stack.runtime import data_dir
from clearing_project.stack.secret import secret
from netting import money
from settlement import accounts
from settlement.models import SettlementAccount

TIMEOUT_SECONDS = 120.0
ADMIN = "demo"


class Command(ClearingCommand):
    help = (
        "Load the sample day, clear it through the real worker, then clear a second file in which one"
        " participant is short of funds, so that its window is rolled back. Exit status 0 if both ended so."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--width", type=int, default=None, help="columns of the tables")
        parser.add_argument("--login", action="store_true", help="make an admin user and print its password")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(width=options["width"] or (None if sys.stdout.isatty() else 120))
        call_command("load_sample_day", stdout=open(os.devnull, "w"))  # noqa: SIM115
        suffix = _top_up()
        completed = _clear(console, "obligations.csv", suffix)
        console.print(tables.result_table(completed))
        console.print(watch.checkpoint_table(completed))
        if confirmed := tables.confirmation_table(completed):
            console.print(confirmed)
        rolled_back = _clear(console, "obligations_short.csv", suffix)
        _tell_rollback(console, rolled_back)
        console.print(tables.ledger_table())
        _tell_where(console, completed, rolled_back)
        if options["login"]:
            console.print(f"  log in to console and admin as {_admin()}\n", highlight=False)
        expected = (WindowStatus.COMPLETED, WindowStatus.ROLLED_BACK)
        ended = (completed.window.status, rolled_back.window.status)
        if ended != expected:
            raise CommandError(f"the windows ended {ended} instead of {expected}")


def _clear(console: Console, name: str, suffix: str) -> watch.Sight:
    """Submit a file into the accepting window, close it, and watch the worker clear it."""
    submissions = [
        Submission(
            reference=row["reference"] + suffix,
            payer=row["payer"],
            payee=row["payee"],
            currency=row["currency"],
            amount=row["amount"],
        )
        for _, row in dictionaries(SAMPLE_DAY / name, set(obligations.rows.REQUIRED))
    ]
    intake = obligations.submit(
        submissions,
        region=Region.GLOBAL,
        submitter=OPERATOR_SCOPE,
        at=timezone.now(),
        all_or_nothing=True,
    )
    console.print(f"\n{name}: {len(submissions):,} obligations in window {intake.window_id}")
    assert intake.window_id is not None, "the demo opened its window"
    window = windows.close(windows.get(intake.window_id), at=timezone.now(), reason="demo")
    operation = _start(window)
    return watch.until_over(operation, console, timeout_seconds=TIMEOUT_SECONDS)


def _start(window: ClearingWindow) -> Any:
    """Start clearing, or follow the run that Beat started first."""
    try:
        return pipeline.clear(window, at=timezone.now(), reason="demo")
    except operations.AlreadyProcessing:
        return operations.live_clearing(window.pk)


def _tell_rollback(console: Console, sight: watch.Sight) -> None:
    window, operation = sight.window, sight.operation
    console.print(f"\n[bold]{window.region} window {window.pk}: {window.status}[/bold]")
    console.print(f"  {operation.error_code}: {operation.error_message}", highlight=False)
    console.print(watch.checkpoint_table(sight))
    counts = ", ".join(f"{count} {name}" for name, count in tables.left_behind(sight).items())
    console.print(f"  left behind by the run: {counts}", highlight=False)


def _tell_where(console: Console, completed: watch.Sight, rolled_back: watch.Sight) -> None:
    """Say what to look at, and where."""
    admin = "/admin/clearing/clearingwindow"
    rest = "/api/v1/clearing/windows"
    done, back = completed.window.pk, rolled_back.window.pk
    console.print("\nlook at", highlight=False)
    for what, where in (
        ("what settled", f"{admin}/{done}/change/   {rest}/{done}/result"),
        ("what was undone, and why", f"{admin}/{back}/change/   {rest}/{back}/operations"),
        ("every task of both runs", "Flower, below"),
        ("metrics", "/metrics: point Prometheus there, and Grafana at Prometheus"),
    ):
        console.print(f"  {what:<26}{where}", highlight=False)


def _admin() -> str:
    """Make the demo's admin user, its password kept with the stack's secrets; NAME / PASSWORD."""
    password = secret(data_dir(), "admin")
    users = get_user_model().objects
    user = users.filter(username=ADMIN).first() or users.create_superuser(ADMIN)
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return f"{ADMIN} / {password}"


def _top_up() -> str:
    """
    Make a repeated demo possible: the references get a suffix, the accounts their opening balance back.

    Returns:
        The suffix; empty the first time.
    """
    first = next(dictionaries(SAMPLE_DAY / "obligations.csv", {"reference"}))[1]["reference"]
    if not ObligationKey.objects.filter(pk=key(OPERATOR_SCOPE, first)).exists():
        return ""
    at = timezone.now()
    suffix = f"-{at:%m%d%H%M%S}"
    held = {
        (account.participant.code, account.currency.code): account.balance_minor
        for account in SettlementAccount.objects.select_related("participant", "currency")
    }
    for _, row in dictionaries(SAMPLE_DAY / "balances.csv", {"participant", "currency", "balance"}):
        opening = money.parse_minor(row["balance"], row["currency"], zero_ok=True)
        missing = opening - held[row["participant"], row["currency"]]
        if missing > 0:
            accounts.fund(
                row["participant"],
                row["currency"],
                amount_minor=missing,
                reference=f"demo{suffix} {row['participant']} {row['currency']}",
                at=at,
            )
    return suffix
