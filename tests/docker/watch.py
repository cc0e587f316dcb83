"""Looks for secrets where secrets must not be, while a stack lives and afterwards."""

import base64
import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import docker
from docker.errors import NotFound
from tests.docker.stack import DEPLOYMENT

_PERIOD = 0.1
"""Seconds between two looks at all command lines; a process that lives shorter may be missed."""


def forms(secret: str) -> set[bytes]:
    """A secret as it is, URL-encoded, and in base64 at every alignment."""
    raw = secret.encode()
    encoded = {raw, quote(secret, safe="").encode(), quote_plus(secret).encode()}
    for offset in range(3):
        code = base64.b64encode(b"\0" * offset + raw)
        # The characters at both ends hold bits of what stands beside it.
        start, rest = (offset * 8 + 5) // 6, (offset + len(raw)) % 3
        encoded.add(code[start : len(code) - (4 if rest else 0)])
    return encoded | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in encoded}


def hits(content: bytes, secrets: dict[str, str]) -> list[str]:
    """Names of the secrets that are found in it, in any form."""
    return sorted(n for n, secret in secrets.items() if any(f in content for f in forms(secret)))


def unpacked(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, and what it holds."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path, gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


class Watch:
    """Remembers the command lines of this machine and how a deployment's containers are described.

    That includes containers that live for seconds only: one-shot jobs, and those that carry files to a volume.

    Args:
        client: the engine.
        deployment: whose containers.
    """

    def __init__(self, client: docker.DockerClient, deployment: str) -> None:
        self.command_lines: set[bytes] = set()
        self.inspected: dict[str, bytes] = {}
        self._client, self._deployment = client, deployment
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator["Watch"]:
        events = self._client.events(
            decode=True,
            filters={"event": "create", "label": f"{DEPLOYMENT}={self._deployment}"},
        )
        threads = [
            threading.Thread(target=self._look_at_processes, daemon=True),
            threading.Thread(target=self._inspect, args=(events,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            events.close()
            threads[0].join(10)

    def _look_at_processes(self) -> None:
        while not self._stop.wait(_PERIOD):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.command_lines.add(file.read_bytes())

    def _inspect(self, events: Iterator[dict[str, str]]) -> None:
        for event in events:
            with contextlib.suppress(NotFound):
                self.inspect(event["id"])

    def inspect(self, container: str) -> None:
        """Remember how the engine describes a container."""
        found = self._client.api.inspect_container(container)
        self.inspected[found["Name"]] = json.dumps(found).encode()
