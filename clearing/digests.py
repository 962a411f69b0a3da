"""
The digest of everything a clearing run touches, so that a rollback can prove itself.

Covered: the window as far as a run changes it, the run's frozen sets, pairs, results, residual and
positions, its batch of instructions with its reservations, ledger entries, executions outside and risk
verdicts, and whether every account agrees with its reservations. Not covered: what a run only adds to and
never takes back (events, the operation and its checkpoints), and balances as such, which other windows move
at the same time; a run's own part of them is its entries.

A step's digest covers what it and the steps after it write: before its apply and after its undo all of that
is as it was, or the undo is refused. What earlier steps wrote, a step only reads; hashing it again would be
most of a rollback. The digest of the first step covers everything, and ends the rollback.

PostgreSQL takes it, in the function that begins a step as well (``run_digest``, ``begin_step``).
"""

from uuid import UUID

from django.db import connection

FIRST = 1


def of(operation_id: UUID, window_id: int, *, position: int = FIRST) -> str:
    """
    Return the SHA-256 of what the run's step at *position* and those after it write.

    Per table it covers the number of rows and an order-free hash of them.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT run_digest(%s, %s, %s::smallint)", [operation_id, window_id, position])
        (digest,) = cursor.fetchone()
    return str(digest)
