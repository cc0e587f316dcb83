"""Variables of compose files: `${NAME:-default}` in all its forms, and env files.

The rules are those of https://docs.docker.com/reference/compose-file/interpolation/.
"""

import io
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dotenv.parser import parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_COLON = re.compile(r"(\s*(?:export\s+)?[A-Za-z_][\w.-]*)\s*:[ \t]*")


class ComposeFileError(ValueError):
    """The file is no compose file that can be read; the text says where and why. It never holds a value."""


class _Line(NamedTuple):
    """An assignment of an env file; without a value, the name alone stands there."""

    name: str
    value: str | None
    written: str
    """What follows the sign, as it stands there."""


def read_env_file(text: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of an env file.

    Args:
        text: its content.
        given: variables that its values may refer to, and that a bare name takes its value from; they also win over the
            file's own, as in `docker compose`.

    Raises:
        ComposeFileError: a line is no assignment.
    """
    found: dict[str, str] = {}
    for line in _lines(text):
        if line.value is None:
            if line.name in given:
                found[line.name] = given[line.name]
            continue
        value = line.value
        if not line.written.startswith("'"):
            if line.written.startswith('"'):
                value = value.replace("\\$", "$$")
            value = interpolate(value, {**found, **given}, set(), set())
        found[line.name] = value
    return found


def _lines(text: str) -> Iterator[_Line]:
    """The file's lines, by python-dotenv, which knows all of the form but compose's `NAME: value`."""
    at = 0
    while at < len(text):
        for binding in parse_stream(io.StringIO(text[at:])):
            colon = _COLON.match(text, at)
            if colon and (binding.error or ":" in (binding.key or "")):
                # Written in the usual form, and read again from here.
                text = f"{text[: colon.end(1)]}={text[colon.end() :]}"
                break
            if binding.error:
                number = text.count("\n", 0, at) + binding.original.line
                raise ComposeFileError(f"env file, line {number}: is no NAME=VALUE")
            if binding.key is not None:
                written = binding.original.string.partition("=")[2].lstrip()
                yield _Line(binding.key, binding.value, written)
            at += len(binding.original.string)


def interpolate(text: str, variables: Mapping[str, str], unset: set[str], used: set[str]) -> str:
    """Fill in `$NAME`, `${NAME}` and its forms with defaults; `$$` is a dollar sign.

    Args:
        text: a value of the file.
        variables: name → value.
        unset: gets the names that have no value and no default; they become empty.
        used: gets every name that is asked for.

    Raises:
        ComposeFileError: a brace is not closed, or a variable is missing that the file demands (`${NAME:?why}`).
    """
    parts, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            parts.append("$")
            at = dollar + 2
        elif following == "{":
            end = closing_brace(text, dollar + 2)
            parts.append(braced(text[dollar + 2 : end], variables, unset, used))
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            parts.append(_value(name.group(), variables, unset, used))
            at = name.end()
        else:
            parts.append("$")
            at = dollar + 1
    return "".join([*parts, text[at:]])


def closing_brace(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`.

    Raises:
        ComposeFileError: nowhere.
    """
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise ComposeFileError("a '${' is not closed by '}'")


def braced(inner: str, variables: Mapping[str, str], unset: set[str], used: set[str]) -> str:
    """The value of what stands between `${` and `}`; see `interpolate`."""
    name = _NAME.match(inner)
    if name is None:
        raise ComposeFileError("'${' must be followed by the name of a variable")
    key, rest = name.group(), inner[name.end() :]
    if not rest:
        return _value(key, variables, unset, used)
    operator = next((o for o in _OPERATORS if rest.startswith(o)), None)
    if operator is None:
        raise ComposeFileError(f"variable {key}: compose has no such form of '${{…}}'")
    used.add(key)
    there = key in variables and (variables[key] != "" or ":" not in operator)
    if operator.endswith("+"):
        if not there:
            return ""
    elif there:
        return variables[key]
    text = interpolate(rest[len(operator) :], variables, unset, used)
    if operator.endswith("?"):
        raise ComposeFileError(f"variable {key}: is not set, and the file demands it ({text})")
    return text


def _value(name: str, variables: Mapping[str, str], unset: set[str], used: set[str]) -> str:
    used.add(name)
    if name not in variables:
        unset.add(name)
    return variables.get(name, "")
