"""What a role may do: each view says it per method, and what is not said is denied."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from clearing.models import ApiToken
from clearing.models.access import Role
from clearing_project.errors import Denied
from settlement.models import Participant


class RoleMissing(Denied):
    """The caller's role does not allow this."""

    code = "permission_denied"
    fields = ("role", "allowed")
    message = "The role {role} may not do this; it takes {allowed}."


class DenyByDefault(BasePermission):
    """Admit the roles that the view's ``access`` names for the method, and nobody else."""

    def has_permission(self, request: Request, view: object) -> bool:
        """
        Tell whether the caller may; a caller without a token is asked for one.

        Raises:
            RoleMissing
        """
        access: dict[str, frozenset[Role]] = getattr(view, "access", {})
        token = request.auth
        if not isinstance(token, ApiToken):
            return False
        roles = access.get(request.method or "", frozenset())
        if token.role not in roles:
            raise RoleMissing(token.role, ", ".join(sorted(roles)) or "none")
        return True


def own_participant(request: Request) -> Participant | None:
    """Return the participant whose figures alone the caller may see; None: it may see all."""
    assert isinstance(request.auth, ApiToken), "a view without a token asked whose it is"
    return request.auth.participant
