"""Official base images by their digests: the lock file, what is new, and what a running stack began with."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

COLUMNS = ("Image", "Tag", "Before", "Now", "Since", "")
"""Of the table whose rows `Change.row` makes."""

RUNNING_COLUMNS = ("Runs", "Digest", "Begins with", "Of digest", "")
"""Of the table whose rows `Running.row` makes."""

BY_TAG = "by tag"
"""What stands in the place of a digest where none is locked."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._/-]*:\w[\w.-]*")
_SHORT = 12


class LockError(ValueError):
    """A lock file that cannot be read; its text names file, key and mend."""


class Base(NamedTuple):
    """What an official tag means here."""

    digest: str
    """`sha256:` and 64 hexadecimals."""
    since: date
    """When it was taken in, in UTC."""


@dataclass(frozen=True)
class Change:
    """An official image, before and after a look at its registry."""

    reference: str
    """`name:tag`."""
    before: Base | None
    """None: not locked yet."""
    now: Base | None
    """None: no image of ours begins with it any more."""

    @property
    def is_new(self) -> bool:
        """Whether the lock file changes."""
        return self.before != self.now

    @property
    def said(self) -> str:
        """What happened, for people."""
        if not self.is_new:
            return "same"
        if self.now is None:
            return "no longer used"
        return "changed" if self.before else "locked"

    def row(self) -> tuple[str, ...]:
        """Cells of `COLUMNS`."""
        name, _, tag = self.reference.rpartition(":")
        before = short(self.before.digest) if self.before else BY_TAG
        now, since = (short(self.now.digest), str(self.now.since)) if self.now else ("", "")
        return name, tag, before, now, since, self.said


@dataclass(frozen=True)
class Running:
    """An image that a stack has pushed, and runs."""

    kind: str
    digest: str
    """Its own, in the stack's repository."""
    base: str
    """What it was built from: `name:tag`, with `@digest` where that was locked."""

    def verdict(self, now: Mapping[str, Base]) -> str:
        """How its base is to the locked ones."""
        reference, _, digest = self.base.partition("@")
        if reference not in now:
            return "another base"
        if not digest:
            return "unknown: by tag"
        return "same" if digest == now[reference].digest else "older base"

    def row(self, now: Mapping[str, Base]) -> tuple[str, ...]:
        """Cells of `RUNNING_COLUMNS`."""
        reference, _, digest = self.base.partition("@")
        of = short(digest) if digest else BY_TAG
        return self.kind, short(self.digest), reference, of, self.verdict(now)


def short(digest: str) -> str:
    """The start of a digest, as people compare it."""
    return digest.removeprefix("sha256:")[:_SHORT]


def is_digest(text: str) -> bool:
    """Whether it is a digest as registries give them."""
    return bool(_DIGEST.fullmatch(text))


def pinned(reference: str, locked: Mapping[str, Base]) -> str:
    """`name:tag@digest` where the lock file has the tag, else the tag as it is."""
    return f"{reference}@{locked[reference].digest}" if reference in locked else reference


def parse(text: str, file: object) -> dict[str, Base]:
    """Read a lock file.

    Args:
        text: its content.
        file: where it is, for errors.

    Returns:
        `name:tag` → what it means.

    Raises:
        LockError: it is none.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise _error(file, f"is no JSON that can be used: {error}") from error
    if not isinstance(content, dict):
        raise _error(file, f"must be an object, name:tag to its digest (got {text.strip()[:40]!r})")
    return {reference: _base(file, reference, entry) for reference, entry in content.items()}


def render(locked: Mapping[str, Base]) -> str:
    """The text of a lock file: in one order, so that a change is a line in a review."""
    content = {
        reference: {"digest": base.digest, "since": str(base.since)}
        for reference, base in locked.items()
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def compare(locked: Mapping[str, Base], found: Mapping[str, str], today: date) -> list[Change]:
    """What a look at the registries brought.

    Args:
        locked: of the file.
        found: `name:tag` → digest, of all that images of ours begin with.
        today: the date of what is new; what is not keeps its own.

    Returns:
        One for each image, and for each entry that no image begins with any more.
    """
    changes = []
    for reference in sorted({*locked, *found}):
        before, digest = locked.get(reference), found.get(reference)
        same = before if before and before.digest == digest else None
        now = same or (Base(digest, today) if digest else None)
        changes.append(Change(reference, before, now))
    return changes


def merge(changes: Iterable[Change]) -> dict[str, Base]:
    """The entries of the file after the changes."""
    return {change.reference: change.now for change in changes if change.now}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once: of two, as a careless merge leaves them, JSON takes the last."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} is there twice")
    return dict(pairs)


def _base(file: object, reference: str, entry: Any) -> Base:
    if not _REFERENCE.fullmatch(reference):
        raise _error(file, f"{reference!r}: must be an image's name:tag")
    given = entry if isinstance(entry, dict) else {}
    digest, since = given.get("digest"), given.get("since")
    if set(given) != {"digest", "since"}:
        raise _error(file, f"{reference}: must have digest and since, and nothing else")
    if not isinstance(digest, str) or not is_digest(digest):
        raise _error(
            file, f"{reference}: digest: must be sha256: and 64 hexadecimals (got {digest!r})"
        )
    try:
        return Base(digest, date.fromisoformat(since if isinstance(since, str) else ""))
    except ValueError as error:
        raise _error(file, f"{reference}: since: must be a date (got {since!r})") from error


def _error(file: object, what: str) -> LockError:
    return LockError(
        f"{file}: {what}. Put the committed file back (git checkout -- {file}), or remove it and run "
        "make images-update"
    )
