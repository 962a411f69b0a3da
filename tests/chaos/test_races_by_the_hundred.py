"""Two that want the same at the same moment: hundreds of trials each, and one winner in every one."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from clearing import finality, operations, partitions, pipeline, steps, windows
from clearing.models import AtomicOperation, ClearingWindow, Obligation
from clearing.obligations import Intake
from clearing.operations import AlreadyFinal, AlreadyProcessing
from clearing.states import OperationStatus, OperationType, WindowStatus
from clearing.steps import OperationStopped
from clearing.windows import NoAcceptingWindow
from clearing_project.lifecycle import IllegalMove
from tests.chaos import invariants
from tests.database import Racers, sql
from tests.factories import AT, circle, closed, obligation, running, take, window

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

TRIALS = 200


@pytest.fixture(autouse=True)
def _few_partitions(transactional_db: None) -> Iterator[None]:
    """Leave no hundreds of partitions to the tests that come after."""
    yield
    for window_id in ClearingWindow.objects.values_list("pk", flat=True):
        sql(f"DROP TABLE {partitions.name(window_id)}")


def later(call: Callable[[], Any], turn: int) -> Callable[[], Any]:
    """Let the call come a little later from turn to turn, so that the two meet at many places."""

    def wait_and_call() -> Any:
        for _ in range(turn % 12):
            sql("SELECT 1")
        return call()

    return wait_and_call


def test_of_a_settlement_and_a_rollback_one_wins() -> None:
    won: Counter[str] = Counter()
    shut: ClearingWindow | None = None
    with Racers(2) as racers:
        for turn in range(TRIALS):
            shut = shut or closed()
            run = running(shut, applied=4)

            settled, undone = racers.race(
                later(partial(_settle, run), turn % 3),
                later(partial(operations.roll_back, run.pk, at=AT, reason="race"), turn),
            )

            ended = steps.get(run.pk)
            won[ended.status] += 1
            if ended.status == OperationStatus.COMMITTED:
                assert (settled, ended.final_at, ended.window.status) == (None, AT, WindowStatus.COMPLETED)
                assert isinstance(undone, AlreadyFinal), undone
                shut = None
            else:
                assert (ended.status, ended.window.status) == ("RolledBack", "RolledBack")
                assert isinstance(undone, AtomicOperation), undone
                assert isinstance(settled, OperationStopped | finality.NotCommitted), settled

    assert set(won) == {"Committed", "RolledBack"}, won
    assert invariants.broken({}) == []


def test_of_two_closes_one_seals() -> None:
    won: Counter[int] = Counter()
    with Racers(2) as racers:
        for turn in range(TRIALS):
            opened = window()
            close = partial(windows.close, opened, at=AT, reason="race")

            answers = racers.race(close, later(close, turn))

            lost = [answer for answer in answers if not isinstance(answer, ClearingWindow)]
            assert len(lost) == 1, answers
            assert isinstance(lost[0], IllegalMove), lost
            won[answers.index(lost[0])] += 1
            assert list(opened.events.values_list("event_type", flat=True)) == ["Opened", "Closing", "Closed"]
            done = AtomicOperation.objects.filter(window=opened, operation_type=OperationType.WINDOW_CLOSE)
            assert [each.status for each in done] == ["Committed"]

    assert set(won) == {0, 1}, won
    assert invariants.broken({}) == []


def test_beside_a_force_close_an_obligation_is_in_the_window_or_refused_and_never_late() -> None:
    circle()
    won: Counter[str] = Counter()
    with Racers(3) as racers:
        for turn in range(TRIALS):
            opened = window()
            sent = [obligation(amount_minor=1), obligation(amount_minor=1)]

            shut, *taken = racers.race(
                later(partial(windows.close, opened, at=AT, reason="race"), turn),
                partial(take, sent[0]),
                later(partial(take, sent[1]), turn // 2),
            )

            assert isinstance(shut, ClearingWindow), shut
            inside = [each for each in taken if isinstance(each, Intake)]
            assert all(each.window_id == opened.pk for each in inside)
            assert all(isinstance(each, NoAcceptingWindow) for each in taken if each not in inside), taken
            assert Obligation.objects.filter(window=opened).count() == len(inside)
            won["in"] += len(inside)
            won["out"] += len(taken) - len(inside)

    assert min(won["in"], won["out"]) > 0, won
    assert invariants.broken({"USD": (won["in"], won["in"])}) == []


def test_of_two_who_start_clearing_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_publish", lambda message: None)
    circle()
    shut = closed(obligation(amount_minor=1))
    won: Counter[int] = Counter()
    with Racers(2) as racers:
        for turn in range(TRIALS):
            clear = partial(pipeline.clear, shut, at=AT, reason="race")

            answers = racers.race(later(clear, turn % 5), clear)

            started = [answer for answer in answers if isinstance(answer, AtomicOperation)]
            lost = [answer for answer in answers if isinstance(answer, AlreadyProcessing)]
            assert (len(started), len(lost)) == (1, 1), answers
            won[answers.index(lost[0])] += 1
            live = operations.live_clearing(shut.pk)
            assert live is not None
            assert live.pk == started[0].pk
            operations.roll_back(live.pk, at=AT, reason="again")

    assert set(won) == {0, 1}, won
    assert operations.clearings().filter(window=shut).count() == TRIALS
    assert invariants.broken({"USD": (1, 1)}) == []


def _settle(run: AtomicOperation) -> None:
    finality.commit(run.pk, at=AT)
    finality.settle(run.pk, at=AT)
