"""A cleared, a rolled-back and an open window; an operator, a viewer and a superuser at the door."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from clearing import operations
from clearing.models import ClearingWindow
from clearing.states import Region
from tests import factories


class Scene:
    """Three windows with rows in most tables."""

    def __init__(self) -> None:
        factories.circle()
        self.completed = factories.closed(*factories.story(factories.DAY))
        self.run = factories.settled(self.completed)
        self.rolled_back = factories.closed(*factories.story(factories.DAY))
        undone = factories.running(self.rolled_back, applied=3)
        operations.roll_back(undone.pk, at=factories.AT, reason="test")
        self.open = factories.window()
        factories.take(*factories.story(factories.DAY))
        for window in (self.completed, self.rolled_back, self.open):
            window.refresh_from_db()


@pytest.fixture
def scene(db: None) -> Scene:
    """The windows."""
    return Scene()


@pytest.fixture
def opened(db: None) -> ClearingWindow:
    """An open window of a region whose schedule opens the next one."""
    return factories.window(Region.GLOBAL)


@pytest.fixture
def superuser(db: None) -> Client:
    """A client of a superuser."""
    return client(User.objects.create_superuser("root"))


def staff(name: str, *codenames: str) -> User:
    """Make a staff user with these permissions and no other."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames), codenames
    return user


def client(user: User) -> Client:
    """Log the user in."""
    browser = Client()
    browser.force_login(user)
    return browser
