"""The Content-Security-Policy of each page, by its path."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from clearing_project.security import policy


class PolicyByPath(CSPMiddleware):
    """django-csp's middleware with ``security.POLICIES`` instead of one policy for all."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Choose by the path; there is no policy that only reports."""
        return PolicyParts(config={} if report_only else policy(request.path_info))
