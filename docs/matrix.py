"""Writes the table of docs/conformance.md from what the tests found: `python docs/matrix.py`; `--check` only compares.

tests/docker/test_matrix.py writes `.state/conformance.json`; with FULL=1 it has all cells.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pulumi_mlflow.ops.conformance import BEHAVIOURS, Level

ROOT = Path(__file__).resolve().parent.parent
FOUND = ROOT / ".state" / "conformance.json"
TARGET = ROOT / "docs" / "conformance.md"

_MARKS = "<!-- {name}: made by docs/matrix.py -->", "<!-- end of {name} -->"
_COLUMNS = {
    "Database": "---",
    "Store": "---",
    "Login": "---",
    "Artifacts": "---",
    "Behaviours": "---",
    "`up` (s)": "---:",
    "Behaviours (s)": "---:",
    "Second `up`, refresh": "---",
    "Seen": "---",
}
"""Title → how Markdown aligns it."""
_LEVELS = {Level.QUICK: "", Level.FULL: "`--full`", Level.LARGE: "`--large`"}


def behaviours() -> str:
    """The list of behaviours, with what asks for each."""
    rows = [
        f"| {b.title} | {' '.join((b.prove.__doc__ or '').split())} | {_LEVELS[b.level]} |"
        for b in BEHAVIOURS
    ]
    return "\n".join(["| Behaviour | What is proved | Only with |", "| --- | --- | --- |", *rows])


def table(found: dict[str, Any]) -> str:
    """A row a cell.

    Args:
        found: what the tests wrote.
    """
    cells = list(found["cells"].values())
    return "\n".join(
        [
            f"{len(cells)} of {found['of']} combinations, MLflow {_version(cells[0])}{_missing(found)}.",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            f"| {' | '.join(_COLUMNS.values())} |",
            *(_row(cell) for cell in cells),
        ]
    )


def _missing(found: dict[str, Any]) -> str:
    """What is not in the table: the names where the tests wrote them, else that there are some."""
    if len(found["cells"]) == found["of"]:
        return ""
    names = [name for name in found.get("names", []) if name not in found["cells"]]
    return f"; not seen: {', '.join(names)}" if names else "; of the others no report was kept"


def _row(cell: dict[str, Any]) -> str:
    outcomes = cell["outcomes"]
    passed = sum(o["result"] == "passed" for o in outcomes)
    failed = [o["title"] for o in outcomes if o["result"] not in {"passed", "n/a"}]
    seconds = cell["seconds"]
    columns = [
        *(cell["cell"][key] for key in ("database", "store", "login", "way")),
        f"{passed} passed" + (f", **failed: {', '.join(failed)}**" if failed else ""),
        f"{seconds['up']:.0f}",
        f"{seconds['verify']:.0f}",
        "**changes**" if cell["changed_again"] else "no change",
        cell["at"],
    ]
    return f"| {' | '.join(columns)} |"


def _version(cell: dict[str, Any]) -> str:
    return str(cell["outcomes"][0]["detail"]).removeprefix("MLflow ")


def filled(text: str, name: str, content: str) -> str:
    """A text with what stands between two marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    start, end = (mark.format(name=name) for mark in _MARKS)
    before, found, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{TARGET.name}: the marks of '{name}' are missing")
    return f"{before}{start}\n{content}\n{end}{after}"


def main() -> int:
    """Write the page, or say that it is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the list of behaviours only")
    check = parser.parse_args().check
    before = TARGET.read_text()
    after = filled(before, "behaviours", behaviours())
    if not check:
        after = filled(after, "matrix", table(json.loads(FOUND.read_text())))
        TARGET.write_text(after)
    elif after != before:
        print(f"{TARGET.relative_to(ROOT)} is not up to date: python docs/matrix.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
