"""What keeps the code readable and its rooms apart: sizes, names, imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from clearing_project.stack.runtime import REPOSITORY

ROOMS = ("clearing", "clearing_project", "netting", "settlement")
GENERATED = ("migrations", "pb")
LINES_MAX = 400
FUNCTION_LINES_MAX = 50


def sources(*folders: str) -> Iterator[Path]:
    """Yield the Python files that people write."""
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if not set(path.parts) & set(GENERATED):
                yield path


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


EVERYTHING = list(sources(*ROOMS, "tests", "bench", "docs"))
PRODUCT = list(sources(*ROOMS))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_sources_are_found() -> None:
    assert {path.relative_to(REPOSITORY).parts[0] for path in PRODUCT} == set(ROOMS)
    assert len(PRODUCT) > 50


def test_no_file_is_longer_than_its_limit() -> None:
    lengths = {named(path): len(path.read_text("utf-8").splitlines()) for path in EVERYTHING}

    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{named(path)}:{node.lineno} {node.name}": length
        for path in EVERYTHING
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }

    assert long == {}


def test_no_module_is_named_after_nothing() -> None:
    nothing = {"utils", "util", "helpers", "misc", "common", "managers"}

    assert [named(path) for path in EVERYTHING if path.stem in nothing] == []


def test_no_function_imports() -> None:
    hidden = {
        f"{named(path)}:{inner.lineno}"
        for path in PRODUCT
        for node in functions(path)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }

    assert hidden == set()


def test_only_doors_read_the_clock() -> None:
    doors = {
        "api",
        "rpc",
        "admin",
        "console",
        "consumers",
        "management",
        "tasks",
        "metrics",
        "pipeline",
        "events",
        "webhooks",
    }
    inner = [
        path
        for path in sources("clearing", "settlement")
        if not doors & {part.removesuffix(".py") for part in path.relative_to(REPOSITORY).parts}
    ]

    readers = [named(path) for path in inner if "timezone.now(" in path.read_text("utf-8")]

    assert len(inner) > 20
    assert readers == []


def test_the_import_contracts_are_kept() -> None:
    linted = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_no_money_is_a_float() -> None:
    """A name that ends in _minor is an integer: never annotated, divided or converted to a float."""
    faults = []
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                sides = [ast.unparse(side) for side in (node.left, node.right)]
                faults += [f"{named(path)}:{node.lineno}" for side in sides if side.endswith("_minor")]
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
                faults += [
                    f"{named(path)}:{node.lineno}"
                    for part in node.args
                    if ast.unparse(part).endswith("_minor")
                ]

    assert faults == []
