"""The pinned requirement files say what the .in files ask for, and nothing of where they came from."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clearing_project.stack.runtime import REPOSITORY

NAMES = (
    "requirements",
    "requirements-embedded",
    "requirements-dev",
    "requirements-otel",
    "requirements-setup",
)


def wished(name: str) -> list[tuple[Requirement, str]]:
    """Each requirement of an .in file, and the reason beside it."""
    lines = (REPOSITORY / f"{name}.in").read_text().splitlines()
    asked = [line.partition("#") for line in lines if line and not line.startswith(("#", "-c"))]
    return [(Requirement(requirement.strip()), reason.strip()) for requirement, _, reason in asked]


def pinned(path: Path) -> dict[str, list[Requirement]]:
    """Each pin of a .txt file; a package may be pinned once for each range of Pythons."""
    lines = re.findall(r"^([A-Za-z0-9].*?) ?\\?$", path.read_text(), re.MULTILINE)
    pins: dict[str, list[Requirement]] = {}
    for pin in map(Requirement, lines):
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


@pytest.mark.parametrize("name", NAMES)
def test_every_wish_is_pinned_within_its_range(name: str) -> None:
    pins = pinned(REPOSITORY / f"{name}.txt")

    for requirement, _ in wished(name):
        found = pins[canonicalize_name(requirement.name)]
        versions = [specifier.version for pin in found for specifier in pin.specifier]
        assert versions
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_hashes_and_no_file_names_an_index(name: str) -> None:
    text = (REPOSITORY / f"{name}.txt").read_text()

    for entry in re.split(r"\n(?=[a-zA-Z0-9])", text)[1:]:
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("name", NAMES[:4])
def test_every_wish_has_a_reason(name: str) -> None:
    assert [str(requirement) for requirement, reason in wished(name) if not reason] == []


def test_files_installed_together_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for name in NAMES:
        for package, pins in pinned(REPOSITORY / f"{name}.txt").items():
            versions.setdefault(package, set()).add("|".join(sorted(str(pin.specifier) for pin in pins)))

    assert {package: found for package, found in versions.items() if len(found) > 1} == {}
