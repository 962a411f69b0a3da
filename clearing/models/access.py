"""API tokens with roles, and the answers kept for idempotency keys."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from clearing_project.constraints import choices_check
from settlement.models import Participant


class Role(models.TextChoices):
    """What a token may do."""

    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    PARTICIPANT = "participant"


class ApiToken(models.Model):
    """A user's token; only its SHA-256 is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    role = models.CharField(max_length=16, choices=Role.choices)
    participant = models.ForeignKey(Participant, null=True, blank=True, on_delete=models.PROTECT)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            choices_check("role", Role, name="token_role"),
            models.CheckConstraint(
                name="participant_token_names_participant",
                condition=Q(role="participant", participant__isnull=False)
                | (~Q(role="participant") & Q(participant=None)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class IdempotencyRecord(models.Model):
    """The answer given to a caller's Idempotency-Key, kept in the transaction that did the work."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body")
    status_code = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_answer_per_key")]
