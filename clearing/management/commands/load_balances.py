"""``manage.py load_balances FILE.csv``: open accounts and prefund them from a CSV."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from clearing.management.base import INVALID, ClearingCommand, dictionaries, existing_file
from netting import money
from netting.errors import NettingError
from settlement import accounts


class Command(ClearingCommand):
    help = (
        "Open settlement accounts and prefund them from a CSV with the columns participant,currency,balance."
        " Each line is posted once: its reference is --reference with participant and currency."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.csv")
        parser.add_argument(
            "--reference", default="prefunding", help="names this funding; another one funds again"
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        path, at = existing_file(options["file"]), timezone.now()
        count = 0
        for line, row in dictionaries(path, {"participant", "currency", "balance"}):
            try:
                amount_minor = money.parse_minor(row["balance"], row["currency"], zero_ok=True)
            except NettingError as refused:
                raise CommandError(f"{path}:{line}: {refused.code}: {refused}", returncode=INVALID) from None
            accounts.open_account(row["participant"], row["currency"])
            if amount_minor:
                accounts.fund(
                    row["participant"],
                    row["currency"],
                    amount_minor=amount_minor,
                    reference=f"{options['reference']} {row['participant']} {row['currency']}",
                    at=at,
                )
            count += 1
        self.stdout.write(f"{count} accounts")
