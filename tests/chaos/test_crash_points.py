"""Every fault point, struck once in a running stack: the window comes to its end, and all invariants hold."""

import pytest

from tests.chaos.conftest import Player
from tests.chaos.plan import STACK_POINTS, goes_back

pytestmark = pytest.mark.chaos

HUNG = (
    "obligations_collected.between",
    "currency.computed",
    "instructions_generated.undo.between",
    "commit.between",
    "settlement.between",
)
SEEDS = range(1, 11)


def ending(point: str) -> dict[str, int]:
    """How the window ends: completed, or rolled back where it had to be short for a rollback to come by."""
    return {"RolledBack": 1} if goes_back(point) else {"Completed": 1}


@pytest.mark.parametrize("action", ["raise", "kill"])
@pytest.mark.parametrize("point", STACK_POINTS)
def test_a_crash_at_any_point_ends_in_one_of_two_ways(chaos: Player, point: str, action: str) -> None:
    outcome = chaos.play(point=point, action=action)

    assert outcome["violations"] == []
    assert [struck for _, _, struck in outcome["faults"]] == [True]
    assert outcome["endings"] == ending(point)


@pytest.mark.parametrize("point", HUNG)
def test_a_worker_that_hangs_past_its_lease_changes_nothing_but_time(chaos: Player, point: str) -> None:
    outcome = chaos.play(point=point, action="hang")

    assert outcome["violations"] == []
    assert [struck for _, _, struck in outcome["faults"]] == [True]
    assert outcome["endings"] == ending(point)


@pytest.mark.parametrize("action", ["drop", "duplicate"])
def test_a_message_lost_or_doubled_changes_nothing_but_time(chaos: Player, action: str) -> None:
    outcome = chaos.play(point="publish.before", action=action)

    assert outcome["violations"] == []
    assert [struck for _, _, struck in outcome["faults"]] == [True]
    assert outcome["endings"] == {"Completed": 1}


def test_without_the_sweep_a_lost_message_leaves_its_window_stuck_and_with_it_no_longer(
    chaos: Player,
) -> None:
    stuck = chaos.play(point="publish.before", action="drop", without_sweep=True)
    later = chaos.play(point="publish.after", action="raise")

    assert [violation for violation in stuck["violations"] if "has not come to its end" in violation]
    assert stuck["endings"] == {"Processing": 1}
    assert later["violations"] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_schedule_of_faults_violates_nothing(chaos: Player, seed: int) -> None:
    outcome = chaos.play(seed=seed)

    assert outcome["violations"] == []
    assert set(outcome["endings"]) <= {"Completed", "RolledBack", "Failed"}
    assert sum(outcome["endings"].values()) > 0
