"""Webhooks: where events go over HTTP, and how each delivery stands."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from clearing.models.events import WindowEvent
from clearing.states import Region


class WebhookEndpoint(models.Model):
    """An address that is told events; its secret is derived, so none is stored."""

    name = models.CharField(max_length=100, unique=True)
    url = models.URLField(max_length=500, help_text="https, of a public address")
    region = models.CharField(
        max_length=16, blank=True, default="", choices=Region.choices, help_text="empty: every region"
    )
    is_active = models.BooleanField(default=True, help_text="inactive: nothing is sent, nothing is forgotten")
    secret_version = models.PositiveIntegerField(default=1, editable=False)
    previous_until = models.DateTimeField(
        null=True, editable=False, help_text="until then the secret before signs as well"
    )
    planned_through = models.BigIntegerField(
        default=0, editable=False, help_text="every event up to this number has its delivery"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One event for one endpoint: waiting, delivered, or dead after the last attempt."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(WindowEvent, on_delete=models.PROTECT, related_name="+")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True, help_text="given up; an operator may have it sent again")
    answer = models.CharField(max_length=200, blank=True, default="", help_text="of the last attempt")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="one_delivery_per_event"),
            models.CheckConstraint(
                name="delivered_or_dead", condition=Q(delivered_at=None) | Q(dead_at=None)
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"], condition=Q(delivered_at=None, dead_at=None), name="delivery_waiting"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"

    @property
    def status(self) -> str:
        """Where it stands, in a word."""
        return "Delivered" if self.delivered_at else "Dead" if self.dead_at else "Waiting"
