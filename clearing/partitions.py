"""
The obligation table's partitions: one a window, gated while it accepts, sealed at its close.

The gate is an advisory lock of the window: intake holds it shared until it commits, the closer takes
it exclusively and so waits only for intake in flight. A row lock would let writers starve the closer.
"""

from django.db import connection

from clearing.states import Arrival
from netting.money import AMOUNT_MAX

GATE_CLASS = 0x434C  # first key of our advisory locks, "CL"


def name(window_id: int) -> str:
    """Return the partition's table name; an integer, so safe inside SQL."""
    return f"clearing_obligation_w{int(window_id)}"


def create(window_id: int) -> None:
    """Create and attach the window's partition; ATTACH does not wait for intake in flight."""
    table = name(window_id)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {table} (LIKE clearing_obligation INCLUDING DEFAULTS INCLUDING CONSTRAINTS,"
            f" CHECK (window_id = {int(window_id)}))"
        )
        cursor.execute(
            f"ALTER TABLE clearing_obligation ATTACH PARTITION {table} FOR VALUES IN ({int(window_id)})"
        )
        cursor.execute(
            f"CREATE TRIGGER emptied_when_given_up BEFORE TRUNCATE ON {table}"
            " EXECUTE FUNCTION refuse_truncate_of_kept_window()"
        )


def pass_gate(window_id: int) -> None:
    """Hold the window open until this transaction ends; waits while it is being closed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [GATE_CLASS, window_id])


def shut_gate(window_id: int) -> None:
    """Wait for the intake in flight and keep new intake out until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [GATE_CLASS, window_id])


def seal(window_id: int) -> None:
    """Make PostgreSQL refuse any further row, without reading the rows there: 0.4 ms at a million."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name(window_id)} ADD CONSTRAINT sealed CHECK (false) NOT VALID")


def first_surplus(window_id: int, *, kept_max: int) -> int | None:
    """
    Return the id of the first obligation that the window may not hold, None if it may hold all.

    It may hold the *kept_max* first ones, and no more than what adds up to 64 bits in each currency. One pass
    over the amounts tells that both hold: 40 ms at a million.
    """
    table = name(window_id)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), coalesce(max(amount_minor), 0) FROM {table}")
        count, largest_minor = cursor.fetchone()
        if count <= kept_max and count * largest_minor <= AMOUNT_MAX:
            return None
        cursor.execute(FIRST_SURPLUS.format(table=table), [kept_max, AMOUNT_MAX])
        found: int | None = cursor.fetchone()[0]
    return found


def move_surplus(window_id: int, *, first_id: int, target_id: int) -> int:
    """
    Move the rows from *first_id* on into the window *target_id*; the caller passed its gate and shut ours.

    Returns:
        How many rows moved.
    """
    source = name(window_id)
    moved = _copy(window_id, target_id, arrival=Arrival.OVERFLOW, first_id=first_id)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {source} WHERE id >= %s", [first_id])
        assert cursor.rowcount == moved, "what was copied is what is deleted"
    return moved


def empty_into(window_id: int, *, target_id: int) -> int:
    """
    Move every row of a sealed partition into the window *target_id*, whose gate the caller has passed.

    Keys follow, so a retry still finds its obligation; each row remembers the window it came from.

    Returns:
        How many rows moved.
    """
    moved = _copy(window_id, target_id, arrival=Arrival.GIVEN_UP, first_id=0)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {name(window_id)}")
    return moved


def _copy(window_id: int, target_id: int, *, arrival: Arrival, first_id: int) -> int:
    source, target = name(window_id), name(target_id)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {target} ({ROW}, window_id, origin_window_id, arrival)"
            f" SELECT {ROW}, %s, coalesce(origin_window_id, window_id), %s FROM {source}"
            " WHERE id >= %s ORDER BY id",
            [target_id, arrival.value, first_id],
        )
        moved: int = cursor.rowcount
        cursor.execute(
            "UPDATE clearing_obligationkey known SET window_id = %s"
            f" FROM {source} obligation WHERE known.key = obligation.key AND obligation.id >= %s",
            [target_id, first_id],
        )
        assert cursor.rowcount == moved, "every obligation has its key"
    return moved


ROW = (
    "id, amount_minor, key, submitted_at, payer_id, payee_id, due_date, currency_id, priority, reference,"
    " submitter, link, not_before"
)

FIRST_SURPLUS = """
    SELECT min(id) FROM (
        SELECT id, row_number() OVER (ORDER BY id) AS place,
               sum(amount_minor) OVER (PARTITION BY currency_id ORDER BY id) AS total
        FROM {table}
    ) taken WHERE place > %s OR total > %s
"""
