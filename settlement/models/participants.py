"""Who clears, and in which currencies."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from clearing_project.constraints import choices_check
from settlement.states import ParticipantKind, ParticipantStatus

AGENT_CODE = "AGENT"
FUNDING_CODE = "FUNDING"


class Currency(models.Model):
    """A currency that clears here. The key is its ISO 4217 number: it fits a smallint in each obligation."""

    id = models.SmallIntegerField(primary_key=True, help_text="ISO 4217 numeric code")
    code = models.CharField(max_length=3, unique=True, help_text="ISO 4217 letters")
    exponent = models.SmallIntegerField(help_text="digits after the decimal point")
    is_enabled = models.BooleanField(default=True, help_text="obligations in it are accepted")

    class Meta:
        ordering = ["code"]
        verbose_name_plural = "currencies"
        constraints = [
            models.CheckConstraint(
                name="currency_code_iso", condition=Q(code__regex=r"^[A-Z]{3}$", id__gt=0, id__lt=1000)
            ),
            models.CheckConstraint(
                name="currency_exponent_range", condition=Q(exponent__gte=0, exponent__lte=4)
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Participant(models.Model):
    """A member that owes and is owed; also the settlement agent and the source of prefunding."""

    id = models.AutoField(primary_key=True)
    code = models.CharField(max_length=16, unique=True, help_text="BIC or another short code")
    name = models.CharField(max_length=140)
    country = models.CharField(max_length=2, blank=True, default="")
    kind = models.CharField(
        max_length=8, choices=ParticipantKind.choices, default=ParticipantKind.MEMBER, db_default="Member"
    )
    status = models.CharField(
        max_length=16,
        choices=ParticipantStatus.choices,
        default=ParticipantStatus.ACTIVE,
        db_default="Active",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                name="participant_code_shape", condition=Q(code__regex=r"^[A-Z0-9][A-Z0-9_-]{1,15}$")
            ),
            choices_check("status", ParticipantStatus, name="participant_status"),
            choices_check("kind", ParticipantKind, name="participant_kind"),
            models.UniqueConstraint(
                fields=["kind"], condition=~Q(kind="Member"), name="one_agent_one_funding_source"
            ),
        ]

    def __str__(self) -> str:
        return self.code
