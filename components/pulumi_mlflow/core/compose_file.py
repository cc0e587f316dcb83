"""Reads a compose file as `docker compose` would: variables, env files, short and long forms, profiles. Pure.

What it means for a stack of ours is in compose_mapping.py. The rules are those of
https://docs.docker.com/reference/compose-file/ and its page on interpolation.
"""

import io
import itertools
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from dotenv.parser import parse_stream

Read = Callable[[str], str | None]
"""Path as it stands in the compose file → text; None where there is no such file."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_SHELL_ENDS = {"&&", "||", ";", "|", "&", "\n"}
_PORT_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class ComposeFileError(ValueError):
    """The file is no compose file that can be read; the text says where and why. It never holds a value."""


class Port(NamedTuple):
    """A port of a container."""

    address: str
    """Of the machine that publishes it; empty for every address."""
    published: int | None
    """None where the engine picks one."""
    target: int
    """Inside the container."""


class Mount(NamedTuple):
    """A volume or a path of the machine, in a container."""

    source: str
    target: str

    @property
    def is_path(self) -> bool:
        """Whether the source is a file or folder of the machine rather than a named volume."""
        return self.source.startswith((".", "/", "~"))


@dataclass(frozen=True)
class Service:
    """One service, with every short form written out."""

    name: str
    image: str
    build: str
    """Folder that its image is built from; empty for none."""
    dockerfile: str
    words: tuple[str, ...]
    """Entrypoint and command; empty where the image's own run."""
    environment: Mapping[str, str] = field(repr=False)
    explicit: frozenset[str]
    """Names of variables that stand in `environment:` rather than in an env file."""
    ports: tuple[Port, ...]
    networks: tuple[str, ...]
    mounts: tuple[Mount, ...]
    names: frozenset[str]
    """Names that other services of the file reach it by."""
    raw: Mapping[str, Any] = field(repr=False)
    """All keys as they stand in the file, with variables filled in."""

    def published(self, target: int) -> Port | None:
        """The port under which one of its ports is published."""
        return next((p for p in self.ports if p.target == target and p.published), None)


@dataclass(frozen=True)
class ComposeFile:
    """A compose file with its variables filled in."""

    name: str
    """The project's name, if the file gives one."""
    services: tuple[Service, ...]
    inactive: Mapping[str, tuple[str, ...]]
    """Services left out, since none of their profiles was asked for: name → profiles."""
    networks: Mapping[str, str]
    """Networks that exist outside of the project: name in the file → name in the engine."""
    secret_files: Mapping[str, str]
    """Docker secrets: name → path of the file."""
    unset: tuple[str, ...]
    """Variables that have no value anywhere and no default."""
    used: frozenset[str]
    """Variables that the file itself asks for."""
    missing: tuple[str, ...]
    """Files that the file names and that are not there."""
    ignored: tuple[str, ...]
    """Places that lead to other files, which are not followed: `include`, `extends`."""

    def serving(self, host: str) -> Service | None:
        """The service that has a host name inside the project."""
        return next((service for service in self.services if host in service.names), None)


def read_env_file(text: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of an env file.

    Args:
        text: its content.
        given: variables that its values may refer to; they also win over the file's own, as in `docker compose`.

    Raises:
        ComposeFileError: a line is no assignment.
    """
    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise ComposeFileError(f"env file, line {binding.original.line}: is no NAME=VALUE")
        if binding.key is None or binding.value is None:
            continue
        literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
        known = {**found, **given}
        found[binding.key] = (
            binding.value if literal else interpolate(binding.value, known, set(), set())
        )
    return found


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
            end = _closing(text, dollar + 2)
            parts.append(_braced(text[dollar + 2 : end], variables, unset, used))
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            parts.append(_value(name.group(), variables, unset, used))
            at = name.end()
        else:
            parts.append("$")
            at = dollar + 1
    return "".join([*parts, text[at:]])


def _closing(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`."""
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


def _braced(inner: str, variables: Mapping[str, str], unset: set[str], used: set[str]) -> str:
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


class _Loader(yaml.SafeLoader):
    """YAML in which every scalar is text: `22:22` is no number in base 60, and `3.10` no fraction."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - yaml's own way


_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^<<$"), ["<"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def parse(
    text: str, read: Read, variables: Mapping[str, str], profiles: Collection[str] = ()
) -> ComposeFile:
    """Read a compose file.

    Args:
        text: the file's content.
        read: reads the files that it names.
        variables: what its `${…}` stand for: the env file's and the shell's.
        profiles: services with profiles take part only if one of theirs is among these.

    Raises:
        ComposeFileError: it is no compose file, or it demands a variable that is not set.
    """
    try:
        loaded = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ComposeFileError(
            f"{where}{getattr(error, 'problem', '') or 'is no YAML'}; "
            "`docker compose config` prints a file without tags of compose's own"
        ) from None
    unset: set[str] = set()
    used: set[str] = set()
    tree = _filled(loaded, variables, unset, used)
    if not isinstance(tree, dict) or not isinstance(tree.get("services"), dict):
        raise ComposeFileError("no 'services:' in it; is it a compose file?")
    reader = _Reader(read, variables, _mapping(tree.get("secrets"), "secrets"))
    active, inactive = [], {}
    for name, raw in tree["services"].items():
        wanted = tuple(_texts(_mapping(raw, name).get("profiles"), f"{name}.profiles"))
        if wanted and not set(wanted) & set(profiles):
            inactive[name] = wanted
        else:
            active.append(reader.service(name, raw))
    return ComposeFile(
        name=str(tree.get("name") or ""),
        services=tuple(active),
        inactive=inactive,
        networks=_external(_mapping(tree.get("networks"), "networks")),
        secret_files=reader.secret_files,
        unset=tuple(sorted(unset)),
        used=frozenset(used),
        missing=tuple(reader.missing),
        ignored=(*(["include"] if "include" in tree else []), *reader.ignored),
    )


def _filled(node: Any, variables: Mapping[str, str], unset: set[str], used: set[str]) -> Any:
    if isinstance(node, str):
        return interpolate(node, variables, unset, used)
    if isinstance(node, list):
        return [_filled(item, variables, unset, used) for item in node]
    if isinstance(node, dict):
        # What starts with x- is only there for its anchors.
        return {
            key: _filled(value, variables, unset, used)
            for key, value in node.items()
            if not str(key).startswith("x-")
        }
    return node


class _Reader:
    """Writes out the forms of a service; collects what is missing on the way."""

    def __init__(
        self, read: Read, variables: Mapping[str, str], secrets: Mapping[str, Any]
    ) -> None:
        self._read, self._variables = read, variables
        self.missing: list[str] = []
        self.ignored: list[str] = []
        self.secret_files = {
            name: str(value["file"])
            for name, value in secrets.items()
            if isinstance(value, dict) and value.get("file")
        }

    def service(self, name: str, given: Any) -> Service:
        raw = _mapping(given, name)
        if "extends" in raw:
            self.ignored.append(f"{name}.extends")
        build = raw.get("build") or {}
        build = {"context": build} if isinstance(build, str) else _mapping(build, f"{name}.build")
        from_files = self._env_files(raw.get("env_file"), name)
        explicit = self._environment(raw.get("environment"), name)
        networks = raw.get("networks") or {}
        listed = networks if isinstance(networks, dict) else dict.fromkeys(networks)
        aliases = [
            alias
            for value in listed.values()
            if isinstance(value, dict)
            for alias in _texts(value.get("aliases"), f"{name}.networks")
        ]
        names = {name, raw.get("container_name"), raw.get("hostname"), *aliases}
        return Service(
            name=name,
            image=str(raw.get("image") or ""),
            build=str(build.get("context") or ""),
            dockerfile=str(build.get("dockerfile") or "Dockerfile"),
            words=(
                *_words(raw.get("entrypoint"), f"{name}.entrypoint"),
                *_words(raw.get("command"), f"{name}.command"),
            ),
            environment={**from_files, **explicit},
            explicit=frozenset(explicit),
            ports=tuple(
                port
                for entry in _list(raw.get("ports"), f"{name}.ports")
                for port in _ports(entry, name)
            ),
            networks=tuple(listed),
            mounts=tuple(
                mount
                for entry in _list(raw.get("volumes"), f"{name}.volumes")
                if (mount := _mount(entry))
            ),
            names=frozenset(str(known) for known in names if known),
            raw=raw,
        )

    def _env_files(self, given: Any, name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in [given] if isinstance(given, str) else _list(given, f"{name}.env_file"):
            path = str(entry.get("path", "")) if isinstance(entry, dict) else str(entry)
            optional = isinstance(entry, dict) and str(entry.get("required")).lower() == "false"
            text = self._read(path)
            if text is not None:
                found |= read_env_file(text, self._variables)
            elif not optional:
                self.missing.append(f"{name}.env_file {path}")
        return found

    def _environment(self, given: Any, name: str) -> dict[str, str]:
        if isinstance(given, dict):
            pairs: Iterable[tuple[str, str | None]] = given.items()
        else:
            split = (str(e).partition("=") for e in _list(given, f"{name}.environment"))
            pairs = ((key, value if sign else None) for key, sign, value in split)
        # A name without a value is handed through from the shell or the env file.
        return {
            key: self._variables[key] if value is None else str(value)
            for key, value in pairs
            if value is not None or key in self._variables
        }


def _mapping(given: Any, place: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ComposeFileError(f"{place}: must be a mapping")
    return given


def _list(given: Any, place: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise ComposeFileError(f"{place}: must be a list")
    return given


def _texts(given: Any, place: str) -> list[str]:
    return [str(item) for item in _list(given, place)]


def _words(given: Any, place: str) -> list[str]:
    if isinstance(given, list):
        return [str(word) for word in given]
    try:
        return shlex.split(given or "")
    except ValueError:
        raise ComposeFileError(f"{place}: a quote is not closed") from None


def _ports(entry: Any, service: str) -> list[Port]:
    """A port in short form (`127.0.0.1:5000-5001:5000-5001/tcp`) or long form."""
    if isinstance(entry, dict):
        address, protocol = str(entry.get("host_ip", "")), str(entry.get("protocol", "tcp"))
        published, target = str(entry.get("published", "")), str(entry.get("target", ""))
    else:
        text, _, protocol = str(entry).partition("/")
        front, _, target = text.rpartition(":")
        address, _, published = front.rpartition(":")
        address = address.strip("[]")
    if protocol not in ("", "tcp"):
        return []
    inside, outside = _range(target), _range(published) if published else []
    if not inside or (published and len(outside) != len(inside)):
        raise ComposeFileError(f"{service}.ports: '{entry}' is no port")
    return [
        Port(address, outside[i] if outside else None, number) for i, number in enumerate(inside)
    ]


def _range(text: str) -> list[int]:
    found = _PORT_RANGE.fullmatch(text)
    if not found:
        return []
    first = int(found.group(1))
    return list(range(first, int(found.group(2) or first) + 1))


def _mount(entry: Any) -> Mount | None:
    if isinstance(entry, dict):
        source, target = str(entry.get("source", "")), str(entry.get("target", ""))
    else:
        source, _, rest = str(entry).partition(":")
        target = rest.partition(":")[0]
    return Mount(source, target) if source and target else None


def _external(networks: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, given in networks.items():
        value = given if isinstance(given, dict) else {}
        external = value.get("external")
        # The older form names it inside: `external: {name: x}`.
        inner = external if isinstance(external, dict) else {}
        if inner or str(external).lower() == "true":
            found[name] = str(inner.get("name") or value.get("name") or name)
    return found


def mlflow_arguments(
    words: Iterable[str], environment: Mapping[str, str], used: set[str]
) -> tuple[str, ...] | None:
    """The arguments of `mlflow server` (or `ui`) in a command, also inside of a shell's script.

    Args:
        words: a container's command.
        environment: its variables, which a shell fills in.
        used: gets the names of those that it asks for.

    Returns:
        None where no MLflow server is started.
    """
    tokens: list[str] = []
    for word in words:
        tokens += _script(word) if re.search(r"\bmlflow\s", word) else [word]
    for at, (word, following) in enumerate(itertools.pairwise(tokens)):
        if word.rpartition("/")[2] == "mlflow" and following in ("server", "ui"):
            rest = tokens[at + 2 :]
            end = next((i for i, token in enumerate(rest) if token in _SHELL_ENDS), len(rest))
            return tuple(interpolate(token, environment, set(), used) for token in rest[:end])
    return None


def _script(text: str) -> list[str]:
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=";&|\n")
    lexer.whitespace_split = True
    lexer.whitespace = " \t\r"
    try:
        return list(lexer)
    except ValueError:  # a quote of a language that is no shell's
        return text.split()


def dockerfile_words(text: str) -> tuple[str, ...]:
    """What a Dockerfile's last ENTRYPOINT and CMD run."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() not in ("ENTRYPOINT", "CMD"):
            continue
        try:
            exec_form = yaml.load(rest, _Loader) if rest.lstrip().startswith("[") else None  # noqa: S506
        except yaml.YAMLError:
            exec_form = None
        found[word.upper()] = (
            [str(part) for part in exec_form] if isinstance(exec_form, list) else [rest.strip()]
        )
    return (*found.get("ENTRYPOINT", []), *found.get("CMD", []))
