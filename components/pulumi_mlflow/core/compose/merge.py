"""Compose files on top of one another, `extends` and `include`, as `docker compose` reads them.

The rules are those of https://docs.docker.com/reference/compose-file/merge/: mappings are merged, lists appended, a
command replaced, and what can be there once only (a port, a mount, a variable) is the later one's.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .variables import ComposeFileError, interpolate

Read = Callable[[str], str | None]
"""Path as it stands in the compose file → text; None where there is no such file."""

_REPLACED = ("command", "entrypoint", "test")
_PAIRS = ("environment", "labels", "annotations", "args", "sysctls", "extra_hosts")
"""Keys whose list of `NAME=value` says the same as a mapping."""
_ONE_OR_MORE = ("env_file", "dns", "dns_search", "tmpfs")
_NAMED = ("networks", "depends_on")
"""Keys whose list of names says the same as a mapping without values."""
_DEPTH = 20
"""Of `extends` and `include`: enough for any, and an end to a circle."""


@dataclass(frozen=True)
class _Tagged:
    """A value with compose's own tag, which says how it goes on top of another one."""

    replaces: bool
    """`!override`; else `!reset`, which takes the other one away."""
    value: Any = None


class _Loader(yaml.SafeLoader):
    """YAML in which every scalar is text: `22:22` is no number in base 60, and `3.10` no fraction."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - yaml's own way


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> _Tagged:
    if isinstance(node, yaml.MappingNode):
        return _Tagged(True, loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return _Tagged(True, loader.construct_sequence(node, deep=True))
    return _Tagged(
        True, loader.construct_object(yaml.ScalarNode("tag:yaml.org,2002:str", node.value))
    )


_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^<<$"), ["<"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_constructor("!override", _override)
_Loader.add_constructor("!reset", lambda _loader, _node: _Tagged(False))


def load_yaml(text: str) -> Any:
    """What YAML says, with text as the only scalar.

    Raises:
        ComposeFileError: it is no YAML, or has tags that compose does not know.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ComposeFileError(
            f"{where}{getattr(error, 'problem', '') or 'is no YAML'}; "
            "`docker compose config` prints a file without tags of compose's own"
        ) from None


class Tree:
    """Compose files as one: what stands in them after merging, with variables filled in.

    Args:
        read: reads the files that they name.
        variables: what their `${…}` stand for.
    """

    def __init__(self, read: Read, variables: Mapping[str, str]) -> None:
        self._read, self._variables = read, variables
        self.content: dict[str, Any] = {}
        self.unset: set[str] = set()
        self.used: set[str] = set()
        self.missing: list[str] = []
        """Files that they name and that are not there."""

    def add(self, text: str) -> None:
        """Put a file on top.

        Raises:
            ComposeFileError: it is no compose file.
        """
        self.content = merge(self.content, self._loaded(text, "", 0))

    def _loaded(self, text: str, folder: str, depth: int) -> dict[str, Any]:
        if depth > _DEPTH:
            raise ComposeFileError("its `extends` or `include` lead in a circle")
        tree: dict[str, Any] = self._filled(load_yaml(text))
        if not isinstance(tree, dict):
            raise ComposeFileError("no 'services:' in it; is it a compose file?")
        services = tree.get("services")
        if isinstance(services, dict):
            for name in services:
                services[name] = self._extended(name, services, folder, depth)
                _move(services[name], folder)
        for entry in _sequence(tree.pop("include", None)):
            tree = self._included(tree, entry, folder, depth)
        return tree

    def _extended(self, name: str, services: dict[str, Any], folder: str, depth: int) -> Any:
        own = services[name]
        given = own.get("extends") if isinstance(own, dict) else None
        if not given:
            return own
        if depth > _DEPTH:
            raise ComposeFileError(f"{name}.extends: leads in a circle")
        given = {"service": given} if isinstance(given, str) else given
        base_name, path = str(given.get("service") or name), str(given.get("file") or "")
        own = {key: value for key, value in own.items() if key != "extends"}
        if not path:
            base = (
                self._extended(base_name, services, folder, depth + 1)
                if base_name in services
                else None
            )
        else:
            place = posixpath.join(folder, path)
            text = self._read(place)
            if text is None:
                self.missing.append(f"{name}.extends {path}")
                return own
            # Its paths are the other folder's, and become this one's.
            inner = posixpath.dirname(path)
            base = self._loaded(text, inner, depth + 1).get("services", {}).get(base_name)
        if not isinstance(base, dict):
            self.missing.append(f"{name}.extends {base_name}")
            return own
        return merge(base, own, "service")

    def _included(
        self, tree: dict[str, Any], entry: Any, folder: str, depth: int
    ) -> dict[str, Any]:
        entry = {"path": entry} if not isinstance(entry, dict) else entry
        inner: dict[str, Any] = {}
        for path in _sequence(entry.get("path")):
            place = posixpath.join(folder, str(path))
            text = self._read(place)
            if text is None:
                self.missing.append(f"include {path}")
                continue
            home = entry.get("project_directory") or posixpath.dirname(place)
            inner = merge(inner, self._loaded(text, str(home), depth + 1))
        whole: dict[str, Any] = merge(inner, tree)
        return whole

    def _filled(self, node: Any) -> Any:
        if isinstance(node, str):
            return interpolate(node, self._variables, self.unset, self.used)
        if isinstance(node, list):
            return [self._filled(item) for item in node]
        if isinstance(node, _Tagged):
            return _Tagged(node.replaces, self._filled(node.value))
        if isinstance(node, dict):
            # What starts with x- is only there for its anchors.
            return {
                key: self._filled(value)
                for key, value in node.items()
                if not str(key).startswith("x-")
            }
        return node


def merge(base: Any, other: Any, key: str = "") -> Any:
    """One value on top of another.

    Args:
        base: what is there; may be nothing.
        other: what comes on top.
        key: under which it stands.
    """
    if isinstance(other, _Tagged):
        return _plain(other)
    if other is None and key:
        return base
    base, other = _long(base, key), _long(other, key)
    drivers = key == "logging" and base and base.get("driver") != other.get("driver")
    if base is None or key in _REPLACED or drivers:
        return _plain(other)
    if isinstance(base, dict) and isinstance(other, dict):
        return _merged(base, other, key)
    if isinstance(base, list) and isinstance(other, list):
        # A later one takes the place of what can be there once only.
        return list({_identity(item, key): item for item in [*base, *other]}.values())
    return _plain(other)


def _merged(base: dict[str, Any], other: dict[str, Any], key: str) -> dict[str, Any]:
    found = dict(base)
    for name, value in other.items():
        if isinstance(value, _Tagged) and not value.replaces:
            found.pop(name, None)
        elif key in _PAIRS:
            found[name] = value  # also without a value: it is handed through
        else:
            found[name] = merge(base.get(name), value, str(name))
    return found


def _plain(value: Any) -> Any:
    """A value with nothing below it: tags have done their work."""
    if isinstance(value, _Tagged):
        return _plain(value.value) if value.replaces else None
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if not (isinstance(inner, _Tagged) and not inner.replaces)
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _long(value: Any, key: str) -> Any:
    """The long form of what compose also takes in a short one."""
    if key == "build" and isinstance(value, str):
        return {"context": value}
    if key in _ONE_OR_MORE and isinstance(value, str):
        return [value]
    if key in _NAMED and isinstance(value, list):
        return dict.fromkeys(map(str, value))
    if key in _PAIRS and isinstance(value, list):
        sign = re.compile("[=:]" if key == "extra_hosts" else "=")
        split = (sign.split(str(item), maxsplit=1) for item in value)
        return {parts[0]: parts[1] if parts[1:] else None for parts in split}
    return value


def _identity(item: Any, key: str) -> str:
    """By what an item of a list is there once only."""
    if key == "volumes":
        target = item.get("target") if isinstance(item, dict) else mount_parts(str(item))[1]
        return str(target)
    if key in ("secrets", "configs"):
        if isinstance(item, dict):
            return str(item.get("target") or item.get("source"))
        return str(item)
    if key == "ports" and isinstance(item, dict):
        protocol = item.get("protocol", "tcp")
        return (
            f"{item.get('host_ip', '')}:{item.get('published', '')}:{item.get('target')}/{protocol}"
        )
    if key == "ports":
        text, _, protocol = str(item).partition("/")
        return f"{':' * (2 - text.count(':'))}{text}/{protocol or 'tcp'}"
    return str(item)


def mount_parts(text: str) -> tuple[str, str]:
    """Source and target of a volume in short form; without a source where it is anonymous."""
    parts = text.split(":")
    return ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def _sequence(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list) else [given]


def _move(service: Any, folder: str) -> None:
    """Let paths that are relative to another file's folder be relative to the main file's."""
    if not folder or not isinstance(service, dict):
        return

    def moved(path: str) -> str:
        return (
            path if path.startswith(("/", "~")) or "://" in path else posixpath.join(folder, path)
        )

    build = service.get("build")
    if isinstance(build, str):
        service["build"] = moved(build)
    elif isinstance(build, dict) and build.get("context"):
        build["context"] = moved(str(build["context"]))
    if "env_file" in service:
        service["env_file"] = [
            {**entry, "path": moved(str(entry.get("path", "")))}
            if isinstance(entry, dict)
            else moved(str(entry))
            for entry in _sequence(service["env_file"])
        ]
    for index, mount in enumerate(service.get("volumes") or []):
        if isinstance(mount, dict):
            if str(mount.get("source", "")).startswith("."):
                mount["source"] = moved(str(mount["source"]))
        elif str(mount).startswith("."):
            service["volumes"][index] = moved(str(mount))
