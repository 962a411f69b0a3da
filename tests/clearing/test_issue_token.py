"""``manage.py issue_token``: the token alone on stdout, or one clear line and a status."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from clearing import access
from clearing.models import ApiToken
from clearing.models.access import Role
from tests import factories
from tests.factories import A

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> str:
    """Run the command; return its stdout."""
    out = StringIO()
    call_command("issue_token", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("role", ["operator", "approver", "auditor"])
def test_the_token_alone_is_printed_and_only_its_digest_kept(role: str) -> None:
    printed = issue("ann", "--role", role)

    token = printed.removesuffix("\n")
    assert token.split() == [token]
    found = access.find(token)
    assert found is not None
    assert (found.user.username, found.role, found.participant) == ("ann", role, None)
    assert token not in str(ApiToken.objects.values())


def test_a_second_call_issues_another_token_to_the_same_user() -> None:
    first, second = issue("ann", "--role", "operator"), issue("ann", "--role", "auditor")

    assert first != second
    assert User.objects.count() == 1
    assert [access.find(token.strip()) is not None for token in (first, second)] == [True, True]


def test_a_participants_token_names_its_participant() -> None:
    factories.participant()

    found = access.find(issue("ann", "--role", "participant", "--participant", A).strip())

    assert found is not None
    assert found.participant is not None
    assert (found.role, found.participant.code) == (Role.PARTICIPANT, A)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ann", "--role", "participant"], "participant_required"),
        (["ann", "--role", "participant", "--participant", ""], "participant_required"),
        (["ann", "--role", "participant", "--participant", "NOBODY"], "unknown_participant"),
        (["ann", "--role", "participant", "--participant", "AGENT"], "unknown_participant"),
        (["ann", "--role", "operator", "--participant", A], "participant_not_allowed"),
        (["a b", "--role", "operator"], "user_name_invalid"),
        (["", "--role", "operator"], "user_name_invalid"),
        (["x" * 151, "--role", "operator"], "user_name_invalid"),
        (["a\x00b", "--role", "operator"], "user_name_invalid"),
        (["gone", "--role", "operator"], "user_inactive"),
        (["ann"], "--role"),
        (["ann", "--role", "king"], "king"),
    ],
)
def test_bad_arguments_issue_nothing(arguments: list[str], says: str) -> None:
    factories.participant()
    User.objects.create_user("gone", is_active=False)

    with pytest.raises(CommandError) as refusal:
        issue(*arguments)

    assert says in str(refusal.value)
    assert refusal.value.returncode != 0
    assert not ApiToken.objects.exists()
    assert list(User.objects.values_list("username", flat=True)) == ["gone"]
