"""
Settlement at an engine outside, in a running stack: whatever dies on either side, an order is executed once.

The engine forgets no order and knows none again: it executes what comes as often as it comes.
"""

import pytest

from tests.chaos.conftest import Player
from tests.chaos.plan import ENGINE_POINTS

pytestmark = pytest.mark.chaos

SEEDS = (1, 6, 11, 14)  # orders lost, late, rejected and doubled; an engine that dies, is killed, is away


@pytest.mark.parametrize("point", ENGINE_POINTS)
def test_a_worker_killed_at_any_point_of_an_execution_leaves_a_window_that_completes(
    outside: Player, point: str
) -> None:
    outcome = outside.play(point=point, action="kill")

    assert outcome["violations"] == []
    assert [struck for _, _, struck in outcome["faults"]] == [True]
    assert outcome["endings"] == {"Completed": 1}


def test_a_worker_that_hangs_past_its_claim_sends_nothing_that_others_sent(outside: Player) -> None:
    outcome = outside.play(point="engine.claimed", action="hang")

    assert outcome["violations"] == []
    assert [struck for _, _, struck in outcome["faults"]] == [True]
    assert outcome["endings"] == {"Completed": 1}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_schedule_of_faults_with_an_engine_that_misbehaves_violates_nothing(
    outside: Player, seed: int
) -> None:
    outcome = outside.play(seed=seed)

    assert outcome["violations"] == []
    assert set(outcome["endings"]) <= {"Completed", "RolledBack", "Failed", "Settling"}
    assert sum(outcome["endings"].values()) > 0
