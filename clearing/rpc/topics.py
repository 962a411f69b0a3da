"""What streams follow: a region's events, and where a window's instructions stand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet

from clearing import operations, windows
from clearing.events import feed
from clearing.events.feed import Cursor
from clearing.models import WindowEvent
from clearing.rpc.hub import Topic
from clearing.states import FINAL_WINDOW, Region
from settlement.models import Execution, SettlementInstruction
from settlement.states import InstructionStatus


class RegionEvents(Topic[WindowEvent]):
    """A region's events from the outbox."""

    def __init__(self, region: Region) -> None:
        super().__init__()
        self._region = region
        self._cursor = Cursor({})

    def start(self) -> None:
        """Begin after what is there."""
        self._cursor = feed.now(self._region)

    def read(self) -> list[WindowEvent]:
        """Read what was committed since."""
        return [event for event in feed.after(self._region, self._cursor) if self._cursor.advance(event)]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one instruction stands."""

    id: UUID
    status: InstructionStatus
    payer_id: int
    payee_id: int
    payer: str
    payee: str
    currency: str
    amount_minor: int
    created_at: datetime
    settled_at: datetime | None
    is_withdrawn: bool = False


class WindowInstructions(Topic[Standing]):
    """
    A window's instructions and their statuses, until the window ends.

    Statuses only move forward, but where a failed instruction is tried again, which adds an attempt. So the
    counts change whenever a status does: a round that finds them as they were reads no rows.
    """

    def __init__(self, window_id: int) -> None:
        super().__init__()
        self.standings: dict[UUID, Standing] = {}
        self._window_id = window_id
        self._seen: tuple[UUID | None, dict[str, int], int] = (None, {}, 0)
        self._is_over = self._was_over = False

    @property
    def is_over(self) -> bool:
        """Whether the window has ended."""
        return self._is_over

    def start(self) -> None:
        """
        Read the instructions as they stand.

        Raises:
            UnknownWindow
        """
        self._keep(self.read())

    def read(self) -> list[Standing]:
        """Read the instructions that changed; of a run that was rolled back they are withdrawn."""
        window = windows.get(self._window_id)
        run = operations.live_clearing(self._window_id)
        batch = SettlementInstruction.objects.none()
        if run is not None:
            batch = SettlementInstruction.objects.filter(batch_id=run.pk)
        counts = dict(batch.order_by().values_list("status").annotate(Count("id")))
        retries = Execution.objects.filter(batch_id=run.pk, attempt__gt=1).count() if run else 0
        seen = (run.pk if run else None, counts, retries)
        changed: list[Standing] = []
        if seen != self._seen:
            found = {standing.id: standing for standing in _standings(batch)}
            changed = [gone for key, gone in self.standings.items() if key not in found]
            changed = [_withdrawn(standing) for standing in changed]
            changed += [each for each in found.values() if self.standings.get(each.id) != each]
            self._seen = seen
        self._was_over = window.status in FINAL_WINDOW
        return changed

    def take(self, items: list[Standing]) -> None:
        """Keep what changed for those who come later, and hand it to everyone."""
        self._keep(items)
        super().take(items)

    def _keep(self, items: list[Standing]) -> None:
        for standing in items:
            if standing.is_withdrawn:
                del self.standings[standing.id]
            else:
                self.standings[standing.id] = standing
        self._is_over = self._was_over


def _standings(batch: QuerySet[SettlementInstruction]) -> Iterator[Standing]:
    rows = batch.select_related("payer", "payee", "currency")
    for row in rows.order_by("currency__code", "payer__code", "payee__code"):
        yield Standing(
            id=row.pk,
            status=InstructionStatus(row.status),
            payer_id=row.payer_id,
            payee_id=row.payee_id,
            payer=row.payer.code,
            payee=row.payee.code,
            currency=row.currency.code,
            amount_minor=row.amount_minor,
            created_at=row.created_at,
            settled_at=row.settled_at,
        )


def _withdrawn(standing: Standing) -> Standing:
    return replace(standing, status=InstructionStatus.FAILED, is_withdrawn=True)
