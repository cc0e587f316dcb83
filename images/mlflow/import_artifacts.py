"""Copies the artifact store of another MLflow to the server's own; the other one is only read.

Runs inside the image, like boot.py.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import transfer
from bootlib import BootError, wait
from stores import S3Store, open_store

_WAIT_SECONDS = 30


def copy(source_file: Path, state: Path) -> None:
    """Copy every object, compared by SHA-256; goes on where it was interrupted.

    Args:
        source_file: JSON with the variables of the other store, keys among them: a secret.
        state: SQLite file that remembers what was compared.

    Raises:
        BootError: the other store does not answer or refuses, or an object differs after it was copied.
    """
    other = open_store(json.loads(source_file.read_text()))
    if isinstance(other, S3Store):
        s3, bucket = other.client, other.bucket
        wait(
            f"the other store ({other.name})", lambda: s3.head_bucket(Bucket=bucket), _WAIT_SECONDS
        )
    transfer.copy(other, open_store(os.environ), state)


def main() -> int:
    """Print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="import_artifacts")
    parser.add_argument("source", type=Path)
    parser.add_argument("state", type=Path)
    arguments = parser.parse_args()
    try:
        copy(arguments.source, arguments.state)
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
