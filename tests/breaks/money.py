"""Breaks of how money is posted, sent out, sent back and kept."""

from tests.breaks.model import Break

CORRECTIONS, KEPT = "tests/clearing/test_corrections.py", "tests/clearing/test_kept.py"
LEDGER, STATES = "tests/settlement/test_ledger.py", "tests/clearing/test_states.py"
ENGINE, CLAIMS = "tests/engines/test_settlement_engine.py", "tests/engines/test_claims.py"
DECLARED, SET = "tests/engines/test_declared.py", "tests/clearing/api/test_limits_api.py"
CLEARING, SETTLEMENT = "clearing/migrations", "settlement/migrations"

MONEY = (
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
        f"{CLEARING}/0019_shorter_rollback.py",
        "WHERE id = first_one AND final_at IS NOT NULL;",
        "WHERE id = first_one AND final_at IS NULL;",
        KEPT,
        "computed",
    ),
    Break(
        "a final run's results may be deleted together with another's",
        f"{CLEARING}/0019_shorter_rollback.py",
        "    PERFORM FROM gone WHERE operation_id <> first_one LIMIT 1;\n",
        "    PERFORM WHERE false;\n",
        KEPT,
        "together",
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
    # --- an outside engine ---
    Break(
        "an unknown outcome is sent again unasked",
        "settlement/rails/executions.py",
        "        row.status = ExecutionStatus.UNKNOWN\n    elif",
        "        row.status = ExecutionStatus.PLANNED\n    elif",
        ENGINE,
        "whatever",
    ),
    Break(
        "who was paused past its claim sends all the same",
        "settlement/rails/engine.py",
        "    if not claim.may_be_sent():\n",
        "    if False:\n",
        ENGINE,
        "paused",
    ),
    Break(
        "a claim's time begins before it is made",
        "clearing/finality.py",
        "settling.drive(operation_id, at=at + timedelta(seconds=perf_counter() - since))",
        "settling.drive(operation_id, at=at)",
        CLAIMS,
        "claim_s_time",
    ),
    Break(
        "who waits for an engine is taken for stuck",
        "clearing/recovery.py",
        "*([exchanged] if exchanged else [])",
        "*[]",
        CLAIMS,
        "takes_its_time",
    ),
    Break(
        "what the engine executed is not posted",
        "settlement/rails/executions.py",
        "        ledger.post(completed, at=at)\n",
        "        pass\n",
        ENGINE,
        "whatever",
    ),
    # --- what is declared or set by hand ---
    Break(
        "a known outcome is declared",
        "settlement/rails/attempts.py",
        "    if last is None or last.status not in UNDECIDED:\n",
        "    if last is None:\n",
        DECLARED,
        "known or knows or never_had",
    ),
    Break(
        "an outcome is declared while the engine is at it",
        "settlement/rails/attempts.py",
        "    if answer.outcome == Outcome.EXECUTING:\n",
        "    if False:\n",
        DECLARED,
        "never_had",
    ),
    Break(
        "limits are replaced by who has not seen them",
        "clearing/obligations/set_limits.py",
        "    if seen is not None and tag(_holding(rows)) not in seen:\n",
        "    if False:\n",
        SET,
        "not_seen",
    ),
    Break(
        "two set limits at once",
        "clearing/obligations/set_limits.py",
        "    Participant.objects.select_for_update(no_key=True).get(pk=participant_id)\n",
        "    Participant.objects.get(pk=participant_id)\n",
        SET,
        "at_once",
    ),
)
