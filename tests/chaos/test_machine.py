"""
The cycle as a state machine: any call by anyone, in any order, doubled, late or dying half-way.

No process is started. The broker is the one thing played: it loses every message, and the rules deliver any
task of any run at any time instead, with a token that is right, old or missing. A death is an exception that
no handler of the engine catches, so its transaction is gone and nothing was said about it, as after SIGKILL.
"""

import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clearing import corrections, faults, finality, operations, pipeline, recovery, steps, windows
from clearing.faults import POINTS, FaultInjected
from clearing.models import AtomicOperation, ClearingWindow, Dispatch
from clearing.states import OperationStatus, OperationType, WindowStatus
from clearing_project.errors import ClearingError
from tests.chaos import invariants
from tests.clearing.test_limits import limit
from tests.database import sql
from tests.factories import A, B, C, circle, funded, obligation, take, window

pytestmark = pytest.mark.django_db

EXAMPLES, STEPS_MAX = 20, 25
ROUNDS_MAX = 60  # of recovery, at the end of an example
POOR = "BANK-D"
PLENTY = 10**12  # a limit that is counted along and never reached
TASKS = ("collect", "net_currency", "seal", "instruct", "settle", "roll_back")
REACHED = [point for point in POINTS if not point.startswith(("relay.", "publish.", "intake.", "pull."))]
CURRENCIES = ("USD", "JPY")


OWED = st.lists(
    st.tuples(
        st.sampled_from((A, B, C, A, B, C, A, B, C, POOR)),
        st.sampled_from((A, B, C)),
        st.integers(1, 500_00),
        st.sampled_from(CURRENCIES),
    ).filter(lambda each: each[0] != each[1]),
    max_size=4,
)


class Died(BaseException):
    """The process ends here; nothing catches this but the test."""


class Cycle(RuleBasedStateMachine):
    """Windows of one region, everything that may happen to them, and what must always be true."""

    armoury: Path
    ended: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self._all = transaction.atomic()
        self._all.__enter__()
        circle(10_000_00)
        funded(POOR, USD=0, JPY=0)
        self.accepted: dict[str, tuple[int, int]] = {}
        for code in (A, B):
            limit(PLENTY, of=code)
        window()

    # --- what may happen ------------------------------------------------------------------------------------

    @initialize(
        owed=OWED,
        points=st.lists(st.sampled_from(REACHED), max_size=8),
        action=st.sampled_from(("raise", "kill")),
    )
    def begin_with(self, owed: list[tuple[str, str, int, str]], points: list[str], action: str) -> None:
        """There is always something to go wrong with, and mostly something that goes wrong."""
        for point in points:
            (self.armoury / point).write_text(action)
        self.close_with(owed)

    @rule(owed=OWED)
    def close_with(self, owed: list[tuple[str, str, int, str]]) -> None:
        """Obligations come in, the window closes, the next one opens, and clearing starts."""
        if owed:
            take(*(obligation(*each) for each in owed))
        for _, _, amount_minor, currency in owed:
            count, total = self.accepted.get(currency, (0, 0))
            self.accepted[currency] = count + 1, total + amount_minor
        (shut,) = ClearingWindow.objects.filter(status=WindowStatus.OPEN, region="Americas")
        windows.close(shut, at=shut.cutoff_at, reason="test")
        window()
        self._attempt(partial(pipeline.clear, shut, at=timezone.now()))

    @precondition(lambda self: self.runs())
    @rule(data=st.data(), steps_max=st.integers(1, 6))
    def work(self, data: st.DataObject, steps_max: int) -> None:
        """A worker does the next steps of a run, as far as it gets."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        for _ in range(steps_max):
            if not self._attempt(partial(self._next_step, run)):
                break

    @precondition(lambda self: self.runs())
    @rule(data=st.data(), task=st.sampled_from(TASKS), late_by=st.sampled_from((0, 0, 1, None)))
    def deliver(self, data: st.DataObject, task: str, late_by: int | None) -> None:
        """Any message of any run arrives: once more, too early, or from an older dispatch."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        currencies = pipeline._currencies(run.window_id) or [0]
        if task == "net_currency" and currencies == [0]:
            task = "seal"  # nobody ever sends a currency that the window does not have
        currency = data.draw(st.sampled_from(currencies), label="currency")
        self._attempt(partial(self._deliver, run, task, currency, late_by))

    @rule(point=st.sampled_from(REACHED), action=st.sampled_from(("raise", "kill")))
    def arm(self, point: str, action: str) -> None:
        """Who gets to the point next fails there."""
        (self.armoury / point).write_text(action)

    @precondition(lambda self: self.runs())
    @rule(data=st.data())
    def condemn(self, data: st.DataObject) -> None:
        """A step of a run fails."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        operations.condemn(run.pk, RuntimeError("the disk is full"), at=timezone.now())

    @precondition(lambda self: self.runs())
    @rule(data=st.data(), whole_window=st.booleans())
    def roll_back(self, data: st.DataObject, whole_window: bool) -> None:
        """An operator rolls back a run, or whatever is live of a window."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        if whole_window:
            call: Callable[..., object] = partial(operations.roll_back_window, run.window_id)
        else:
            call = partial(operations.roll_back, run.pk)
        self._attempt(partial(call, at=timezone.now(), reason="operator says so"))

    @precondition(lambda self: self.runs())
    @rule(data=st.data(), does=st.sampled_from(("clear", "give up", "settle", "correct")))
    def steer(self, data: st.DataObject, does: str) -> None:
        """An operator clears again, gives up, releases or corrects, whether it is the time for it or not."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        call: dict[str, Callable[[], object]] = {
            "clear": partial(pipeline.clear, run.window, at=timezone.now()),
            "give up": partial(windows.give_up, run.window, at=timezone.now(), reason="test"),
            "settle": partial(finality.settle, run.pk, at=timezone.now()),
            "correct": partial(corrections.correct, run.window, at=timezone.now(), reason="test", by="test"),
        }
        self._attempt(call[does])

    @precondition(lambda self: self.runs())
    @rule(data=st.data(), give_up=st.booleans())
    def abandon(self, data: st.DataObject, give_up: bool) -> None:
        """An operator has enough of a window: rolled back, perhaps given up."""
        run = data.draw(st.sampled_from(self.runs()), label="run")
        roll_back = partial(operations.roll_back_window, run.window_id)
        self._attempt(partial(roll_back, at=timezone.now(), reason="operator says so"))
        if give_up:
            self._attempt(partial(windows.give_up, run.window, at=timezone.now(), reason="operator says so"))

    @rule(hours=st.sampled_from((0, 1)))
    def sweep(self, hours: int) -> None:
        """Beat's sweep comes by, now or when every lease has ended."""
        self._attempt(partial(recovery.sweep, at=timezone.now() + timedelta(hours=hours)))

    # --- what must be true ----------------------------------------------------------------------------------

    @invariant()
    def nothing_is_broken(self) -> None:
        """Also PostgreSQL's own deferred refusals, which otherwise speak at a commit."""
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("SET CONSTRAINTS ALL DEFERRED")
        assert invariants.broken(self.accepted) == []
        self.seen.update(set(AtomicOperation.objects.values_list("status", flat=True)))

    def teardown(self) -> None:
        """Let recovery finish what is under way, judge, and leave no trace."""
        try:
            self._recover()
            self.nothing_is_broken()
            self.ended.update(invariants.endings().values())
        finally:
            transaction.set_rollback(True)
            self._all.__exit__(None, None, None)

    def runs(self) -> list[AtomicOperation]:
        """Every clearing run so far, in order."""
        found = AtomicOperation.objects.filter(operation_type=OperationType.WINDOW_CLEARING)
        return list(found.select_related("window").order_by("window_id", "created_at", "started_at"))

    def _recover(self) -> None:
        for path in self.armoury.iterdir():
            path.unlink()
        for hours in range(2, ROUNDS_MAX):  # every round is past any lease and any back-off of the one before
            if not invariants.unrest(deployed=False):
                return
            for shut in ClearingWindow.objects.filter(status=WindowStatus.CLOSED):
                self._attempt(partial(pipeline.clear, shut, at=timezone.now()))  # as the tick does
            self._attempt(partial(recovery.sweep, at=timezone.now() + timedelta(hours=hours)))
            for run in self.runs():
                while self._attempt(partial(self._next_step, run)):
                    pass
        assert invariants.unrest(deployed=False) == [], "recovery did not get there"

    def _attempt(self, call: Callable[[], object]) -> bool:
        """Call as a worker or an operator does; refusals and failures are answers, a death is silence."""
        try:
            return bool(call())
        except (ClearingError, FaultInjected, Died) as answer:
            self.seen[type(answer).__name__] += 1
            return False

    def _next_step(self, run: AtomicOperation) -> bool:
        """Do the next task of a run's canvas; False if there is none."""
        operation = steps.get(run.pk)
        if operation.rolling_back_at is not None and operation.status != OperationStatus.ROLLED_BACK:
            return self._deliver(run, "roll_back", 0, 0)
        if operation.status == OperationStatus.COMMITTED:
            if operation.window.status == WindowStatus.COMPLETED:
                return False
            return self._deliver(run, "settle", 0, 0)
        if operation.status != OperationStatus.IN_PROGRESS:
            return False
        done = operation.checkpoints.filter(status="Applied").count()
        if done == 0:
            pipeline.advance(run.pk)
        elif done == 2:
            for currency in pipeline._currencies(operation.window_id):
                self._deliver(run, "net_currency", currency, 0)
            self._deliver(run, "seal", 0, 0)
        else:
            self._deliver(run, {1: "collect", 3: "instruct", 4: "settle"}[done], 0, 0)
        return True

    def _deliver(self, run: AtomicOperation, task: str, currency: int, late_by: int | None) -> bool:
        key = str(run.pk)
        token = None if late_by is None else Dispatch.objects.get(pk=run.pk).count - late_by
        if task == "roll_back":
            pipeline.roll_back(key)
        elif task == "net_currency":
            pipeline.net_currency(key, currency, token)
        else:
            getattr(pipeline, task)(key, token)
        return True


def die(pid: int, number: int) -> None:
    """What SIGKILL is to this process."""
    assert number == signal.SIGKILL
    raise Died


def play_what_no_draw_may_miss() -> None:
    """One example for each way a window ends, with a failure and a death on the way."""
    owed = [(A, B, 5_00, "USD"), (B, C, 3_00, "JPY")]
    for points, action in ((["obligations_collected.between"], "kill"), (["currency.between"], "raise")):
        completes = Cycle()
        completes.begin_with(owed=owed, points=points, action=action)
        (run,) = completes.runs()
        while completes._attempt(partial(completes._next_step, run)):
            pass
        completes.teardown()
    short = Cycle()
    short.begin_with(owed=[(POOR, A, 5_00, "USD")], points=[], action="raise")
    short.teardown()
    hopeless = Cycle()
    hopeless.begin_with(owed=owed, points=[], action="raise")
    (run,) = hopeless.runs()
    operations.roll_back(run.pk, at=timezone.now(), reason="operator says so")
    windows.give_up(run.window, at=timezone.now(), reason="operator says so")
    hopeless.teardown()


def test_whatever_happens_in_whatever_order_every_window_ends_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    lost: list[Any] = []
    monkeypatch.setitem(django_settings.CLEARING, "FAULTS", str(tmp_path))
    monkeypatch.setitem(django_settings.CLEARING, "MIN_NETTING_EFFICIENCY", 0.0)
    monkeypatch.setattr(pipeline, "_publish", lost.append)
    monkeypatch.setattr(faults, "os", SimpleNamespace(kill=die, getpid=lambda: 0))
    Cycle.armoury = tmp_path
    Cycle.ended.clear()
    Cycle.seen.clear()
    play_what_no_draw_may_miss()

    run_state_machine_as_test(
        Cycle,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_MAX,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            phases=[Phase.generate],  # shown as drawn: to shrink a failure takes longer than to read it
            database=None,
        ),
    )

    record_property("windows by how they ended", dict(Cycle.ended))
    record_property("operations and answers seen", dict(Cycle.seen))
    assert set(Cycle.ended) == {"Completed", "RolledBack", "Failed"}, Cycle.ended
    missed = {"Committed", "RolledBack", "Died", "FaultInjected"} - set(Cycle.seen)
    assert not missed, Cycle.seen
    assert lost
