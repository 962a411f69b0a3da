"""What may not be found once nothing is under way any more; statements as in ``invariants``."""

from clearing.recovery import PASSING

# Runs that stay Settling until an operator acts: an instruction failed at the engine outside, and none of the
# others is under way; what the agent pays out waits for all that it is paid in the currency.
_LEFT_TO_AN_OPERATOR = """
    SELECT operation.id, operation.window_id FROM clearing_atomicoperation operation
    JOIN clearing_clearingwindow each ON each.id = operation.window_id AND each.status = 'Settling'
    WHERE operation.operation_type = 'WindowClearing' AND operation.final_at IS NOT NULL
      AND EXISTS (SELECT FROM settlement_settlementinstruction failed
                  WHERE failed.batch_id = operation.id AND failed.status = 'Failed')
      AND NOT EXISTS (
          SELECT FROM settlement_execution execution
          JOIN settlement_settlementinstruction instruction ON instruction.id = execution.instruction_id
          JOIN settlement_participant payer ON payer.id = instruction.payer_id
          WHERE execution.batch_id = operation.id AND execution.status NOT IN ('Completed', 'Failed')
            AND NOT (execution.status = 'Planned' AND payer.kind = 'Agent' AND EXISTS (
                SELECT FROM settlement_settlementinstruction paid_in
                JOIN settlement_participant member ON member.id = paid_in.payer_id AND member.kind = 'Member'
                WHERE paid_in.batch_id = operation.id AND paid_in.currency_id = instruction.currency_id
                  AND paid_in.status = 'Failed')))
"""

AT_REST = {
    "a window has not come to its end": f"""
        SELECT id, region, status FROM clearing_clearingwindow
        WHERE status IN ('Closing', 'Closed', 'Processing', 'Settling')
          AND id NOT IN (SELECT window_id FROM ({_LEFT_TO_AN_OPERATOR}) its) ORDER BY id
    """,
    "a rolled-back window waits to be cleared again": f"""
        SELECT window_id, error_code FROM (
            SELECT DISTINCT ON (window_id) window_id, error_code
            FROM clearing_atomicoperation operation
            WHERE operation_type = 'WindowClearing' ORDER BY window_id, created_at DESC
        ) last JOIN clearing_clearingwindow each ON each.id = last.window_id AND each.status = 'RolledBack'
        WHERE error_code IN ({", ".join(f"'{code}'" for code in PASSING)})
    """,
    "an operation is not over": f"""
        SELECT id, operation_type, status, error_code, error_message FROM clearing_atomicoperation
        WHERE (status IN ('Pending', 'InProgress', 'RollbackFailed')
               OR (status = 'Committed' AND operation_type = 'WindowClearing' AND final_at IS NULL))
          AND (parent_id IS NULL OR parent_id NOT IN (SELECT id FROM ({_LEFT_TO_AN_OPERATOR}) its))
    """,
    "money is still set aside": f"""
        SELECT batch_id, account_id, amount_minor FROM settlement_reservation
        WHERE batch_id NOT IN (SELECT id FROM ({_LEFT_TO_AN_OPERATOR}) its)
    """,
    "an instruction is not settled": f"""
        SELECT id, batch_id, status FROM settlement_settlementinstruction
        WHERE status <> 'Completed' AND batch_id NOT IN (SELECT id FROM ({_LEFT_TO_AN_OPERATOR}) its)
    """,
}

DEPLOYED = {
    "a window is past its cutoff and open": """
        SELECT id, region, cutoff_at FROM clearing_clearingwindow WHERE status = 'Open' AND cutoff_at <= now()
    """,
    "an event is not published": """
        SELECT window_id, sequence, event_type FROM clearing_windowevent WHERE published_at IS NULL
    """,
}
