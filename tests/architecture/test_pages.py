"""The pages under docs/ say what the code says."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import models

from clearing.checkpoints import STEPS
from clearing.states import (
    CHECKPOINT_MOVES,
    OPERATION_MOVES,
    WINDOW_MOVES,
    CheckpointStatus,
    OperationStatus,
    OperationType,
    Region,
    Weights,
    WindowStatus,
)
from settlement.states import EXECUTION_MOVES, INSTRUCTION_MOVES, InstructionStatus, InstructionType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
GLOSSARY = (DOCS / "glossary.md").read_text("utf-8")
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def diagram(title: str) -> set[tuple[str, str]]:
    """The arrows of the state diagram under a heading, without begin and end."""
    section = ARCHITECTURE.split(f"### {title}\n")[1].split("```")[1]
    return {pair for pair in re.findall(r"(\w+) --> (\w+)", section) if pair[1]}


def anchors(page: Path) -> set[str]:
    """What can be linked to in a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("title", "moves"),
    [
        ("Window", WINDOW_MOVES),
        ("Operation", OPERATION_MOVES),
        ("Checkpoint", CHECKPOINT_MOVES),
        ("Instruction", INSTRUCTION_MOVES),
        ("Execution", EXECUTION_MOVES),
    ],
)
def test_state_diagrams_show_every_move_and_no_other(title: str, moves: Mapping[Any, frozenset[Any]]) -> None:
    expected = {(origin.value, target.value) for origin, targets in moves.items() for target in targets}

    assert diagram(title) == expected


@pytest.mark.parametrize(
    "words",
    [
        WindowStatus,
        OperationStatus,
        CheckpointStatus,
        InstructionStatus,
        OperationType,
        InstructionType,
        Region,
        Weights,
    ],
)
def test_the_glossary_has_every_word_of_the_wire(words: type[models.TextChoices]) -> None:
    assert [word for word in words.values if f"`{word}`" not in GLOSSARY] == []


def test_checkpoints_stand_in_their_order() -> None:
    names = re.findall(
        r"^\| `(\w+)` \| ", ARCHITECTURE.split("| checkpoint |")[1].split("\n\n")[0], re.MULTILINE
    )

    assert names == [step.NAME for step in STEPS]


def test_every_refusal_named_exists_in_a_migration() -> None:
    table = ARCHITECTURE.split("| refused | by |")[1].split("\n\n")[0]
    named = {
        name
        for cell in re.findall(r"\| ([^|]+) \|$", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    migrations = "".join(path.read_text("utf-8") for path in ROOT.glob("*/migrations/*.py"))

    assert len(named) > 10
    assert [name for name in sorted(named) if name not in migrations] == []


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "adr" / "README.md").read_text("utf-8")
    pages = sorted(page for page in (DOCS / "adr").glob("0*.md"))

    assert pages
    for page in pages:
        title = page.read_text("utf-8").splitlines()[0]
        assert title.startswith(f"# {page.name[:4]} ")
        assert f"| [{page.name[:4]}]({page.name}) | {title[7:]} |" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_examples_name_participants_of_the_sample_day() -> None:
    lines = (DOCS / "sample_day" / "participants.csv").read_text("utf-8").splitlines()[1:]
    known = {line.partition(",")[0] for line in lines}
    example = re.compile(
        r'"(?:payer|payee|counterparty)": "(\w+)"'
        r"|participants/([A-Z0-9]{8,})"
        r'|Obligation\("[^"]+", "(\w+)", "(\w+)"'
    )

    named = {
        code
        for page in (DOCS / "rest.md", DOCS / "events.md", DOCS / "intake.md", ROOT / "README.md")
        for codes in example.findall(page.read_text("utf-8"))
        for code in codes
        if code
    }

    assert len(named) >= 2
    assert named - known == set()
