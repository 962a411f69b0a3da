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
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Servers

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (".git", ".venv", ".data", ".cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache")
TESTS_FAILED = 1  # pytest's exit status; 5 is "none ran"
SECONDS_MAX = 300


@dataclass(frozen=True, slots=True)
class Break:
    """*old* becomes *new* in *path*; of the tests in *test*, those that match *only* must notice."""

    name: str
    path: str
    old: str
    new: str
    test: str
    only: str = ""


ROLLBACK, OPERATIONS = "tests/clearing/test_rollback.py", "tests/clearing/test_operations.py"
FINALITY, GIVE_UP, LATE = (f"tests/clearing/test_{name}.py" for name in ("finality", "give_up", "late"))
CORRECTIONS, KEPT = "tests/clearing/test_corrections.py", "tests/clearing/test_kept.py"
ABLATIONS, RACES, TICK = (
    f"tests/chaos/test_{name}.py" for name in ("ablations", "races_by_the_hundred", "tick")
)
LEDGER, STATES = "tests/settlement/test_ledger.py", "tests/clearing/test_states.py"
CLEARING, SETTLEMENT = "clearing/migrations", "settlement/migrations"
STEPS = "clearing/checkpoints"

BREAKS = (
    # --- ownership ---
    Break(
        "who lost the lease may write",
        "clearing/steps.py",
        "    if token is not None and token != latest:\n",
        "    if token is not None and False:\n",
        ABLATIONS,
        "its_token",
    ),
    Break(
        "who lost the lease may condemn",
        "clearing/operations.py",
        "if token is not None and token != steps.latest_dispatch(operation_id):",
        "if False:",
        LATE,
    ),
    Break(
        "a condemned run may write",
        "clearing/steps.py",
        "    if rolling_back_at is not None:\n        raise OperationStopped",
        "    if False:\n        raise OperationStopped",
        OPERATIONS,
        "condemned",
    ),
    Break(
        "a later failure hides the first",
        "clearing/operations.py",
        "if operation.status == OperationStatus.IN_PROGRESS and operation.rolling_back_at is None:",
        "if operation.status == OperationStatus.IN_PROGRESS:",
        OPERATIONS,
        "condemned",
    ),
    # --- undo and proof ---
    Break(
        "the window's undo does nothing",
        f"{STEPS}/window_status_changed.py",
        "    if window.status != WindowStatus.PROCESSING:\n",
        "    if window.status:\n",
        ROLLBACK,
    ),
    Break(
        "the freeze's undo does nothing",
        f"{STEPS}/obligations_collected.py",
        '        cursor.execute(FORGET, {"operation": operation.pk})\n',
        '        cursor.execute("SELECT 1")\n',
        ROLLBACK,
    ),
    Break(
        "the netting's undo does nothing",
        f"{STEPS}/netting_calculated.py",
        '        cursor.execute(FORGET, {"operation": operation.pk})\n',
        '        cursor.execute("SELECT 1")\n',
        ROLLBACK,
    ),
    Break(
        "the instructions' undo leaves the batch",
        f"{STEPS}/instructions_generated.py",
        "    instructions.withdraw(operation.pk)\n",
        "",
        ROLLBACK,
    ),
    Break(
        "the instructions' undo leaves the reservations",
        f"{STEPS}/instructions_generated.py",
        "    accounts.release(operation.pk)\n",
        "",
        ROLLBACK,
    ),
    Break(
        "the whole rollback is not proven",
        "clearing/operations.py",
        "        if digest == operation.digest_before:\n",
        "        if True:\n",
        ABLATIONS,
        "whole",
    ),
    Break(
        "a failed rollback raises no alarm",
        "clearing/operations.py",
        "            outbox.append(operation.window_id, told, at=at)\n",
        "",
        ROLLBACK,
        "said_aloud",
    ),
    # --- the point of no return ---
    Break(
        "a final run is rolled back",
        "clearing/operations.py",
        "        if operation.final_at is not None:\n            raise AlreadyFinal",
        "        if False:\n            raise AlreadyFinal",
        FINALITY,
    ),
    Break(
        "a held run settles by itself",
        "clearing/operations.py",
        "    return operation.held_at is not None and operation.final_at is None\n",
        "    return False\n",
        FINALITY,
        "held",
    ),
    Break(
        "a commit asks for no checkpoint",
        f"{CLEARING}/0002_guards.py",
        "count(*) FILTER (WHERE status = 'Applied') <> 4 OR count(*) <> 4;",
        "count(*) < 0;",
        FINALITY,
        "postgresql",
    ),
    Break(
        "instructions may differ from positions",
        f"{CLEARING}/0002_guards.py",
        "GROUP BY currency_id, participant_id HAVING sum(amount) <> 0;",
        "GROUP BY currency_id, participant_id HAVING false;",
        FINALITY,
        "postgresql",
    ),
    Break(
        "positions need not sum to zero",
        f"{CLEARING}/0002_guards.py",
        "HAVING sum(position.net_minor) <> 0;",
        "HAVING false;",
        FINALITY,
        "postgresql",
    ),
    # --- recovery ---
    Break(
        "attempts have no bound",
        "clearing/recovery.py",
        'if dispatch.attempts > settings.CLEARING["ATTEMPTS_MAX"]:',
        "if dispatch.attempts < 0:",
        GIVE_UP,
        "gets_no_further",
    ),
    Break(
        "attempts are counted over the whole run",
        "clearing/recovery.py",
        "dispatch.attempts = 1 if got_further else dispatch.attempts + 1",
        "dispatch.attempts += 1",
        GIVE_UP,
        "gets_further",
    ),
    Break(
        "runs have no bound",
        "clearing/recovery.py",
        'if runs.count() >= settings.CLEARING["RUNS_MAX"]:',
        "if runs.count() < 0:",
        TICK,
    ),
    Break(
        "a closed window is a dead end",
        "clearing/states.py",
        "frozenset({WindowStatus.PROCESSING, WindowStatus.FAILED}),\n    WindowStatus.PROCESSING",
        "frozenset({WindowStatus.PROCESSING}),\n    WindowStatus.PROCESSING",
        TICK,
    ),
    Break(
        "giving up leaves the rows behind as well",
        "clearing/partitions.py",
        '        cursor.execute(f"TRUNCATE {name(window_id)}")\n',
        "        pass\n",
        GIVE_UP,
    ),
    Break(
        "giving up asks for no live run",
        "clearing/windows.py",
        "        if live is not None:\n            raise operations.AlreadyProcessing",
        "        if False:\n            raise operations.AlreadyProcessing",
        GIVE_UP,
    ),
    # --- the cutoff ---
    Break(
        "a close in one transaction takes the row before the gate",
        "clearing/windows.py",
        "    if connection.in_atomic_block:",
        "    if False:",
        GIVE_UP,
        "circle",
    ),
    Break(
        "a closed window is not sealed",
        "clearing/windows.py",
        "    partitions.seal(window.pk)\n",
        "",
        "tests/clearing/test_windows.py",
    ),
    # --- corrections ---
    Break(
        "a correction asks for no funds",
        "settlement/accounts.py",
        "        if short:\n",
        "        if False:\n",
        CORRECTIONS,
        "spent_it",
    ),
    Break(
        "a correction may leave the agent with money",
        "settlement/corrections.py",
        '        if row["paid"] != row["received"]:\n',
        "        if False:\n",
        CORRECTIONS,
        "agent",
    ),
    Break(
        "an instruction is corrected again",
        "settlement/corrections.py",
        "        if corrected_by is not None:\n",
        "        if False:\n",
        CORRECTIONS,
        "rest_of_a_window",
    ),
    Break(
        "a correction need not be the opposite",
        f"{SETTLEMENT}/0004_corrections.py",
        "    IF NOT FOUND THEN\n",
        "    IF false THEN\n",
        CORRECTIONS,
        "postgresql",
    ),
    Break(
        "a correction is half done when it fails",
        "clearing/corrections.py",
        "        with transaction.atomic():\n            operation = _begin",
        "        if True:\n            operation = _begin",
        CORRECTIONS,
        "spent_it or dies",
    ),
    # --- money ---
    Break(
        "a posting need not balance",
        f"{SETTLEMENT}/0002_guards.py",
        "HAVING sum(entry.amount_minor) <> 0 OR count(DISTINCT account.currency_id) <> 1;",
        "HAVING false;",
        LEDGER,
    ),
    Break(
        "a balance may be typed",
        f"{SETTLEMENT}/0002_guards.py",
        "    IF pg_trigger_depth() > 1 THEN\n",
        "    IF true THEN\n",
        LEDGER,
    ),
    Break(
        "a settled instruction may be changed",
        f"{SETTLEMENT}/0007_rails_guards.py",
        "        OLD.status = 'Completed'\n        OR (OLD.status",
        "        (OLD.status",
        LEDGER,
    ),
    # --- what is kept ---
    Break(
        "a final run's results may be deleted",
        f"{CLEARING}/0010_guards_of_the_end.py",
        "WHERE operation.final_at IS NOT NULL AND operation.id IN",
        "WHERE operation.final_at IS NULL AND operation.id IN",
        KEPT,
    ),
    Break(
        "tables may be emptied where a session asks for it",
        f"{SETTLEMENT}/0005_truncate.py",
        "    IF starts_with(current_database(), 'test_') AND",
        "    IF",
        KEPT,
        "asking",
    ),
    Break(
        "any window's partition may be emptied",
        f"{CLEARING}/0010_guards_of_the_end.py",
        "::bigint AND status = 'Failed';",
        "::bigint;",
        KEPT,
        "partition",
    ),
    Break(
        "PostgreSQL lets a status move as it likes",
        f"{SETTLEMENT}/0002_guards.py",
        "    ELSIF NEW.status <> OLD.status AND NOT",
        "    ELSIF false AND NOT",
        STATES,
    ),
    # --- messages ---
    Break(
        "a worker that loses Redis exits",
        "clearing_project/consumer.py",
        "            for _ in range(2):",
        "            for _ in range(0):",
        "tests/cycle/test_consumer.py",
    ),
)


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
