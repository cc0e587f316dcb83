"""Writes the table of docs/from-compose.md from core/compose/rules.py; `--check` only compares."""

import argparse
import sys
from pathlib import Path

from pulumi_mlflow.core.compose.rules import table

TARGET = Path(__file__).resolve().parent / "from-compose.md"
BEGIN, END = "<!-- Made by docs/compose_table.py: begin -->", "<!-- end -->"


def render(page: str) -> str:
    """The page with the table as it must be.

    Args:
        page: the page as it is; what is outside of the two marks stays.
    """
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    parts = []
    where = ""
    for role, names, becomes, note in table():
        if role != where:
            parts.append(
                f"\n### {role[:1].upper()}{role[1:]}\n\n| in the file | becomes | |\n|---|---|---|"
            )
            where = role
        parts.append(f"| {names} | {becomes} | {note} |")
    body = "\n".join(parts)
    return f"{head}{BEGIN}\n{body}\n\n{END}{tail}"


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    page = TARGET.read_text()
    wanted = render(page)
    if parser.parse_args().check:
        if page != wanted:
            print(f"{TARGET}: out of date; python docs/compose_table.py", file=sys.stderr)
        return int(page != wanted)
    TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
