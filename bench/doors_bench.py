"""Intake through its doors: REST by real gunicorn, and a CSV by the loader's own process."""

import csv
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import msgspec
from django.utils import timezone

from bench import community, site
from bench.community import Day
from bench.model import Row
from bench.timing import timed, times_for
from clearing import access, windows
from clearing.models.access import Role
from clearing_project.stack.children import Site
from clearing_project.stack.runtime import REPOSITORY

HEADER: Final = ("reference", "payer", "payee", "currency", "amount")
REST_LIMIT: Final = 2.0  # half as fast as the path under it
FLAT_LIMIT: Final = 1.1
TIMEOUT_SECONDS: Final = 60.0
WARM_UPS: Final = 8  # connections of their own: each web process has answered before it is measured


def measure(place: Site, directory: Path, sizes: list[int]) -> list[Row]:
    """Bring days of these sizes in through each door, beside the path under all of them."""
    token = access.issue("bench", role=Role.OPERATOR, participant_code=None)
    loads: dict[int, Loaded] = {}
    rows: list[Row] = []
    with site.running(place, "web"):
        for _ in range(WARM_UPS):
            _post(place, token, 1_000)
        for size in sizes:
            pairs = [_post(place, token, size) for _ in range(times_for(size))]
            posted, direct = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
            rows.append(Row("intake, REST", size, posted, "SQL path, in turn", direct, REST_LIMIT))
            loads[size] = _load(directory / f"{size}.csv", community.day(size))
            note = "with the start of its process"
            rows.append(Row("intake, CSV", size, loads[size].seconds, "SQL path", direct, note=note))
    least, most = min(sizes), max(sizes)
    if least < most:
        name, floor = "peak memory of the CSV loader", f"{least:,} lines"
        peak, peak_of_least = loads[most].peak_mb, loads[least].peak_mb
        rows.append(Row(name, most, peak, floor, peak_of_least, FLAT_LIMIT, unit="MB"))
    return rows


def _post(place: Site, token: str, size: int) -> tuple[float, float]:
    """Post a day in full bodies, each followed by a call straight to the SQL path; seconds of both."""
    window = community.open_window()
    region = community.CLEARED.value
    url = f"{place.http_url}/api/v1/clearing/obligations"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    posted = direct = 0.0
    days = community.day(size).batches(), community.day(size).batches()
    with httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS) as client:
        for batch, other in zip(*days, strict=True):
            body = msgspec.json.encode({"region": region, "obligations": batch})
            seconds, answer = timed(partial(client.post, url, content=body))
            posted += seconds
            answer.raise_for_status()
            assert answer.json()["accepted"] == len(batch)
            direct += timed(partial(community.submit, other))[0]
    windows.close(window, at=timezone.now(), reason="benchmark")
    return posted, direct


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a run of the loader took."""

    seconds: float
    peak_mb: float


def _load(path: Path, day: Day) -> Loaded:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for batch in day.batches():
            writer.writerows([getattr(each, name) for name in HEADER] for each in batch)
    window = community.open_window()
    loader = (sys.executable, "manage.py", "load_obligations", str(path), "--region", community.CLEARED.value)
    told = subprocess.run(
        [sys.executable, "-m", "bench.peak", *loader],
        cwd=REPOSITORY,
        check=True,  # it ends with 0 only if every line is accepted
        stdout=subprocess.PIPE,
    )
    path.unlink()
    windows.close(window, at=timezone.now(), reason="benchmark")
    return msgspec.json.decode(told.stdout, type=Loaded)
