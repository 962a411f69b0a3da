"""Breaks of the limits that intake holds."""

from tests.breaks.model import Break

COUNTERS = "tests/clearing/test_limit_counters.py"

LIMITS = (
    Break(
        "what comes back is not counted",
        "clearing/migrations/0018_limit_counters.py",
        "SELECT window_id, payee_id, payer_id, currency_id, -amount_minor FROM moved",
        "SELECT window_id, payee_id, payer_id, currency_id, -amount_minor FROM moved WHERE false",
        COUNTERS,
    ),
    Break(
        "a bilateral limit counts towards all",
        "clearing/migrations/0018_limit_counters.py",
        "AND (held.counterparty_id IS NULL OR owed.other_id = held.counterparty_id)",
        "",
        COUNTERS,
    ),
    Break(
        "what leaves a window stays counted",
        "clearing/counters.py",
        'TRIGGERS = (("INSERT", "NEW", "brought_is_counted"), ("DELETE", "OLD", "taken_is_counted"))',
        'TRIGGERS = (("INSERT", "NEW", "brought_is_counted"),)',
        COUNTERS,
    ),
    Break(
        "a counter begins from nothing",
        "clearing/counters.py",
        "    SELECT %s, owed.* FROM ({OWED}) owed\n",
        "    SELECT %s, owed.* FROM ({OWED}) owed LIMIT 0\n",
        COUNTERS,
    ),
    Break(
        "a fold keeps one row of many",
        "clearing/counters.py",
        "    SELECT window_id, limit_id, sum(amount_minor) FROM folded GROUP",
        "    SELECT window_id, limit_id, max(amount_minor) FROM folded GROUP",
        COUNTERS,
    ),
    Break(
        "limited payers do not queue",
        "clearing/obligations/limits.py",
        'Limit.objects.select_for_update(of=("self",)).select_related(',
        "Limit.objects.select_related(",
        "tests/clearing/test_limits.py",
        "at_once",
    ),
    Break(
        "a limit made to hold again waits for nobody",
        "clearing/obligations/limits.py",
        "FROM clearing_limit WHERE participant_id = ANY (%s)",
        "FROM clearing_limit WHERE is_active AND participant_id = ANY (%s)",
        COUNTERS,
        "in_flight",
    ),
)
