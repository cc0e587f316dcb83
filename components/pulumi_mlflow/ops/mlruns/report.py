"""What an import did, and what it could not take."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Report:
    """What an import did.

    Args:
        root: the folder that places are told from.
    """

    root: Path
    taken: Counter[str] = field(default_factory=Counter)
    """Kind of thing → how many are new on the server."""
    known: Counter[str] = field(default_factory=Counter)
    """Kind of thing → how many an earlier import had brought."""
    left: list[str] = field(default_factory=list)
    """What was skipped, cut or renamed: its file, and why; a line each."""
    notes: list[str] = field(default_factory=list)
    """What is lossless and still worth knowing."""

    def leave(self, place: Path | str, reason: str) -> None:
        """Name something that does not arrive as it is in the folder."""
        self.left.append(f"{self.name(place)}: {reason}")

    def name(self, place: Path | str) -> str:
        """A place as people read it: below the root, on one line."""
        text = os.fspath(place)
        if isinstance(place, Path) and place.is_relative_to(self.root):
            text = place.relative_to(self.root).as_posix()
        readable = text.encode("utf-8", "backslashreplace").decode()
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in readable)
