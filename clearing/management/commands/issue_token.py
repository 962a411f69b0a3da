"""``manage.py issue_token NAME --role ROLE``: a token for the API, printed alone on stdout."""

from typing import Any

from django.core.management.base import CommandParser

from clearing import access
from clearing.management.base import ClearingCommand
from clearing.models.access import Role


class Command(ClearingCommand):
    help = (
        "Issue an API token to a user, who is made if there is none of this name. Prints the token alone on"
        " stdout; it cannot be shown again. A second call issues another token; earlier ones stay valid."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument(
            "--participant", metavar="CODE", help="whose token it is; for the role participant alone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        token = access.issue(options["name"], role=options["role"], participant_code=options["participant"])
        self.stdout.write(token)
