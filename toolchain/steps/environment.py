"""The environment that plain `pulumi up -s dev` needs. What the user has set always wins."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from steps.console import SetupError
from steps.places import Places, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUR_ROOT = "PULUMI_MLFLOW_ROOT"
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


class Environment:
    """Decides, for one clone, which variables are ours to set and which the user's to keep."""

    def __init__(self, places: Places, environ: Mapping[str, str]) -> None:
        self.places = places
        self.given = without_ours(environ)

    @property
    def backend_is_ours(self) -> bool:
        """Say whether state goes to this clone's folder: only where the user has no login."""
        if self.given.get("PULUMI_BACKEND_URL") or self.given.get("PULUMI_ACCESS_TOKEN"):
            return False
        return self.user_login() is None

    @property
    def backend(self) -> str:
        """Where state goes, as Pulumi writes it."""
        if url := self.given.get("PULUMI_BACKEND_URL"):
            return url
        if login := self.user_login():
            return login
        if self.given.get("PULUMI_ACCESS_TOKEN"):
            return self.given.get("PULUMI_API", "https://api.pulumi.com")
        return _backend_of(self.places.root)

    @property
    def passphrase_is_ours(self) -> bool:
        """Say whether our generated passphrase is used: no user's one, and a backend that needs it."""
        names = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
        managed = self.backend.startswith(("https://", "http://"))
        return not managed and not any(name in self.given for name in names)

    @property
    def pulumi_home(self) -> Path:
        """Where Pulumi keeps plugins and log-ins.

        A folder of ours, so that a plugin we built never gets into the user's other projects; but
        who has logged in has that login in his own home, and keeps it.
        """
        if self.given.get("PULUMI_HOME") or self.user_login():
            return self._user_home()
        return self.places.cache / "pulumi-home"

    def user_login(self) -> str | None:
        """Read where `pulumi login` pointed last, if the user ever did."""
        folder = self.given.get("PULUMI_CREDENTIALS_PATH")
        file = (Path(folder) if folder else self._user_home()) / "credentials.json"
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError):
            return None
        current = content.get("current") if isinstance(content, dict) else None
        return current if isinstance(current, str) and current else None

    def exports(self) -> dict[str, str]:
        """List the variables to set; the one place that knows them."""
        values = {
            "PATH": self._path(),
            "PULUMI_MLFLOW_CACHE": str(self.places.cache),
            _OUR_ROOT: str(self.places.root),
            "PULUMI_HOME": str(self.pulumi_home),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # The salt lives in the state; see docs/adr/0003-where-the-salt-lives.md.
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        }
        if self.backend_is_ours:
            values["PULUMI_BACKEND_URL"] = _backend_of(self.places.root)
        if self.passphrase_is_ours:
            values["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_of(self.places.root))
        if self.given.get(_NO_BYTECODE):
            # Images of containers set it. Then each `pulumi` compiles the providers' SDKs anew: 3 to 10 s.
            values[_NO_BYTECODE] = ""
        if user := missing_user(self.given):
            values["USER"] = user
        if host := docker_context_host(self.given):
            values["DOCKER_HOST"] = host
        return values

    def full(self) -> dict[str, str]:
        """Return the whole environment for a program that we start."""
        return {**self.given, **self.exports()}

    def shell(self) -> str:
        """Write the exports as lines for a POSIX shell's eval."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.exports().items()]
        # A variable of another clone that is not ours to set again must not stay behind either.
        stale = [name for name in _OWNED if name in os.environ and name not in self.full()]
        return "\n".join([*(f"unset {name}" for name in stale), *lines])

    def prepare_state(self) -> None:
        """Make the folder for state and the passphrase, once; never written over."""
        self.places.make_state_folder()
        if self.backend_is_ours:
            (self.places.state / "pulumi").mkdir(mode=0o700, exist_ok=True)
        self.pulumi_home.mkdir(parents=True, exist_ok=True)
        file = _passphrase_of(self.places.root)
        if not self.passphrase_is_ours or file.exists():
            return
        stacks = self.places.state / "pulumi" / ".pulumi" / "stacks"
        if self.backend_is_ours and any(stacks.glob("*/*.json")):
            raise SetupError(
                f"{file} is missing, but {stacks} holds stacks that were locked with it.\n"
                "Put the file back (or export PULUMI_CONFIG_PASSPHRASE). If the stacks are gone"
                f" for good, move {stacks} away."
            )
        write_private(file, secrets.token_urlsafe(32))

    def _path(self) -> str:
        """Put our programs and the venv first; the old Python host finds the venv only by PATH."""
        installed = (self.places.tools, self.places.uv_folder)
        ours = [self.places.venv / "bin", *(folder for folder in installed if folder.is_dir())]
        first = [str(folder) for folder in ours]
        rest = self.given.get("PATH", os.defpath).split(os.pathsep)
        return os.pathsep.join([*first, *(entry for entry in rest if entry not in first)])

    def _user_home(self) -> Path:
        return Path(self.given.get("PULUMI_HOME") or "~/.pulumi").expanduser()


# What an earlier eval may have set, and with which value: told from the user's own by that value.
_OWNED = (
    "PULUMI_HOME",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_SKIP_UPDATE_CHECK",
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER",
    _OUR_ROOT,
)


def without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    """Take out what the eval line of this or another clone has put in.

    Otherwise a shell that had the eval line of one clone would make the set-up of a second clone
    believe that the first one's backend is the user's own choice.
    """
    given = dict(environ)
    root = given.pop(_OUR_ROOT, None)
    if root is None:
        return given
    cache = given.get("PULUMI_MLFLOW_CACHE", "")
    ours = {
        "PULUMI_HOME": str(Path(cache) / "pulumi-home"),
        "PULUMI_BACKEND_URL": _backend_of(Path(root)),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase_of(Path(root))),
    }
    for name, value in ours.items():
        if given.get(name) == value:
            del given[name]
    venv = str(Path(root) / ".venv" / "bin")
    entries = given.get("PATH", os.defpath).split(os.pathsep)
    kept = [entry for entry in entries if entry != venv and not entry.startswith(cache + os.sep)]
    return {**given, "PATH": os.pathsep.join(kept)}


def missing_user(environ: Mapping[str, str]) -> str | None:
    """Make up a user name where there is none (a container's bare uid): Pulumi's locks want one."""
    if environ.get("USER"):
        return None
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return f"uid{os.getuid()}"
    return None


def docker_context_host(environ: Mapping[str, str]) -> str | None:
    """Find the engine that `docker context use` chose; Pulumi's provider knows DOCKER_HOST only."""
    if environ.get("DOCKER_HOST"):
        return None
    folder = Path(environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    try:
        config = json.loads((folder / "config.json").read_text())
        name = environ.get("DOCKER_CONTEXT") or config.get("currentContext") or "default"
        key = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((folder / "contexts" / "meta" / key / "meta.json").read_text())
        host = meta["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return host if isinstance(host, str) else None


def _backend_of(root: Path) -> str:
    return f"file://{root}/.state/pulumi"


def _passphrase_of(root: Path) -> Path:
    return root / ".state" / "passphrase"
