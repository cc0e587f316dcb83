"""Writes docs/configuration.md from the settings' models: `python infra/reference.py`; `--check` only compares."""

import argparse
import difflib
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import rules
from models import Settings
from problems import NAMESPACE, Rule
from pulumi_mlflow.core import aws_database
from sections import Runtime, Section
from settings import fields, holds_secret, runtimes_of, section_of

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

_HEAD = f"""<!-- Made by infra/reference.py from infra/models.py, rules/ and problems.py. Do not edit. -->
# Configuration

A stack's settings stand in `Pulumi.<stack>.yaml` at the top of the project, below `config:`, and their keys start with
`{NAMESPACE}:`. Change them there, or with
`pulumi config set --path '{NAMESPACE}:tracking.workers' 4 -s dev`; the next
`pulumi up -s dev` (or `make up STACK=dev`) makes it so.

- A key that is not given has the default below; where that differs between runtimes, see the table of runtimes.
- All settings are checked at `preview` and `up`, before anything is registered. All problems come at once, one a line:
  file, key, what is wrong with the value got, and the command that mends it. Who runs all the printed commands has
  right settings; a made-up name in one of them, such as `mlflow.example.com`, is yours to replace.
- Then the machine is checked: the Docker Engine answers and is not too old, nobody else has the port, and what images
  are built from is there.
- `pulumi destroy`, `pulumi refresh` and `make down` do not run the program, so they work with wrong settings too.
- Passwords and keys of what the stack makes are generated, and kept encrypted in its state. Those of servers that are
  there already (`existing`, your identity provider) are secret keys at the top level;
  `pulumi config set --secret {NAMESPACE}:database_password -s dev` asks for the value and encrypts it.
- Files that settings name are relative to the project's folder.
"""

_DEPENDENT = {*rules.OFFERED, ("database", "version")}
"""Keys whose default depends on other keys."""

_NAMES = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


def render() -> str:
    """The whole document."""
    parts = [_HEAD, _offers(), "## Top level\n\n" + _keys((), Settings)]
    for path, field in fields():
        section = section_of(field)
        if section is not None:
            name = ".".join(str(step) for step in path)
            head = "#" * (len(path) + 1)
            parts.append(f"{head} {name}\n\n{field.description}\n\n{_keys(path, section)}")
    parts.append(_rules())
    return "\n".join(parts)


def _offers() -> str:
    rows = []
    for path, offered in rules.OFFERED.items():
        key = ".".join(str(step) for step in path)
        choices = [", ".join(_code(value) for value in offered[runtime]) for runtime in Runtime]
        rows.append([_code(f"{NAMESPACE}:{key}"), *choices])
    versions = [
        f"{engine.value} {', '.join(_code(version) for version in offered)}"
        for engine, offered in rules.VERSIONS.items()
    ]
    return (
        "## Runtimes\n\nWhat each runtime offers in this release; the first is its default.\n\n"
        + _grid(["Key", *(_code(runtime) for runtime in Runtime)], rows)
        + f"\nVersions of the database engines, the default first: {'; '.join(versions)}. In RDS the default "
        f"of mysql is `{aws_database.VERSIONS['mysql']}`.\n"
    )


def _keys(prefix: tuple[str | int, ...], section: type[Section]) -> str:
    rows = [
        [
            _code(f"{NAMESPACE}:{'.'.join(str(step) for step in (*prefix, key))}"),
            _type(field),
            _default((*prefix, key), field),
            field.description or "",
            _code(_yaml(field.examples[0])) if field.examples else "",
            ", ".join(runtimes_of(field)),
        ]
        for key, field in section.model_fields.items()
        if section_of(field) is None
    ]
    return _grid(["Key", "Type", "Default", "Meaning", "Example", "Runtimes"], rows)


def _rules() -> str:
    rows = [[_code(rule.value), rule.meaning] for rule in Rule]
    return "## Rules\n\nFor what settings are refused.\n\n" + _grid(
        ["Rule", "Refused because"], rows
    )


def _type(field: FieldInfo) -> str:
    if holds_secret(field):
        return "secret: `pulumi config set --secret`"
    if get_origin(field.annotation) is dict:
        key, value = get_args(field.annotation)
        return f"mapping of {_kind(key)} to {_kind(value)}"
    if get_origin(field.annotation) is list:
        return f"list of {_kind(get_args(field.annotation)[0])}"
    kind = _bare(field.annotation)
    if issubclass(kind, Enum):
        return ", ".join(_code(choice.value) for choice in kind)
    bounds = [f"≥ {bound.ge}" for bound in field.metadata if isinstance(bound, Ge)]
    bounds += [f"≤ {bound.le}" for bound in field.metadata if isinstance(bound, Le)]
    return ", ".join([_NAMES[kind], *bounds])


def _kind(annotation: Any) -> str:
    """One value of a list or mapping."""
    kind = _bare(annotation)
    if issubclass(kind, Enum):
        return ", ".join(_code(choice.value) for choice in kind)
    return _NAMES[kind]


def _bare(annotation: Any) -> type:
    """The type within `Optional[Annotated[type, ...]]`."""
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    kind: type = annotation
    return kind


def _default(path: tuple[str | int, ...], field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "see runtimes" if path in _DEPENDENT else "none, must be given"
    return "" if field.default is None else _code(_yaml(field.default))


def _yaml(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return value if isinstance(value, str) and not value.isdigit() else json.dumps(value)


def _code(text: str) -> str:
    return f"`{text}`"


def _grid(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def main() -> int:
    """Write the document, or say how the one that is there differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the document is stale")
    wanted = render()
    if not parser.parse_args().check:
        TARGET.write_text(wanted)
        return 0
    have = TARGET.read_text() if TARGET.exists() else ""
    difference = difflib.unified_diff(
        have.splitlines(), wanted.splitlines(), str(TARGET), "models", "", "", 0, ""
    )
    lines = list(difference)
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    if lines:
        sys.stderr.write("docs/configuration.md is stale; python infra/reference.py\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
