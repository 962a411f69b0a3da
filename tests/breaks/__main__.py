"""
Break the code by hand and see which test notices: ``python -m tests.breaks [WORD ...]``.

Each break is one edit that takes a guarantee away. It is made in a throw-away copy of this folder, the test
named beside it runs there and must fail; a break that nothing notices ends the command with exit status 1.
Words choose the breaks whose name or file holds one of them. About ten seconds each.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.breaks.limits import LIMITS
from tests.breaks.model import Break
from tests.breaks.money import MONEY
from tests.breaks.runs import RUNS
from tests.servers import Servers

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = (".git", ".venv", ".data", ".cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache")
TESTS_FAILED = 1  # pytest's exit status; 5 is "none ran"
SECONDS_MAX = 300
BREAKS = (*RUNS, *MONEY, *LIMITS)


def main(words: list[str]) -> int:
    """Make each break in turn, and print what noticed it."""
    chosen = [
        each for each in BREAKS if not words or any(word in f"{each.name} {each.path}" for word in words)
    ]
    unnoticed, servers = 0, Servers()
    servers.start()  # once: each test session uses those that the environment names
    try:
        with tempfile.TemporaryDirectory(prefix="clearing-breaks-") as place:
            copy = Path(place) / "copy"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT, "__pycache__"))
            for each in chosen:
                noticed = run(each, copy)
                unnoticed += not noticed
                sys.stdout.write(f"| {each.name} | `{each.path}` | {noticed or '**NOTHING**'} |\n")
                sys.stdout.flush()
    finally:
        servers.stop()
    sys.stdout.write(f"{len(chosen)} breaks, {unnoticed} unnoticed\n")
    return 1 if unnoticed else 0


def run(each: Break, copy: Path) -> str:
    """Make one break, run its test, take the break back; the first test that failed, empty for none."""
    path = copy / each.path
    sound = path.read_text("utf-8")
    assert sound.count(each.old) == 1, (
        f"{each.name}: {each.path} holds its place {sound.count(each.old)} times"
    )
    path.write_text(sound.replace(each.old, each.new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", each.test]
    try:
        done = subprocess.run(
            [*command, "--create-db", *(["-k", each.only] if each.only else [])],
            cwd=copy,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    finally:
        path.write_text(sound, "utf-8")
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode != TESTS_FAILED or not failed:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-1000:])
        return ""
    return f"`{failed[0].removeprefix('FAILED ').rpartition('::')[2]}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
