"""Writes a stack's file from a compose file. What means what is in core/compose_rules.py."""

import importlib
import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..core import compose_file, compose_mapping
from .errors import OpsError

_NAMESPACE = "mlflow"
_HEAD = """\
# Made from {source} by `pulumi-mlflow import-compose`. Passwords and keys are generated at `make up STACK={stack}`.
# Every key is in docs/configuration.md. A wrong one is refused with the command that mends it.
"""


@dataclass(frozen=True)
class Import:
    """A compose file, read, and the settings that it becomes."""

    source: Path
    mapped: compose_mapping.Mapped


def read(path: Path, env_file: Path | None, profiles: Collection[str] = ()) -> Import:
    """Read a compose file and all that it names.

    Args:
        path: the compose file.
        env_file: what fills in its variables; `.env` beside it unless given. The shell's variables win, as in compose.
        profiles: as in `docker compose --profile`.

    Raises:
        OpsError: a file is not there or is none of its kind.
    """
    folder = path.absolute().parent
    variables = dict(os.environ)
    try:
        beside = folder / ".env"
        if env_file is not None or beside.is_file():
            text = (env_file or beside).read_text()
            variables = {**compose_file.read_env_file(text, os.environ), **os.environ}
        parsed = compose_file.parse(path.read_text(), _reader(folder), variables, profiles)
    except compose_file.ComposeFileError as error:
        raise OpsError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise OpsError(
            f"{getattr(error, 'filename', None) or path}: cannot be read: {error}"
        ) from error
    return Import(path, compose_mapping.map_file(parsed, _reader(folder), str(folder)))


def write(project: Path, stack: str, imported: Import) -> tuple[Path, list[str]]:
    """Write the stack's file.

    Args:
        project: folder of Pulumi.yaml.
        stack: name of the new stack.
        imported: what `read` found.

    Returns:
        The file, and what the check of the settings had to change, a line each.

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
    text = _HEAD.format(source=imported.source.name, stack=stack)
    text += yaml.safe_dump({"config": config}, sort_keys=False, allow_unicode=True)
    with target.open("x") as file:
        file.write(text)
    return target, mended


def _checked(
    project: Path, stack: str, mapped: compose_mapping.Mapped
) -> tuple[dict[str, Any], list[str]]:
    """The settings, mended where the project's own rules refuse them, and what was mended."""
    loader = _settings_of(project)
    tree: dict[str, Any] = json.loads(json.dumps(mapped.settings))
    mended: list[str] = []
    try:
        _load(loader, project, stack, tree, mapped.secrets)
    except loader.SettingsError as error:
        for problem in error.problems:
            mended.append(f"{problem.key}: {problem.text}; written: {_mend(problem.mend)}")
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
