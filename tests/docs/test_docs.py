"""What the docs say exists, exists: links, files, make targets, commands, options, settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pulumi_mlflow.ops.cli import app
from settings import fields

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", ".state", "dump", "node_modules"}
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not SKIPPED & {*page.relative_to(ROOT).parts} and not page.parent.name.startswith(".")
)
ADRS = ROOT / "docs" / "adr"

# What stands between backticks, over one line or as a block: shell lines are blocks.
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
REPO_PATH = re.compile(
    r"(?:components|docs|examples|images|infra|tests|toolchain|\.ci|\.github)/[\w./-]*"
)

each = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    return BLOCK.sub("", page.read_text())


def code(page):
    """Every line of code on a page; a figure is none."""
    text = page.read_text()
    blocks = [body for language, body in BLOCK.findall(text) if language != "mermaid"]
    return [line for body in blocks for line in body.splitlines()] + SPAN.findall(prose(page))


def anchors(page):
    """As GitHub makes them."""
    titles = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", title) for title in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(pattern):
    """What follows a command in the code of all pages: page → words."""
    return {
        (str(page.relative_to(ROOT)), found)
        for page in PAGES
        for line in code(page)
        for found in re.findall(pattern, line)
    }


@each
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each
def test_files_that_are_named_exist(page):
    for span in SPAN.findall(prose(page)):
        if REPO_PATH.fullmatch(span):
            assert (ROOT / span).exists(), span


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = commands(r"(?<![\w.-])make ([a-z]+(?:-[a-z]+)*)")
    assert {target for _, target in named} >= {"up", "down", "verify", "dump", "restore"}
    assert not {(page, target) for page, target in named if target not in targets}


def test_variables_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = commands(r"(?<![\w.-])make [^;&|]*?\b([A-Z]+)=")
    assert named
    assert not {(page, name) for page, name in named if f"$({name}" not in makefile}


def test_commands_of_ours_exist():
    known = set(typer.main.get_command(app).commands)
    named = commands(r"(?<![\w./-])(?:\.venv/bin/)?pulumi-mlflow ([a-z][a-z-]*)")
    assert named
    assert not {(page, command) for page, command in named if command not in known}


def test_commands_of_set_up_exist():
    usage = subprocess.run(
        [sys.executable, ROOT / "toolchain" / "setup.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    named = commands(r"setup\.py ([a-z]+|--[a-z]+)\b")
    assert named
    assert not {(page, word) for page, word in named if word not in usage}


def test_settings_exist():
    known = {".".join(str(step) for step in path) for path, _ in fields()}
    named = commands(r"\bmlflow:([a-z_]+(?:\.[a-z0-9_]+)?)")
    assert named
    assert not {(page, key) for page, key in named if key not in known}


def test_every_decision_is_listed_and_numbered_once():
    pages = [page.name for page in sorted(ADRS.glob("[0-9]*.md"))]
    assert LINK.findall((ADRS / "README.md").read_text()) == pages
    for number, page in enumerate(pages, start=1):
        assert page.startswith(f"{number:04}-")
        assert (ADRS / page).read_text().startswith(f"# {number}. ")


def test_every_page_of_docs_is_reached_from_the_first():
    seen, todo = set(), [ROOT / "docs" / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert set((ROOT / "docs").rglob("*.md")) <= seen


def test_runbooks_are_short():
    runbooks = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
    assert runbooks
    for page in runbooks:
        assert len(page.read_text().splitlines()) <= 40, page.name


def test_architecture_has_its_diagrams():
    text = (ROOT / "docs" / "architecture.md").read_text()
    diagrams = [body for language, body in BLOCK.findall(text) if language == "mermaid"]
    assert len(diagrams) >= 3
    for diagram in diagrams:
        assert diagram.startswith("flowchart ")
        assert diagram.count("[") == diagram.count("]")
        assert diagram.count('"') % 2 == 0
