"""Official downloads: is one reachable, and is what came what was published."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from steps.console import SetupError

if TYPE_CHECKING:
    from pathlib import Path

PROBE_SECONDS: Final = 5.0
STALL_SECONDS: Final = 30.0


@cache
def reachable(url: str) -> bool:
    """Ask for the first byte of a file, and give up after five seconds; once a run for each file.

    Not by HEAD: storage behind signed redirects may refuse it. In a thread, because nothing else
    limits the time that looking up a host name may take.
    """
    _refuse_other_than_https(url)
    answer: list[bool] = []

    def ask() -> None:
        try:
            request = Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310
            with urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310
                answer.append(True)
        except (OSError, ValueError):
            answer.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answer and answer[0])


def fetch(url: str, target: Path) -> str:
    """Download a file and return its SHA-256; a stalled transfer ends with an error."""
    _refuse_other_than_https(url)
    sha = hashlib.sha256()
    try:
        with urlopen(url, timeout=STALL_SECONDS) as source, target.open("wb") as sink:  # noqa: S310
            while block := source.read(1 << 20):
                sha.update(block)
                sink.write(block)
    except (URLError, OSError) as error:
        raise SetupError(f"cannot download {url}: {error}") from error
    return sha.hexdigest()


def published_sha256(checksums: Path, name: str) -> str:
    """Find a file's checksum in the list that was published with it."""
    for line in checksums.read_text().splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*") == name:  # noqa: PLR2004 - hash and name
            return words[0].lower()
    raise SetupError(f"{checksums.name} has no checksum of {name}")


def _refuse_other_than_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise ValueError(f"not an https address: {url}")
