"""Who calls: the bearer of a token."""

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from clearing import access
from clearing.api.errors import Unauthenticated
from clearing.models import ApiToken
from clearing_project import trace


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer TOKEN``; the request's ``auth`` is the token's row."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """
        Return user and token; None if the request bears none, so that open addresses stay open.

        Raises:
            Unauthenticated: the header is there and names no valid token.
        """
        header = get_authorization_header(request).decode("latin-1")
        if not header:
            return None
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("The authorization is not a bearer's.")
        token = access.find(text.strip())
        if token is None:
            raise Unauthenticated("The token is not valid here, or not any more.")
        trace.bind(caller=token.user.get_username(), role=token.role)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, as an answer 401 must."""
        return 'Bearer realm="clearing"'
