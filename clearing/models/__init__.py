"""Tables of the clearing room."""

from clearing.models.access import ApiToken, IdempotencyRecord
from clearing.models.events import WindowEvent
from clearing.models.limits import Limit, LimitChange, LimitCount, LimitCounter
from clearing.models.netting import (
    BilateralPosition,
    FrozenSet,
    GrossPair,
    MultilateralPosition,
    NettingResult,
    ResidualPair,
)
from clearing.models.obligations import (
    HeldTotal,
    Obligation,
    ObligationAct,
    ObligationKey,
    RollOn,
    SetAside,
)
from clearing.models.operations import AtomicOperation, Checkpoint, Dispatch
from clearing.models.pulls import ObligationPull
from clearing.models.schedules import CalendarDay, CalendarYear, RegionSchedule, SpecialDay
from clearing.models.webhooks import WebhookDelivery, WebhookEndpoint
from clearing.models.windows import ClearingWindow, WindowMetrics

__all__ = [
    "ApiToken",
    "AtomicOperation",
    "BilateralPosition",
    "CalendarDay",
    "CalendarYear",
    "Checkpoint",
    "ClearingWindow",
    "Dispatch",
    "FrozenSet",
    "GrossPair",
    "HeldTotal",
    "IdempotencyRecord",
    "Limit",
    "LimitChange",
    "LimitCount",
    "LimitCounter",
    "MultilateralPosition",
    "NettingResult",
    "Obligation",
    "ObligationAct",
    "ObligationKey",
    "ObligationPull",
    "RegionSchedule",
    "ResidualPair",
    "RollOn",
    "SetAside",
    "SpecialDay",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WindowEvent",
    "WindowMetrics",
]
