"""
Sixteen writers submit while windows close one after the other: what was acknowledged is in exactly one place.

Nothing here waits for a time: a window closes as soon as enough was acknowledged since the one before, a slow
writer commits as soon as its window has begun to close. The table is printed with ``-s``.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

import pytest
from django.db import connection, transaction

from clearing import windows
from clearing.models import ClearingWindow, LimitCounter, Obligation, ObligationKey, SetAside
from clearing.obligations import acts, submit
from clearing.obligations.acts import CutoffPassed, ObligationCancelled, ObligationHeld, ObligationNotHeld
from clearing.obligations.items import OutcomeStatus
from clearing.states import Region
from tests.chaos import invariants
from tests.clearing.test_limits import limit
from tests.database import PATIENCE_SECONDS, sql
from tests.factories import AT, B, circle, obligation

WRITERS, SLOW_WRITERS, MEDDLERS = 13, 3, 3
CLOSES = 12
EACH = 600  # obligations acknowledged between two closes, at least
HELD_AT_MOST = 900  # obligations a window keeps
BY = acts.Actor("olivia")


@dataclass
class Crowd:
    """What the threads share."""

    at: datetime = AT
    acknowledged: dict[UUID, int] = field(default_factory=dict)
    cancelled: set[UUID] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    grown: threading.Condition = field(default_factory=threading.Condition)
    is_over: threading.Event = field(default_factory=threading.Event)
    closings: int = 0
    closes_ms: list[float] = field(default_factory=list)
    acted: Counter[str] = field(default_factory=Counter)
    miscounted: list[object] = field(default_factory=list)

    def write(self, seed: int) -> None:
        """Submit until it is over; a call in five names the window that its sender believes open."""
        dice = random.Random(seed)
        believed: ClearingWindow | None = None
        for turn in range(1_000_000):
            if self.is_over.is_set():
                return
            self.submit(f"{seed}-{turn}", dice, believed if dice.random() < 0.2 else None)
            if dice.random() < 0.1:
                believed = windows.open_one(Region.GLOBAL)

    def write_slowly(self, seed: int) -> None:
        """Submit, and commit only once the window that took it in has begun to close."""
        dice = random.Random(seed)
        for turn in range(1_000_000):
            if self.is_over.is_set():
                return
            taken: dict[UUID, int] = {}
            with transaction.atomic():
                since = self.closings
                taken = self.take(f"{seed}-{turn}", dice, None)
                self.wait(lambda: self.closings > since)  # noqa: B023 - called at once
            self.acknowledge(taken)

    def submit(self, name: str, dice: random.Random, believed: ClearingWindow | None) -> None:
        self.acknowledge(self.take(name, dice, believed))

    def take(self, name: str, dice: random.Random, believed: ClearingWindow | None) -> dict[UUID, int]:
        """Take up to twelve obligations, a few of them known already; return the new ones."""
        amounts = [dice.randint(1, 10**9) for _ in range(dice.randint(1, 12))]
        items = [
            obligation(amount_minor=each, reference=f"{name}-{place}") for place, each in enumerate(amounts)
        ]
        intake = submit(
            [*items, items[0]],
            region=Region.GLOBAL,
            submitter="@operator",
            at=self.at,
            all_or_nothing=True,
            window=believed,
        )
        return {
            outcome.id: amounts[outcome.index]
            for outcome in intake.outcomes
            if outcome.status == OutcomeStatus.ACCEPTED and outcome.id is not None
        }

    def acknowledge(self, taken: dict[UUID, int]) -> None:
        with self.lock:
            self.acknowledged |= taken
        with self.grown:
            self.grown.notify_all()

    def meddle(self, seed: int) -> None:
        """Cancel, hold and release whatever was acknowledged, and believe the answer."""
        dice = random.Random(seed)
        seen, held = 0, list[UUID]()
        while self.wait(lambda: len(self.acknowledged) > seen):  # noqa: B023 - called at once
            with self.lock:
                known = list(self.acknowledged)[-100:]
                seen = len(self.acknowledged)
            key, verb = dice.choice(known), dice.choice([acts.cancel, acts.hold, acts.hold, acts.release])
            if verb is acts.release and held:
                key = held.pop()
            try:
                verb(key, by=BY, reason="test", at=self.at)
            except (CutoffPassed, ObligationCancelled, ObligationHeld, ObligationNotHeld) as refused:
                self.count(f"{verb.__name__} refused: {refused.code}")
                continue
            self.count(verb.__name__)
            if verb is acts.hold:
                held.append(key)
            if verb is acts.cancel:
                with self.lock:
                    self.cancelled.add(key)

    def count(self, name: str) -> None:
        with self.lock:
            self.acted[name] += 1

    def close_windows(self) -> None:
        """Close a window whenever enough was acknowledged since the last; the slow hear of it in between."""
        try:
            for turn in range(CLOSES):
                enough = len(self.acknowledged) + EACH
                if not self.wait(lambda: len(self.acknowledged) >= enough):  # noqa: B023 - called at once
                    return
                self.at = AT + timedelta(minutes=1 + turn)
                begun = perf_counter()
                closing = windows.begin_close(windows.accepting(Region.GLOBAL), at=self.at)
                with self.grown:
                    self.closings += 1
                    self.grown.notify_all()
                self.miscounted += sql(invariants.ALWAYS[invariants.COUNTERS])
                windows.finish_close(closing, at=self.at)
                self.closes_ms.append(1000 * (perf_counter() - begun))
        finally:
            self.end()

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds; False if it is over before."""
        with self.grown:
            self.grown.wait_for(lambda: condition() or self.is_over.is_set(), PATIENCE_SECONDS)
        return condition()

    def end(self) -> None:
        self.is_over.set()
        with self.grown:
            self.grown.notify_all()

    def run(self) -> None:
        """Let all of them loose at once."""
        works: list[Callable[[], None]] = [self.close_windows]
        works += [lambda seed=seed: self.write(seed) for seed in range(WRITERS)]  # type: ignore[misc]
        works += [lambda seed=seed: self.write_slowly(100 + seed) for seed in range(SLOW_WRITERS)]  # type: ignore[misc]
        works += [lambda seed=seed: self.meddle(200 + seed) for seed in range(MEDDLERS)]  # type: ignore[misc]
        with ThreadPoolExecutor(len(works)) as pool:
            for done in [pool.submit(self.on_own_connection, work) for work in works]:
                done.result()

    def on_own_connection(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self.end()
            raise
        finally:
            connection.close()


def table(crowd: Crowd) -> str:
    """The windows with what is in them, and what is set aside."""
    rows = sql(
        "SELECT window_id, each.status, count(*), sum(amount_minor),"
        " count(*) FILTER (WHERE arrival = 'late'), count(*) FILTER (WHERE arrival = 'overflow'),"
        " count(*) FILTER (WHERE arrival = 'released')"
        " FROM clearing_obligation JOIN clearing_clearingwindow each ON each.id = window_id"
        " GROUP BY window_id, each.status ORDER BY 1"
    )
    rows += sql(
        "SELECT '', status, count(*), sum(amount_minor), 0, 0, 0 FROM clearing_setaside GROUP BY 2 ORDER BY 2"
    )
    rows.append(("", "all", sum(row[2] for row in rows), sum(row[3] for row in rows), 0, 0, 0))
    amounts = crowd.acknowledged.values()
    rows.append(("", "acknowledged", len(amounts), sum(amounts), 0, 0, 0))
    head = f"{'window':>8} {'':<12} {'count':>6} {'sum':>16} {'late':>5} {'overflow':>8} {'released':>8}"
    lines = [
        f"{name:>8} {status:<12} {many:>6} {total:>16} {late:>5} {over:>8} {released:>8}"
        for name, status, many, total, late, over, released in rows
    ]
    spent = sorted(crowd.closes_ms)
    closes = f"{len(spent)} closes: median {spent[len(spent) // 2]:.0f} ms, longest {spent[-1]:.0f} ms"
    return "\n".join(
        [head, *lines, closes, ", ".join(f"{name} {n}" for name, n in sorted(crowd.acted.items()))]
    )


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_with_sixteen_writers_and_windows_closing_all_that_was_acknowledged_is_in_exactly_one_place(
    monkeypatch: pytest.MonkeyPatch, settings: object, record_property: Callable[[str, object], None]
) -> None:
    circle()
    limit(10**15, of=B)  # its counter is kept in every window; a limit of the payer would queue the writers
    monkeypatch.setitem(settings.CLEARING, "MAX_OBLIGATIONS_PER_WINDOW", HELD_AT_MOST)  # type: ignore[attr-defined]
    windows.open_window(Region.GLOBAL, at=AT)
    crowd = Crowd()

    crowd.run()

    shown = table(crowd)
    print(f"\n{shown}")  # noqa: T201 - what the test shows, with -s
    record_property("table", shown)
    accepted = {"USD": (len(crowd.acknowledged), sum(crowd.acknowledged.values()))}
    assert invariants.broken(accepted) == []
    assert crowd.miscounted == []  # looked for at each close, with writers in flight
    assert [counter.window.status for counter in LimitCounter.objects.all()] == ["Open"]
    assert len(crowd.closes_ms) == CLOSES
    in_windows = set(Obligation.objects.values_list("key", flat=True))
    aside = dict(SetAside.objects.values_list("key", "status"))
    assert (
        in_windows | aside.keys()
        == crowd.acknowledged.keys()
        == set(ObligationKey.objects.values_list("key", flat=True))
    )
    assert not in_windows & aside.keys()
    assert {key for key, status in aside.items() if status == "Cancelled"} == crowd.cancelled
    assert crowd.cancelled
    closed = ClearingWindow.objects.filter(status="Closed")
    assert closed.count() == CLOSES
    assert {row.obligations.count() > 0 for row in closed} == {True}
    arrivals = set(Obligation.objects.values_list("arrival", flat=True))
    assert {None, "late", "overflow", "released"} <= arrivals
