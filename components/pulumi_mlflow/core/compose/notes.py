"""What is written down while a compose file is mapped: settings, what was taken, and what could not be. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .shell import is_unknown

HIDDEN = "(not shown)"

_SECRET_NAME = re.compile(
    r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE|ROOT_USER|_PW$|_PASS$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/\s]*@")
_LEAST_SECRET = 4
"""Characters from which on a secret is looked for inside of other values."""


@dataclass(frozen=True)
class Finding:
    """Something of the file that is not in the settings, or not as it was."""

    place: str
    """`service.key`."""
    value: str
    """As it stands in the file; `HIDDEN` where it may be a secret, empty where there is none to show."""
    why: str
    todo: str = ""
    lost: bool = True
    """Whether something of the file is lost or guessed; else it is only good to know."""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        todo = f"; {self.todo}" if self.todo else ""
        return f"{self.place}{value}: {self.why}{todo}"


class Fact(NamedTuple):
    """What the file says of one thing."""

    place: str
    value: str


@dataclass
class Notes:
    """The settings in the making."""

    settings: dict[str, Any] = field(default_factory=lambda: {"runtime": "docker"})
    taken: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict, repr=False)
    _hidden: set[str] = field(default_factory=set, repr=False)

    def hide(self, environments: Iterable[Mapping[str, str]]) -> None:
        """A secret's value is hidden wherever it stands; unless it is as public as a name of a user that it equals."""
        pairs = [pair for e in environments for pair in e.items() if pair[1]]
        secret = {value for name, value in pairs if _SECRET_NAME.search(name)}
        self._hidden = secret - {value for name, value in pairs if not _SECRET_NAME.search(name)}

    def put(self, place: str, key: str, value: Any) -> None:
        """A setting that something of the file becomes."""
        node = self.settings
        *sections, last = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
        self.taken.append((place, key))

    def find(self, place: str, value: str, why: str, todo: str = "") -> None:
        """Something of the file that is lost or guessed."""
        self.findings.append(Finding(place, value, why, todo))

    def tell(self, place: str, value: str, why: str, todo: str = "") -> None:
        """Something that is good to know; nothing of the file is lost by it."""
        self.findings.append(Finding(place, value, why, todo, lost=False))

    def shown(self, name: str, value: str) -> str:
        """A value as it may be printed."""
        if not value:
            return ""
        secret = (
            _USERINFO.search(value)
            or is_unknown(value)
            or any(
                hidden == value or (len(hidden) >= _LEAST_SECRET and hidden in value)
                for hidden in self._hidden
            )
        )
        return HIDDEN if secret or _SECRET_NAME.search(name) else value

    def secret(self, key: str, fact: str) -> None:
        """A secret that the user must set."""
        place = self.facts[fact].place if fact in self.facts else key
        self.secrets.append(key)
        self.tell(
            place,
            HIDDEN,
            "secrets are never written to a file",
            f"pulumi config set --secret mlflow:{key} -s STACK",
        )

    def simple(self, fact: str, key: str, convert: Callable[[str], Any]) -> None:
        """A fact that is one setting."""
        if fact not in self.facts:
            return
        place, value = self.facts[fact]
        if is_unknown(value):
            self.find(
                place, "", "is computed by a script that is not run", f"set mlflow:{key} yourself"
            )
            return
        made = convert(value)
        if made not in ([], ""):
            self.put(place, key, made)

    def value(self, fact: str) -> str:
        """What the file says of a thing; empty where it says nothing."""
        return self.facts[fact].value if fact in self.facts else ""


def number(text: str) -> Any:
    """A whole number where it is one; else the text, for the check of the settings to refuse."""
    return int(text) if text.isdigit() else text


def port_of(text: str) -> int | None:
    """The port at the end of `:9001` or `0.0.0.0:9001`."""
    last = text.strip("'\"").rpartition(":")[2]
    return int(last) if last.isdigit() else None


def names(text: str) -> list[str]:
    """The items of a list in one value."""
    return [part for part in re.split(r"[,\s]+", text) if part and part != "*"]


def is_true(text: str) -> bool:
    """Whether a value switches something on, as MLflow and click read it."""
    return text.strip().lower() in ("", "1", "t", "y", "true", "yes", "on")
