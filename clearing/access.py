"""API tokens and what their roles may do. A token is shown once and kept as a digest."""

import hashlib
import secrets

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from clearing.models import ApiToken
from clearing.models.access import Role
from clearing_project.errors import Conflict, Invalid
from settlement import participants

TOKEN_BYTES = 32
TOKEN_MAX = 512  # characters; a longer one is none of ours, and not worth hashing

EVERYONE = frozenset(Role)
STAFF = frozenset({Role.OPERATOR, Role.APPROVER, Role.AUDITOR})  # see every participant's figures
OPERATORS = frozenset({Role.OPERATOR})
APPROVERS = frozenset({Role.APPROVER})  # decide what an operator has found out
SUBMITTERS = frozenset({Role.OPERATOR, Role.PARTICIPANT})


class UnknownRole(Invalid):
    """There is no such role."""

    code = "unknown_role"
    fields = ("role", "known")
    message = "There is no role {role}; there are {known}."


class ParticipantRequired(Invalid):
    """A participant's token says whose it is."""

    code = "participant_required"
    message = "The role participant needs the code of its participant."


class ParticipantNotAllowed(Invalid):
    """Only the role participant belongs to a participant."""

    code = "participant_not_allowed"
    fields = ("role",)
    message = "The role {role} belongs to no participant."


class UserNameInvalid(Invalid):
    """The name cannot be a user's."""

    code = "user_name_invalid"
    fields = ("reason",)
    message = "The user name is invalid: {reason}"


class UserInactive(Conflict):
    """The user was deactivated; a token of it would open nothing."""

    code = "user_inactive"
    fields = ("user",)
    message = "User {user} is deactivated."


def new_token() -> tuple[str, str]:
    """Make a token; return it and the digest to keep. The token itself is shown once and stored nowhere."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, digest(token)


def digest(token: str) -> str:
    """Return what is kept of *token*: SHA-256 in hexadecimal; a random token needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def issue(user_name: str, *, role: str, participant_code: str | None = None) -> str:
    """
    Issue a token to a user, made if there is none of this name; its earlier tokens stay valid.

    Returns:
        The token, which nobody can show again.

    Raises:
        UnknownRole, ParticipantRequired, ParticipantNotAllowed, UnknownParticipant
        UserNameInvalid, UserInactive
    """
    if role not in Role.values:
        raise UnknownRole(role, ", ".join(Role.values))
    if role != Role.PARTICIPANT and participant_code is not None:
        raise ParticipantNotAllowed(role)
    if role == Role.PARTICIPANT and not participant_code:
        raise ParticipantRequired
    participant = participants.get(participant_code) if participant_code else None
    token, kept = new_token()
    ApiToken.objects.create(user=_user(user_name), role=role, participant=participant, digest=kept)
    return token


def find(token: str) -> ApiToken | None:
    """
    Return the valid token of this text, with its user and participant; None if there is none.

    The lookup is by digest, so its duration tells nothing about the token.
    """
    if not 0 < len(token) <= TOKEN_MAX:
        return None
    valid = ApiToken.objects.filter(revoked_at=None, user__is_active=True)
    return valid.select_related("user", "participant").filter(digest=digest(token)).first()


def _user(name: str) -> User:
    try:
        User._meta.get_field("username").clean(name, None)
    except ValidationError as invalid:
        raise UserNameInvalid(" ".join(invalid.messages)) from invalid
    found, _ = User.objects.get_or_create(username=name, defaults={"password": make_password(None)})
    if not found.is_active:
        raise UserInactive(name)
    return found
