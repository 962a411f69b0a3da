"""``manage.py load_obligations``: a file comes in once, and what is rejected goes into a file of its own."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from clearing.models import Obligation
from clearing.obligations.rows import read
from clearing.states import Region
from clearing_project.stack.runtime import REPOSITORY
from tests import factories
from tests.factories import A, B

pytestmark = pytest.mark.django_db

HEADER = "reference,payer,payee,currency,amount"
REGION = factories.BY_HAND.value


def now_open(region: Region = factories.BY_HAND) -> int:
    """Open a window that is open by the clock on the wall, as the command reads it."""
    return factories.window(region, opens_at=timezone.now(), cutoff_at=timezone.now() + timedelta(days=2)).pk


def load(path: Path) -> tuple[dict[str, Any], int]:
    out, status = io.StringIO(), 0
    try:
        call_command("load_obligations", str(path), "--region", REGION, stdout=out, stderr=io.StringIO())
    except SystemExit as ended:
        status = int(str(ended.code))
    summary: dict[str, Any] = json.loads(out.getvalue())
    return summary, status


def rejects(path: Path) -> list[dict[str, str]]:
    with path.with_name(f"{path.name}.rejected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "day.csv"


def test_a_sound_file_is_loaded_once_however_often_it_is_sent(file: Path) -> None:
    factories.circle()
    window_id = now_open()
    file.write_text(f"{HEADER}\nr1,{A},{B},USD,1.00\nr2,{B},{A},JPY,100\n")

    first, again = load(file), load(file)

    assert first == ({"accepted": 2, "duplicate": 0, "rejected": 0, "window_id": window_id}, 0)
    assert again == ({"accepted": 0, "duplicate": 2, "rejected": 0, "window_id": window_id}, 0)
    assert not file.with_name("day.csv.rejected.csv").exists()
    assert Obligation.objects.count() == 2


def test_rejected_lines_come_back_as_they_were_with_code_and_message(file: Path) -> None:
    factories.circle()
    window_id = now_open()
    lines = {
        f"r1,NOBODY,{B},USD,1.00": "unknown_participant",
        f"r2,{A},{B},USD,1.001": "too_many_decimals",
        f"r3,{A},{B},USD": "csv_line_invalid",
        f'"r,4",{A},{A},USD,1.00': "same_payer_and_payee",
    }
    file.write_text("\n".join([HEADER, *lines, f"good,{A},{B},USD,1.00", ""]))

    summary, status = load(file)

    assert (summary, status) == ({"accepted": 1, "duplicate": 0, "rejected": 4, "window_id": window_id}, 3)
    assert [row["code"] for row in rejects(file)] == list(lines.values())
    assert [row["reference"] for row in rejects(file)] == ["r1", "r2", "r3", "r,4"]
    assert all(row["message"] for row in rejects(file))
    assert list(Obligation.objects.values_list("reference", flat=True)) == ["good"]


def test_every_column_of_the_file_is_kept(file: Path) -> None:
    factories.circle()
    here, there = now_open(), now_open(Region.ASIA_PACIFIC)
    tomorrow = date.today() + timedelta(days=1)  # noqa: DTZ011  a day, not a moment
    columns = f"{HEADER},region,due_date,not_before,priority,link"
    file.write_text(
        f"{columns}\nr1,{A},{B},USD,1.00,,2090-01-31,{tomorrow},7,order 1\n"
        f"r2,{A},{B},USD,1.00,AsiaPacific,,,,\nr3,{A},{B},USD,1.00,Atlantis,,,,\n"
        f"r4,{A},{B},USD,1.00,,31.1.2090,,,\nr5,{A},{B},USD,1.00,,,,{'9' * 5000},\n"
    )

    summary, status = load(file)

    assert (summary["accepted"], summary["rejected"], summary["window_id"], status) == (2, 3, here, 3)
    assert [row["code"] for row in rejects(file)] == [
        "unknown_region",
        "date_invalid",
        "priority_out_of_range",
    ]
    first, second = Obligation.objects.order_by("reference")
    assert (first.window_id, first.due_date, first.priority, first.link) == (
        here,
        date(2090, 1, 31),
        7,
        "order 1",
    )
    assert (second.window_id, second.due_date, second.link) == (there, None, None)


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_file_of_a_spreadsheet_with_its_mark_and_line_ends_is_read(file: Path, quote: str) -> None:
    factories.circle()
    now_open()
    header = ",".join(f"{quote}{name}{quote}" for name in HEADER.split(","))
    file.write_bytes(f"\ufeff{header}\r\nr1,{A},{B},USD,1.00\r\nr2,{A},NOBODY,USD,1.00\r\n".encode())

    summary, status = load(file)

    assert (summary["accepted"], summary["rejected"], status) == (1, 1, 3)
    assert [(row["reference"], row["code"]) for row in rejects(file)] == [("r2", "unknown_participant")]


def test_lines_of_a_region_without_a_window_are_rejected_and_the_others_taken(file: Path) -> None:
    factories.circle()
    window_id = now_open()
    file.write_text(f"{HEADER},region\nr1,{A},{B},USD,1.00,AsiaPacific\nr2,{A},{B},USD,1.00,\n")

    summary, status = load(file)

    assert (summary, status) == ({"accepted": 1, "duplicate": 0, "rejected": 1, "window_id": window_id}, 3)
    assert [row["code"] for row in rejects(file)] == ["no_accepting_window"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "csv_header_invalid"),
        (b"reference,payer\n", "csv_header_invalid"),
        (b"reference,payer,payee,currency,amount,colour\n", "csv_header_invalid"),
        (b"\xef\xbb\xbfreference;payer;payee;currency;amount\n", "something else than commas"),
        (HEADER.encode() + b"\n\xff,a,b,USD,1.00\n", "csv_not_utf8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(file: Path, text: bytes, code: str) -> None:
    now_open()
    file.write_bytes(text)

    with pytest.raises(CommandError, match=code) as refusal:
        load(file)

    assert refusal.value.returncode == 2


def test_lines_are_read_as_they_are_asked_for() -> None:
    read_lines: list[int] = []

    def lines() -> Iterator[str]:
        yield HEADER
        for number in range(1_000_000):
            read_lines.append(number)
            yield f"r{number},{A},{B},USD,1.00"

    rows = read(lines()).rows
    for _ in range(3):
        next(rows)

    assert read_lines == [0, 1, 2]


@pytest.mark.django_db(transaction=True)
def test_at_a_terminal_progress_is_shown_on_stderr_and_stdout_stays_json(file: Path) -> None:
    factories.circle()
    now_open()
    file.write_text(f"{HEADER}\n" + "".join(f"r{number},{A},{B},USD,1.00\n" for number in range(1_234)))
    parts = urlsplit(os.environ["DATABASE_URL"])
    url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    ours, theirs = pty.openpty()

    loaded = subprocess.run(
        [sys.executable, "manage.py", "load_obligations", str(file), "--region", REGION],
        cwd=REPOSITORY,
        env={**os.environ, "DATABASE_URL": url, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)

    assert json.loads(loaded.stdout)["accepted"] == 1_234
    assert "1,234 lines" in shown
    assert "100%" in shown
