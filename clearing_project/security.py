"""What protects a deployment: its secret, HTTPS, and what a browser may load for each page."""

from collections.abc import Mapping
from typing import Any

import environ

INSECURE_SECRET_KEY = "insecure-only-for-embedded-servers-on-this-machine"  # noqa: S105  # nosec B105
SECRET_KEY_MIN = 32
YEAR_SECONDS = 365 * 24 * 3600

SELF, NONE = "'self'", "'none'"
STRICT: Mapping[str, list[str]] = {
    "default-src": [SELF],
    "img-src": [SELF, "data:"],
    "object-src": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
INLINE = {"script-src": [SELF, "'unsafe-inline'"], "style-src": [SELF, "'unsafe-inline'"]}
POLICIES: tuple[tuple[str, Mapping[str, list[str]]], ...] = (
    # The admin's theme evaluates attributes (Alpine) and sets styles: nothing of it runs without both.
    ("/admin", {**STRICT, **INLINE, "script-src": [*INLINE["script-src"], "'unsafe-eval'"]}),
    # The pages of the API's document start from a script in the page; ReDoc searches in a worker of a blob.
    ("/api/docs", {**STRICT, **INLINE}),
    ("/api/redoc", {**STRICT, **INLINE, "worker-src": [SELF, "blob:"]}),
)


def secret_key(env: environ.Env, *, debug: bool) -> str:
    """
    Return the secret of the environment; leave the program if a deployment has none worth the name.

    Without DATABASE_URL nothing is served: commands such as ``check`` go on with a key that guards nothing.
    """
    key: str = env.str("SECRET_KEY", default=INSECURE_SECRET_KEY)
    is_deployed = "DATABASE_URL" in env.ENVIRON and not debug
    if is_deployed and (key == INSECURE_SECRET_KEY or len(key) < SECRET_KEY_MIN):
        raise SystemExit(
            f"SECRET_KEY is not set, or has fewer than {SECRET_KEY_MIN} characters. Make one, keep it secret:"
            " python -c 'import secrets; print(secrets.token_urlsafe(64))'"
        )
    return key


def https(env: environ.Env, *, debug: bool) -> dict[str, Any]:
    """Return Django's settings for a site reached over HTTPS alone, unless ``HTTPS`` is false."""
    on = env.bool("HTTPS", default=not debug)
    header = env.str("HTTPS_PROXY_HEADER", default="")
    told = ("HTTP_" + header.upper().replace("-", "_"), "https") if header else None
    return {
        "SECURE_SSL_REDIRECT": on,
        "SECURE_REDIRECT_EXEMPT": [r"^health/", r"^metrics$"],  # asked from inside, without TLS
        "SECURE_HSTS_SECONDS": env.int("HSTS_SECONDS", default=YEAR_SECONDS) if on else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": on,
        "SECURE_HSTS_PRELOAD": on,
        "SECURE_PROXY_SSL_HEADER": told,
        "SESSION_COOKIE_SECURE": on,
        "CSRF_COOKIE_SECURE": on,
    }


def policy(path: str) -> dict[str, list[str]]:
    """Return the Content-Security-Policy of a page at *path*."""
    return dict(next((each for place, each in POLICIES if path.startswith(place)), STRICT))
