"""Breaks of how a run is owned, undone, committed and recovered."""

from tests.breaks.model import Break

ROLLBACK, OPERATIONS = "tests/clearing/test_rollback.py", "tests/clearing/test_operations.py"
FINALITY, GIVE_UP, LATE = (f"tests/clearing/test_{name}.py" for name in ("finality", "give_up", "late"))
ABLATIONS, TICK = "tests/chaos/test_ablations.py", "tests/chaos/test_tick.py"
CLEARING, STEPS = "clearing/migrations", "clearing/checkpoints"

RUNS = (
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
        "an undo is not proven",
        f"{CLEARING}/0019_shorter_rollback.py",
        "    IF digest IS DISTINCT FROM step.digest_before THEN\n        outcome",
        "    IF false THEN\n        outcome",
        ABLATIONS,
        "does_nothing",
    ),
    Break(
        "the last undo ends a rollback that is not proven as a whole",
        f"{CLEARING}/0019_shorter_rollback.py",
        "step.position > 1 OR digest IS DISTINCT FROM step.of_whole THEN",
        "step.position > 1 THEN",
        ABLATIONS,
        "whole",
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
        "    if operation.final_at is not None:\n        raise AlreadyFinal",
        "    if False:\n        raise AlreadyFinal",
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
    # --- messages ---
    Break(
        "a worker that loses Redis exits",
        "clearing_project/consumer.py",
        "            for _ in range(2):",
        "            for _ in range(0):",
        "tests/cycle/test_consumer.py",
    ),
)
