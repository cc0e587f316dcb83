"""Writes a stack's file from a compose file. What means what is in core/compose/rules.py."""

import importlib
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import yaml

from ..core.compose import file as compose_file
from ..core.compose import mapping, notes
from ..core.compose.variables import read_env_file
from .errors import OpsError

LEFT = 3
"""Exit code where something of the file is lost or guessed."""

_NAMESPACE = "mlflow"
_HEAD = """\
# Made from {source} by `pulumi-mlflow import-compose`. Passwords and keys are generated at `make up STACK={stack}`.
# Every key is in docs/configuration.md. A wrong one is refused with the command that mends it.
"""


_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""Files that `docker compose` reads by itself, the first that is there; and with each one its override."""


@dataclass(frozen=True)
class Import:
    """A compose file, read, and the settings that it becomes."""

    source: Path
    files: tuple[Path, ...]
    """All files that were read as one, the source first."""
    mapped: mapping.Mapped


def read(
    paths: Path | Sequence[Path],
    env_file: Path | None,
    profiles: Collection[str] = (),
    *,
    in_place: bool = False,
) -> Import:
    """Read a compose file and all that it names.

    Args:
        paths: the compose file, or several, each on top of those before, as with several `-f`. One alone that
            `docker compose` would find by itself, or its folder, brings its override file along.
        env_file: what fills in its variables; `.env` beside it unless given. The shell's variables win, as in compose.
        profiles: as in `docker compose --profile`.
        in_place: whether a database or store is used where it is although it is in doubt whose it is.

    Raises:
        OpsError: a file is not there or is none of its kind.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    first = _found(given[0]) if given[0].is_dir() else given[0]
    folder = first.absolute().parent
    variables = dict(os.environ)
    try:
        beside = folder / ".env"
        if env_file is not None or beside.is_file():
            text = (env_file or beside).read_text()
            variables = {**read_env_file(text, os.environ), **os.environ}
        files = [first, *given[1:]] if given[1:] else _with_override(first, variables)
        texts = [file.read_text() for file in files]
        parsed = compose_file.parse(
            texts[0],
            _reader(folder),
            variables,
            profiles,
            overrides=texts[1:],
            # As `docker compose` makes it of the folder's name.
            project=re.sub(r"[^a-z0-9_-]|^[_-]+", "", folder.name.lower()),
        )
    except compose_file.ComposeFileError as error:
        raise OpsError(f"{first}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise OpsError(
            f"{getattr(error, 'filename', None) or first}: cannot be read: {error}"
        ) from error
    mapped = mapping.map_file(
        parsed,
        _reader(folder),
        str(folder),
        is_this_machine=_is_this_machine,
        in_place=in_place,
    )
    return Import(first, tuple(files), mapped)


def _found(folder: Path) -> Path:
    """The file that `docker compose` reads in a folder.

    Raises:
        OpsError: there is none.
    """
    for name in _NAMES:
        if (folder / name).is_file():
            return folder / name
    raise OpsError(f"{folder}: has none of {', '.join(_NAMES)}")


def _with_override(file: Path, variables: Mapping[str, str]) -> list[Path]:
    """What `docker compose` reads where nobody names files: those of COMPOSE_FILE, or the file and its override."""
    if file.name not in _NAMES:
        return [file]
    if listed := variables.get("COMPOSE_FILE"):
        sign = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        files = [file.parent / name for name in listed.split(sign) if name]
        if file.name in {found.name for found in files}:
            return files
    for stem in ("compose.override", "docker-compose.override"):
        for suffix in (".yml", ".yaml"):
            if (override := file.parent / f"{stem}{suffix}").is_file():
                return [file, override]
    return [file]


@cache
def _is_this_machine(host: str) -> bool:
    """Whether a name or an address is one of this machine's, also by /etc/hosts and DNS."""
    addresses = {
        address.address.partition("%")[0]
        for listed in psutil.net_if_addrs().values()
        for address in listed
    }
    name = socket.gethostname().lower()
    if host in addresses or host in (name, f"{name}.local", socket.getfqdn().lower()):
        return True
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return any(one in addresses or ipaddress.ip_address(one).is_loopback for one in found)


def write(project: Path, stack: str, imported: Import) -> tuple[Path, list[notes.Finding]]:
    """Write the stack's file.

    Args:
        project: folder of Pulumi.yaml.
        stack: name of the new stack.
        imported: what `read` found.

    Returns:
        The file, and what the check of the settings had to change.

    Raises:
        OpsError: the file is there already, or the project's settings are not ours.
    """
    target = project / f"Pulumi.{stack}.yaml"
    if target.exists():
        raise OpsError(
            f"{target}: is there already; name another stack with --stack, or remove the file"
        )
    settings, mended = _checked(project, stack, imported.mapped)
    config = {f"{_NAMESPACE}:{key}": value for key, value in settings.items()}
    text = _HEAD.format(source=" and ".join(f.name for f in imported.files), stack=stack)
    text += yaml.safe_dump({"config": config}, sort_keys=False, allow_unicode=True)
    with target.open("x") as file:
        file.write(text)
    return target, mended


def _checked(
    project: Path, stack: str, mapped: mapping.Mapped
) -> tuple[dict[str, Any], list[notes.Finding]]:
    """The settings, mended where the project's own rules refuse them, and what was mended."""
    loader = _settings_of(project)
    tree: dict[str, Any] = json.loads(json.dumps(mapped.settings))
    mended: list[notes.Finding] = []
    taken = tuple(f"{_NAMESPACE}:{key}" for _, key in mapped.taken)
    try:
        _load(loader, project, stack, tree, mapped.secrets)
    except loader.SettingsError as error:
        for problem in error.problems:
            # What the file does not say is no loss: a default that does not fit the rest.
            lost = problem.key.startswith(taken)
            written = f"written: {_mend(problem.mend)}"
            mended.append(notes.Finding(problem.key, "", problem.text, written, lost))
            problem.mend.apply(tree)
        _load(loader, project, stack, tree, mapped.secrets)
    return tree, mended


def _load(
    loader: Any, project: Path, stack: str, tree: Mapping[str, Any], secrets: Collection[str]
) -> None:
    raw = {
        key: json.dumps(value) if isinstance(value, dict) else str(value)
        for key, value in tree.items()
    }
    # The user sets them later; that they are there is all that the rules ask.
    given = dict.fromkeys(secrets, "given-later")
    loader.load(stack, {**raw, **given}, root=project, secret_keys=tuple(secrets))


def _mend(mend: Any) -> str:
    return f"'{mend.value}'" if hasattr(mend, "value") else "nothing"


def _settings_of(project: Path) -> Any:
    """The project's module of settings: its rules are what the file must pass."""
    infra = project / "infra"
    if not (infra / "settings.py").is_file():
        raise OpsError(
            f"{project}: no infra/settings.py, so its stacks have no mlflow:* settings; change to a clone of "
            "pulumi-mlflow"
        )
    if str(infra) not in sys.path:
        sys.path.insert(0, str(infra))
    return importlib.import_module("settings")


def _reader(folder: Path) -> compose_file.Read:
    def read_text(path: str) -> str | None:
        try:
            return (folder / Path(path).expanduser()).read_text()
        except (OSError, UnicodeDecodeError):
            return None

    return read_text
