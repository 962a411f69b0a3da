"""Play plans on a cluster, one after the other, and judge each by the invariants."""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import nats
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from nats.js.api import ConsumerConfig, DeliverPolicy

from clearing import corrections, interventions, pipeline, windows
from clearing.events.catalog import STREAM, SUBJECTS
from clearing.models import AtomicOperation, ClearingWindow, Limit, RegionSchedule
from clearing.obligations import Submission, submit
from clearing.states import NettingMode, Region, Transfers, WindowStatus
from clearing_project.errors import ClearingError
from netting import money
from settlement import accounts, participants
from settlement.models import Execution, SettlementInstruction
from settlement.states import InstructionStatus
from tests.chaos import invariants, outside
from tests.chaos.cluster import Cluster
from tests.chaos.inflict import Tormentor
from tests.chaos.plan import CURRENCIES, MEMBERS, POOR, RICH_MINOR, Owed, Plan, Round
from tests.database import together

logger = logging.getLogger(__name__)

REST_SECONDS, UNHURRIED_SECONDS = 60.0, 300.0  # what is not at rest by then is stuck
POLL_SECONDS = 0.1
LINGER_SECONDS, SCENARIO_SECONDS = 1.5, 20.0  # how long a point stays armed after the last round
BEAT_MILLISECONDS = 300
SWEEP, TICK = "clearing.tasks.sweep", "clearing.tasks.tick"
MODES = {
    Region.GLOBAL: (NettingMode.MULTILATERAL, Transfers.AGENT),
    Region.ADGM: (NettingMode.MULTILATERAL, Transfers.DIRECT),
    Region.EUROPE: (NettingMode.CONSERVATIVE, Transfers.AGENT),
    Region.AMERICAS: (NettingMode.BILATERAL, Transfers.AGENT),
    Region.ASIA_PACIFIC: (NettingMode.GROSS, Transfers.AGENT),
}
Verb = Callable[..., Execution]
FAILED_VERBS: dict[str, Verb] = {"try again": interventions.retry, "by hand": interventions.settle_by_hand}


@dataclass
class Outcome:
    """How a run ended."""

    seed: int
    recovery_seconds: float = 0.0
    endings: dict[str, int] = field(default_factory=dict)  # its windows by final status
    faults: list[tuple[str, str, bool]] = field(default_factory=list)  # kind, point, whether it struck
    orders: dict[str, int] = field(default_factory=dict)  # orders by what the engine outside did to them
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


class Driver:
    """Plays plans on one cluster; the database, like a real one, goes on from run to run."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.accepted: dict[str, tuple[int, int]] = {}
        self.runs = 0
        self._acted_at = 0.0
        self._violated: set[str] = set()
        self._read_up_to = 0
        self._seen: dict[str, int] = {}  # events in JetStream: how often each
        self._last_sequence: dict[int, int] = {}

    def set_up(self) -> None:
        """Migrate, open accounts, let Beat knock three times a second, and start the engine."""
        call_command("migrate", verbosity=0, interactive=False)
        for number in range(MEMBERS):
            self._join(self._code(number), balance_minor=RICH_MINOR)
        self._limit(self._code(0))
        for region, (mode, transfers) in MODES.items():
            RegionSchedule.objects.filter(pk=region).update(
                is_enabled=True, netting_mode=mode, transfers=transfers
            )
        if self.cluster.hurried:
            pace, _ = IntervalSchedule.objects.get_or_create(
                every=BEAT_MILLISECONDS * 1000, period=IntervalSchedule.MICROSECONDS
            )
            # A knock that waited for a second is worth nothing: on a busy machine they would fill the queue.
            PeriodicTask.objects.filter(task__in=(SWEEP, TICK)).update(interval=pace, expire_seconds=1)
        call_command("tick")
        self.cluster.launch()

    def enable_sweep(self, *, enabled: bool) -> None:
        """Let Beat send the sweep, or not: what shows that the suite would notice its absence."""
        PeriodicTask.objects.filter(task=SWEEP).update(enabled=enabled)
        PeriodicTasks.update_changed()
        self.cluster.kill("beat")  # what starts again reads its table anew

    def play(self, plan: Plan, *, patience_seconds: float = 0) -> Outcome:
        """Play one run to its end and judge it."""
        patience_seconds = patience_seconds or (REST_SECONDS if self.cluster.hurried else UNHURRIED_SECONDS)
        self.runs += 1
        outcome = Outcome(plan.seed)
        self._join(self._code(-1), balance_minor=0)
        tormentor = Tormentor(self.cluster, random.Random(plan.seed))
        if self.cluster.outside:
            self.cluster.start_engine(seed=plan.seed if plan.engine else 0, faults=plan.engine)
        told = outside.length(self.cluster.book)
        window_ids = self._act(plan, tormentor)
        self._until_reached(plan, tormentor)
        tormentor.relent()
        last_at = max(self._acted_at, self._struck_at())
        restless = self._wait_for_rest(patience_seconds)
        outcome.recovery_seconds = round(time.time() - last_at, 2)
        outcome.faults = [(each.kind, each.point, each in tormentor.struck) for each in plan.faults]
        if not restless:
            self._correct(plan, window_ids)
            self._last_words(plan, window_ids)
            self._settle_failed(plan)
            restless = self._wait_for_rest(patience_seconds)
        found = restless + _patiently(partial(invariants.broken, self.accepted))
        if self.cluster.outside and not restless:
            found += outside.broken(self.cluster.book)
            outcome.orders = outside.modes(self.cluster.book, since=told)
        if not restless:
            found += asyncio.run(self._read_stream())
        outcome.violations = [each for each in found if each not in self._violated]
        self._violated |= set(found)
        ended = invariants.endings()
        outcome.endings = dict(Counter(ended[window_id] for window_id in window_ids if window_id in ended))
        for taken in self.cluster.armoury.glob("*.taken"):
            taken.unlink()
        return outcome

    def _act(self, plan: Plan, tormentor: Tormentor) -> list[int]:
        """Do what the plan says when it says so; return the run's windows."""
        since, window_ids = time.time(), []
        script: list[tuple[float, Callable[[], int | None]]] = [
            *((each.at, partial(tormentor.inflict, each)) for each in plan.faults),
            *((each.at, partial(self._round, each, number)) for number, each in enumerate(plan.rounds)),
        ]
        for at, act in sorted(script, key=lambda entry: entry[0]):
            while time.time() < since + at:
                tormentor.keep_up()
                time.sleep(0.02)
            made = act()
            if made is not None:
                window_ids.append(made)
            self._acted_at = time.time()
        return sorted(set(window_ids))

    def _round(self, each: Round, number: int) -> int:
        """Send a round's obligations and let the window's cutoff be now."""
        window = _until_accepting(each.region)
        sent = [self._submission(owed, f"{number}-{place}") for place, owed in enumerate(each.owed)]
        if sent:
            taken = submit(
                sent, region=each.region, submitter="OPERATOR", at=timezone.now(), all_or_nothing=True
            )
            assert taken.window_id == window.pk, taken
            for owed in each.owed:
                count, total = self.accepted.get(owed.currency, (0, 0))
                self.accepted[owed.currency] = count + 1, total + owed.amount_minor
        ClearingWindow.objects.filter(pk=window.pk).update(cutoff_at=timezone.now())
        return window.pk

    def _code(self, number: int) -> str:
        """A member's code; each run has a poor one of its own."""
        return f"{POOR}-{self.runs}" if number < 0 else f"BANK-{number}"

    def _join(self, member: str, *, balance_minor: int) -> None:
        """Let a member in, with accounts and so much money in each."""
        participants.register(member, name=f"The {member}", country="BE")
        for currency in CURRENCIES:
            accounts.open_account(member, currency)
            if balance_minor:
                accounts.fund(
                    member,
                    currency,
                    amount_minor=balance_minor,
                    reference=f"prefunding-{member}-{currency}",
                    at=timezone.now(),
                )

    def _limit(self, member: str) -> None:
        """Give a member limits that it never reaches, so that what it owes is counted along."""
        for currency in CURRENCIES:
            Limit.objects.create(
                participant=participants.get(member),
                currency=participants.currency(currency),
                amount_minor=10**15,
            )

    def _submission(self, owed: Owed, place: str) -> Submission:
        return Submission(
            reference=f"run-{self.runs}-{place}",
            payer=self._code(owed.payer),
            payee=self._code(owed.payee),
            currency=owed.currency,
            amount=money.format_minor(owed.amount_minor, owed.currency),
        )

    def _until_reached(self, plan: Plan, tormentor: Tormentor) -> None:
        """Leave armed points a while: a scenario of one fault waits until somebody gets there."""
        deadline = time.time() + (LINGER_SECONDS if plan.seed else SCENARIO_SECONDS)
        while len(tormentor.struck) < len(plan.faults) and time.time() < deadline:
            tormentor.keep_up()
            time.sleep(0.02)

    def _struck_at(self) -> float:
        """When an armed fault struck last; 0 if none did."""
        return max((path.stat().st_ctime for path in self.cluster.armoury.glob("*.taken")), default=0.0)

    def _wait_for_rest(self, seconds: float) -> list[str]:
        """Wait until nothing is under way; what still is when *seconds* are over."""
        deadline = time.time() + seconds
        while True:
            found = _patiently(invariants.unrest)
            if not found or time.time() > deadline:
                return [f"after {seconds:.0f} s {each}" for each in found]
            time.sleep(POLL_SECONDS)

    def _last_words(self, plan: Plan, window_ids: list[int]) -> None:
        """Let the operator decide about the windows that are rolled back."""
        rolled_back = ClearingWindow.objects.filter(pk__in=window_ids, status=WindowStatus.ROLLED_BACK)
        for window, word in zip(rolled_back.order_by("id"), plan.last_words, strict=False):
            if word == "leave it":
                continue
            self._join(self._code(-1), balance_minor=RICH_MINOR)
            try:
                if word == "give up":
                    windows.give_up(window, at=timezone.now(), reason="operator says so")
                else:
                    pipeline.clear(window, at=timezone.now(), reason="operator says so")
            except ClearingError as refusal:
                logger.info("refused: %s", refusal)

    def _settle_failed(self, plan: Plan) -> None:
        """Let the operator, the engine being repaired, decide about instructions that it failed."""
        failed = SettlementInstruction.objects.filter(status=InstructionStatus.FAILED).order_by(
            "created_at", "id"
        )
        words = [word for word in zip(failed, plan.failed_words, strict=False) if word[1] != "leave it"]
        if not words:
            return
        self.cluster.start_engine()
        for instruction, word in words:
            calls = [partial(_attempted, FAILED_VERBS[word], instruction)] if word in FAILED_VERBS else []
            calls = calls or [partial(_attempted, verb, instruction) for verb in FAILED_VERBS.values()]
            answers = together(*calls)
            done = [each for each in answers if isinstance(each, Execution)]
            assert len(done) == 1, f"{word}: {answers}"

    def _correct(self, plan: Plan, window_ids: list[int]) -> None:
        """Let two operators at once send back what some completed windows settled; one of them does."""
        completed = ClearingWindow.objects.filter(pk__in=window_ids, status=WindowStatus.COMPLETED)
        for window, is_wrong in zip(completed.order_by("id"), plan.corrections, strict=False):
            if is_wrong:
                answers = together(*[partial(_send_back, window)] * 2)
                assert len([each for each in answers if isinstance(each, AtomicOperation)]) < 2, answers
                logger.info("correcting %s: %s", window, answers)

    async def _read_stream(self) -> list[str]:
        """Compare what JetStream has with the outbox: each event once, in order per window."""
        written = await asyncio.to_thread(_event_ids)
        client = await nats.connect(self.cluster.nats.url)
        found: list[str] = []
        try:
            stream = client.jetstream()
            last = (await stream.stream_info(STREAM)).state.last_seq
            if last > self._read_up_to:
                start = ConsumerConfig(
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self._read_up_to + 1,
                    filter_subjects=SUBJECTS,
                )
                reader = await stream.pull_subscribe(SUBJECTS[0], stream=STREAM, config=start)
                while self._read_up_to < last:
                    for message in await reader.fetch(min(500, last - self._read_up_to), timeout=5):
                        await message.ack()
                        self._read_up_to = message.metadata.sequence.stream
                        found += self._note(json.loads(message.data))
                await reader.unsubscribe()
        finally:
            await client.close()
        missing = written - self._seen.keys()
        return found + ([f"{len(missing)} events are not in JetStream"] if missing else [])

    def _note(self, event: dict[str, Any]) -> list[str]:
        key, window_id = event["event_id"], event["window_id"]
        self._seen[key] = self._seen.get(key, 0) + 1
        expected = self._last_sequence.get(window_id, 0) + 1
        self._last_sequence[window_id] = event["sequence"]
        if self._seen[key] > 1:
            return [f"JetStream has event {key} twice"]
        if event["sequence"] != expected:
            return [f"JetStream has event {event['sequence']} of window {window_id} in place of {expected}"]
        return []


def _attempted(verb: Verb, instruction: SettlementInstruction) -> Execution:
    return verb(instruction.pk, actor="chaos", reason="operator says so", at=timezone.now())


def _send_back(window: ClearingWindow) -> AtomicOperation:
    return corrections.correct(window, at=timezone.now(), reason="operator says so", by="chaos")


def _until_accepting(region: Region) -> ClearingWindow:
    """The region's accepting window; the tick may be about to open it, or PostgreSQL to come back."""
    deadline = time.time() + REST_SECONDS
    while True:
        try:
            window = windows.accepting(region)
            if window.cutoff_at > timezone.now():
                return window
        except windows.NoAcceptingWindow:
            logger.info("no accepting window in %s yet", region)
        except (OperationalError, InterfaceError):
            connection.close()
        assert time.time() < deadline, f"{region} never got an accepting window"
        time.sleep(0.02)


def _patiently(ask: Callable[[], list[str]]) -> list[str]:
    """Ask the database once more if it was restarted since the last question."""
    try:
        return ask()
    except (OperationalError, InterfaceError):
        connection.close()
        return ask()


def _event_ids() -> set[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT event_id::text FROM clearing_windowevent")
            return {row[0] for row in cursor.fetchall()}
    finally:
        connection.close()
