"""What a deployment is refused without, and what its settings then are."""

import os
import subprocess
import sys
from typing import Any

import environ
import pytest

from clearing_project import security
from clearing_project.stack.runtime import REPOSITORY

SOUND = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DATABASE = "postgres://clearing@127.0.0.1:1/clearing"


def environment(**variables: str) -> environ.Env:
    """An environment of a test's own."""
    made = environ.Env()
    made.ENVIRON = variables
    return made


def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with these variables alone."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "DATA_DIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**keep, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_settings_pass_every_check_of_django() -> None:
    checked = started(
        *("manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        DATABASE_URL=DATABASE,
        SECRET_KEY=SOUND,
    )

    assert checked.returncode == 0, checked.stderr
    assert "no issues (0 silenced)" in checked.stdout


@pytest.mark.parametrize("key", [None, "", "short", security.INSECURE_SECRET_KEY, SOUND[:31]])
def test_a_deployment_without_a_secret_does_not_start(key: str | None) -> None:
    given = {} if key is None else {"SECRET_KEY": key}

    with pytest.raises(SystemExit, match="SECRET_KEY"):
        security.secret_key(environment(DATABASE_URL=DATABASE, **given), debug=False)


def test_the_refusal_ends_the_program() -> None:
    refused = started("-c", "import clearing_project.settings", DATABASE_URL=DATABASE)

    assert refused.returncode == 1
    assert refused.stderr.startswith("SECRET_KEY is not set")


def test_a_sound_secret_is_taken_and_checks_need_none() -> None:
    assert security.secret_key(environment(DATABASE_URL=DATABASE, SECRET_KEY=SOUND), debug=False) == SOUND
    assert security.secret_key(environment(), debug=False) == security.INSECURE_SECRET_KEY


def test_a_site_is_reached_over_https_alone_unless_told_otherwise() -> None:
    on = security.https(environment(), debug=False)
    off = security.https(environment(HTTPS="false"), debug=False)

    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        assert (on[name], off[name]) == (True, False)
    assert (on["SECURE_HSTS_SECONDS"], off["SECURE_HSTS_SECONDS"]) == (365 * 24 * 3600, 0)


def test_a_proxy_is_believed_only_if_it_is_named() -> None:
    def told(**variables: str) -> Any:
        return security.https(environment(**variables), debug=False)["SECURE_PROXY_SSL_HEADER"]

    assert told() is None
    assert told(HTTPS_PROXY_HEADER="X-Forwarded-Proto") == ("HTTP_X_FORWARDED_PROTO", "https")


def test_the_policy_of_each_page_is_the_strictest_it_can_bear() -> None:
    assert "script-src" not in security.policy("/")
    assert security.policy("/")["default-src"] == ["'self'"]
    assert "'unsafe-eval'" in security.policy("/admin/")["script-src"]
    assert "'unsafe-eval'" not in security.policy("/api/docs")["script-src"]
    for path in ("/", "/admin/", "/api/docs", "/api/redoc", "/metrics"):
        assert security.policy(path)["frame-ancestors"] == ["'none'"]
        assert security.policy(path)["object-src"] == ["'none'"]
