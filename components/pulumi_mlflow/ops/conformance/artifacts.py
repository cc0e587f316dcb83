"""Files that go up and come back."""

import hashlib
import os
import time

from .behaviour import CheckError
from .server import Server

ARTIFACT_BYTES = 100_000_000
"""Over every default limit on request bodies between client and store (nginx 1 MB, gateways 10-60 MB)."""

LARGE_BYTES = 1_200_000_000
"""Over a gigabyte, where temporary files, and 32-bit sizes with a sign, have their limits."""

_CHUNK = 1 << 20


def uploads(server: Server) -> str:
    """Random bytes, so that nothing on the way can compress them."""
    server.training.payload_hash, seconds = _upload(server, server.training.run_id, ARTIFACT_BYTES)
    return _speed(ARTIFACT_BYTES, seconds)


def downloads(server: Server) -> str:
    """The bytes that come back are those that went up."""
    run = server.training
    return _speed(ARTIFACT_BYTES, _download(server, run.run_id, run.payload_hash))


def carries_large(server: Server) -> str:
    """More than a gigabyte goes up and comes back."""
    run_id = server.new_run("large artifact")
    digest, up = _upload(server, run_id, LARGE_BYTES)
    down = _download(server, run_id, digest)
    server.client.set_terminated(run_id)
    return f"up {_speed(LARGE_BYTES, up)}, down {_speed(LARGE_BYTES, down)}"


def _upload(server: Server, run_id: str, size: int) -> tuple[str, float]:
    """Log a file of random bytes; its SHA-256, and the seconds that it took to send."""
    payload = server.scratch / "payload.bin"
    digest = hashlib.sha256()
    with payload.open("wb") as file:
        for start in range(0, size, _CHUNK):
            block = os.urandom(min(_CHUNK, size - start))
            digest.update(block)
            file.write(block)
    start_time = time.monotonic()
    server.client.log_artifact(run_id, str(payload), "large")
    seconds = time.monotonic() - start_time
    payload.unlink()
    return digest.hexdigest(), seconds


def _download(server: Server, run_id: str, wanted: str) -> float:
    """The seconds that the file took to come back."""
    start_time = time.monotonic()
    payload = server.download(run_id, "large/payload.bin")
    seconds = time.monotonic() - start_time
    size = payload.stat().st_size
    with payload.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    payload.unlink()
    if found != wanted:
        raise CheckError(f"sha256 {found}, not {wanted}; {size} bytes came back")
    return seconds


def _speed(size: int, seconds: float) -> str:
    return f"{size / 1e6 / seconds:.0f} MB/s"
