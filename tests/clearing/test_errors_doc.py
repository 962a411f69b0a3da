"""docs/errors.md lists every code there is, with its status, and no other."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import clearing
import clearing_project
import netting
import settlement
from clearing.api.problems import OWN_NAMES, document, status_of
from clearing_project.errors import ClearingError
from netting.errors import NettingError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: tuple[ModuleType, ...] = (clearing_project, netting, settlement, clearing)
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
LISTED = {code: http for code, http, _, _ in ROWS}
BY_REQUEST = "rolled_back_by_request"  # written by a rollback, raised by nobody
MEMBERS = {"type", "title", "status", "detail", "code"}

Kind = type[ClearingError] | type[NettingError]


def load_everything() -> None:
    """Import every module of ours, so that every error class exists."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)


def kinds() -> Iterator[Kind]:
    """Yield every error class with a code of its own."""
    load_everything()
    found: list[Kind] = [ClearingError, NettingError]
    while found:
        kind = found.pop()
        found.extend(each for each in kind.__subclasses__() if each.__module__.split(".")[0] != "tests")
        if isinstance(kind.code, str):
            yield kind


def fault_codes() -> Iterator[str]:
    """Yield the codes given to faults of a line or an item, read from the source."""
    for package in PACKAGES:
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and _name(node.func) in ("Fault", "RowInvalid"):
                    yield from _first_text(node.args)


def _name(function: ast.expr) -> str:
    return getattr(function, "id", "") or getattr(function, "attr", "")


def _first_text(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
            return


def test_every_code_is_listed_and_no_other() -> None:
    raised = {str(kind.code) for kind in kinds()} | set(fault_codes())

    assert sorted(raised - set(LISTED)) == [], "not in docs/errors.md"
    assert sorted(set(LISTED) - raised - {BY_REQUEST}) == [], "in docs/errors.md, and nowhere else"


def test_no_code_is_listed_twice() -> None:
    assert len(ROWS) == len(LISTED)


def test_the_status_listed_is_the_one_answered() -> None:
    statuses: dict[str, set[str]] = {}
    for kind in kinds():
        statuses.setdefault(str(kind.code), set()).add(str(status_of(kind)))

    for code in fault_codes():
        statuses.setdefault(code, set()).add("422")

    for code, http in LISTED.items():
        assert set(re.findall(r"\d{3}", http)) <= statuses.get(code, set()), code


def test_the_source_still_writes_what_no_class_raises() -> None:
    written = (ROOT / "clearing" / "migrations" / "0019_shorter_rollback.py").read_text("utf-8")

    assert f"'{BY_REQUEST}'" in written


def test_no_own_field_hides_a_member_of_the_problem() -> None:
    for kind in kinds():
        shown = {OWN_NAMES.get(name, name) for name in kind.fields}
        assert len(shown) == len(kind.fields), kind
        assert not shown & MEMBERS, kind


def test_every_error_makes_a_problem() -> None:
    for kind in kinds():
        if any(name in ("items", "faults") for name in kind.fields):
            continue
        problem = document(kind(*(f"<{name}>" for name in kind.fields)))

        assert problem["code"] == kind.code
        assert problem["title"]
        assert "{" not in problem["detail"]
