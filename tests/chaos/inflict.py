"""Do to a running cluster what a plan's fault says."""

import logging
import random
import threading
from collections.abc import Callable
from functools import partial

import redis
from django.db import connection
from django.utils import timezone

from clearing import operations, pipeline, recovery
from clearing.models import AtomicOperation
from clearing.states import OperationStatus, OperationType
from clearing_project.errors import ClearingError
from tests.chaos.cluster import CONFIRMATIONS, OUTSIDE, Cluster
from tests.chaos.plan import AWAY_SECONDS, HANG_SECONDS, Fault

logger = logging.getLogger(__name__)


class Tormentor:
    """
    Inflicts faults on *cluster*; what chance decides comes from *chance*.

    A fault may last (``poison``), so ``keep_up`` is called again and again.
    """

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.cluster = cluster
        self.chance = chance
        self.struck: set[Fault] = set()
        self._armed: list[Fault] = []
        self._table: dict[str, Callable[[], object]] = {
            "kill worker child": lambda: cluster.kill_child(self._worker(), chance),
            "kill worker": lambda: cluster.kill(self._worker()),
            "pause worker child": lambda: cluster.pause_child(self._worker(), chance, seconds=HANG_SECONDS),
            "kill Beat": lambda: cluster.kill("beat"),
            "kill relay": lambda: cluster.kill("relay"),
            "restart PostgreSQL": self._restart_postgres,
            "restart Redis": lambda: cluster.restart(cluster.redis),
            "lose Redis": cluster.lose_redis,
            "flush Redis": self._flush,
            "restart NATS": lambda: cluster.restart(cluster.nats),
            "dispatch twice": self._dispatch_twice,
            "two sweeps": self._sweep_at_once,
            "errback five times": self._errback_five_times,
            "operator rolls back": self._roll_back,
            "kill engine": lambda: cluster.kill(OUTSIDE),
            "engine away": lambda: cluster.send_away(OUTSIDE, seconds=AWAY_SECONDS),
            "kill confirmations": lambda: cluster.kill(CONFIRMATIONS),
        }

    def inflict(self, fault: Fault) -> None:
        """Do it, or arm it for who gets there; without a run under way some have nobody to strike."""
        if fault.point:
            self._armed.append(fault)
            self.cluster.arm(fault.point, fault.action)
        else:
            if self._table[fault.kind]() is not False:
                self.struck.add(fault)

    def keep_up(self) -> None:
        """Note which armed faults have struck; arm poison again."""
        for fault in self._armed:
            if not self.cluster.is_armed(fault.point):
                self.struck.add(fault)
                if fault.kind == "poison":
                    self.cluster.arm(fault.point, fault.action)

    def relent(self) -> None:
        """No fault strikes from here on."""
        self.keep_up()
        left = self.cluster.disarm()
        self.struck |= {fault for fault in self._armed if fault.point not in left}
        self._armed.clear()

    def _worker(self) -> str:
        return self.chance.choice(("worker-1", "worker-2"))

    def _live(self) -> list[AtomicOperation]:
        live = (OperationStatus.IN_PROGRESS, OperationStatus.COMMITTED, OperationStatus.ROLLBACK_FAILED)
        runs = AtomicOperation.objects.filter(
            operation_type=OperationType.WINDOW_CLEARING,
            status__in=live,
            window__status__in=("Closed", "RolledBack", "Processing", "Settling"),
        )
        return list(runs.order_by("created_at"))

    def _restart_postgres(self) -> None:
        connection.close()
        self.cluster.restart(self.cluster.postgres)

    def _flush(self) -> None:
        with redis.Redis.from_url(self.cluster.redis.url) as client:
            client.flushall()

    def _dispatch_twice(self) -> bool:
        live = self._live()
        for operation in live:
            for _ in range(2):
                _attempt(partial(pipeline.send, operation.pk))
        return bool(live)

    def _sweep_at_once(self) -> None:
        threads = [threading.Thread(target=_sweep) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _errback_five_times(self) -> bool:
        live = self._live()
        for operation in live[:1]:
            operations.condemn(operation.pk, RuntimeError("the machine broke"), at=timezone.now())
            for _ in range(5):
                pipeline.roll_back.delay(str(operation.pk))
        return bool(live)

    def _roll_back(self) -> bool:
        live = self._live()
        for operation in live[:1]:
            roll_back = partial(operations.roll_back_window, operation.window_id)
            _attempt(partial(roll_back, at=timezone.now(), reason="operator says so"))
        return bool(live)


def _sweep() -> None:
    try:
        recovery.sweep(at=timezone.now())
    finally:
        connection.close()


def _attempt(call: Callable[[], object]) -> None:
    """Call as an operator does, who takes a refusal for an answer."""
    try:
        call()
    except ClearingError as refusal:
        logger.info("refused: %s", refusal)
