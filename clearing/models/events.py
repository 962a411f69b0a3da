"""The outbox: each event is written in the transaction that caused it."""

import uuid

from django.db import models
from django.db.models import Q

from clearing.models.windows import ClearingWindow
from clearing.states import EventType
from clearing_project.constraints import choices_check


class WindowEvent(models.Model):
    """One thing that happened to a window; per window the sequence is gapless from 1."""

    window = models.ForeignKey(
        ClearingWindow, on_delete=models.PROTECT, related_name="events", db_index=False
    )
    sequence = models.PositiveIntegerField()
    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event_type = models.CharField(max_length=24, choices=EventType.choices)
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict)
    published_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            choices_check("event_type", EventType, name="window_event_type"),
            models.UniqueConstraint(fields=["window", "sequence"], name="one_event_per_sequence"),
            models.CheckConstraint(name="event_sequence_from_one", condition=Q(sequence__gte=1)),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(published_at=None), name="event_unpublished"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} #{self.sequence} of window {self.window_id}"
