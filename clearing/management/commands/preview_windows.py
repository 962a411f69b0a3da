"""``manage.py preview_windows``: the windows that the schedules plan; with --year, a whole year checked."""

import io
import json
import sys
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from clearing import queries, windows
from clearing.events.catalog import rfc3339
from clearing.management.base import ClearingCommand
from clearing.models import RegionSchedule
from clearing.queries import Planned, Year

FAULTY = 5
WIDTH = 120
YEAR_MIN, YEAR_MAX = 1900, 2200


def whole_year(text: str) -> int:
    """Read a year that a calendar can have."""
    year = int(text)
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise ValueError(text)
    return year


class Command(ClearingCommand):
    help = (
        "Show the next windows of each region as its schedule plans them, enabled or not. With --year"
        " generate that year's windows and check them: every opening time of every open day opens exactly"
        " one window, none overlap, no gap unless intake waits. Exit status 0 sound, 5 faulty. Nothing is"
        " written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--region", help="default: all")
        parser.add_argument("--count", type=int, default=30, help="windows of each region")
        parser.add_argument("--since", type=datetime.fromisoformat, metavar="MOMENT", help="default: now")
        parser.add_argument("--year", type=whole_year, help="check this year in place of showing windows")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = RegionSchedule.objects.all()
        if options["region"]:
            rows = rows.filter(pk=windows.region(options["region"]))
        if options["year"]:
            self._check([queries.check_year(row, options["year"]) for row in rows], as_json=options["json"])
            return
        since = options["since"] or timezone.now()
        at = since if since.tzinfo else since.replace(tzinfo=ZoneInfo("UTC"))
        found = {row: queries.upcoming(row, at=at, count=options["count"]) for row in rows}
        if options["json"]:
            shown = {row.region: [_as_json(each) for each in planned] for row, planned in found.items()}
            self.stdout.write(json.dumps(shown, indent=2))
            return
        for row, planned in found.items():
            self._print(_timetable(row, planned))

    def _check(self, years: list[Year], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([_year_as_json(each) for each in years], indent=2))
        else:
            self._print(_years(years))
        for each in years:
            for fault in each.faults:
                self.stderr.write(f"{each.region}: {fault}")
        if any(each.faults for each in years):
            sys.exit(FAULTY)

    def _print(self, table: Table) -> None:
        console = Console(width=WIDTH, record=True, file=io.StringIO())
        console.print(table)
        self.stdout.write(console.export_text())


def _timetable(row: RegionSchedule, planned: list[Planned]) -> Table:
    by_hand = "" if row.is_enabled else ", disabled: opens by hand only"
    table = Table(title=f"{row.region}, {row.time_zone}{by_hand}", title_justify="left")
    for name in ("opens", "cutoff", "opens (UTC)", "cutoff (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("length", justify="right")
    table.add_column("remarks")
    for each in planned:
        utc = (moment.astimezone(ZoneInfo("UTC")) for moment in (each.opens_at, each.cutoff_at))
        table.add_row(
            f"{each.opens_at:%a %d %b %H:%M}",
            f"{each.cutoff_at:%a %d %b %H:%M}",
            *(f"{moment:%d %b %H:%M}" for moment in utc),
            queries.hours_and_minutes(each.length),
            "; ".join(queries.remarks(each)),
        )
    return table


def _years(years: list[Year]) -> Table:
    table = Table(title=f"windows of {years[0].year}", title_justify="left")
    table.add_column("region")
    for name in (
        "windows",
        "closed days",
        "half-days",
        "clock changes",
        "shortest",
        "longest",
        "intake waits",
    ):
        table.add_column(name, justify="right")
    table.add_column("faults", justify="right")
    for each in years:
        table.add_row(
            each.region,
            *(f"{count:,}" for count in (each.windows, each.closed_days, each.half_days, each.clock_changes)),
            *(queries.hours_and_minutes(length) for length in (each.shortest, each.longest, each.waits)),
            str(len(each.faults)),
        )
    return table


def _as_json(each: Planned) -> dict[str, Any]:
    return {
        "opens_at": rfc3339(each.opens_at),
        "cutoff_at": rfc3339(each.cutoff_at),
        "opens_local": each.opens_at.isoformat(),
        "cutoff_local": each.cutoff_at.isoformat(),
        "is_open": each.is_open,
        "waited_minutes": _minutes(each.waited),
        "clock_moved_minutes": _minutes(each.clock_moved),
        "days": [{"date": str(day), "kind": found.kind, "name": found.name} for day, found in each.days],
    }


def _year_as_json(each: Year) -> dict[str, Any]:
    return {
        "region": each.region,
        "year": each.year,
        "windows": each.windows,
        "closed_days": each.closed_days,
        "half_days": each.half_days,
        "clock_changes": each.clock_changes,
        "shortest_minutes": _minutes(each.shortest),
        "longest_minutes": _minutes(each.longest),
        "waits_minutes": _minutes(each.waits),
        "faults": each.faults,
    }


def _minutes(length: timedelta) -> int:
    return round(length / timedelta(minutes=1))
