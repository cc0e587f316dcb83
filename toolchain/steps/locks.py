"""Locks that a killed `pulumi` of this machine has left in a state that is files: nobody else would remove them."""

import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit


def remove_stale(backend_url: str) -> list[str]:
    """Remove the locks whose process is gone.

    Args:
        backend_url: of the state; any but `file://` is left alone.

    Returns:
        What was removed, a line each.
    """
    parts = urlsplit(backend_url)
    if parts.scheme != "file":
        return []
    folder = Path(unquote(parts.path)) / ".pulumi" / "locks"
    removed = []
    for lock in sorted(folder.rglob("*.json")):
        holder = _holder(lock)
        if holder is not None and not _lives(holder):
            lock.unlink(missing_ok=True)
            stack = "/".join(lock.relative_to(folder).parts[-3:-1])
            removed.append(f"stack {stack}: was locked by a pulumi that is gone (process {holder})")
    return removed


def _holder(lock: Path) -> int | None:
    """The process that holds a lock; None if it is another machine's, or cannot be told."""
    try:
        held = json.loads(lock.read_text())
        return int(held["pid"]) if held["hostname"] == socket.gethostname() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # Another program may have the number by now, as after a reboot.
    try:
        return Path(f"/proc/{process}/comm").read_text().startswith("pulumi")
    except OSError:
        return True


def say_stale(backend_url: str) -> None:
    """Remove such locks, and say so."""
    for line in remove_stale(backend_url):
        print(line, file=sys.stderr)
