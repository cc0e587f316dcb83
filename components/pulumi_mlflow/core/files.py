"""Configuration files and secrets of a container: where it finds them, and what tells one set from another."""

import hashlib
import re
from collections.abc import Mapping

FILES_PATH = "/run/pulumi-mlflow"
"""Where a container finds its files. Our images' entrypoint makes variables of those below `env/`."""


def version(files: Mapping[str, str], salt: str) -> str:
    """A name for what is in the files; no secret.

    Some files are secrets, and a password may be short: scrypt makes guessing one from the version dear.

    Args:
        files: path → content.
        salt: what they are for, such as the name of the volume.

    Returns:
        16 hexadecimal digits.
    """
    text = "\0".join(f"{path}\0{content}" for path, content in sorted(files.items()))
    return hashlib.scrypt(text.encode(), salt=salt.encode(), n=1 << 14, r=8, p=1, dklen=8).hex()


def key(path: str) -> str:
    """The key of a file in a Kubernetes Secret, which takes no slashes.

    Raises:
        ValueError: a path that no key can stand for.
    """
    found = path.replace("/", ".")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", found):
        raise ValueError(f"path: must be letters, digits and ._-/ (got {path!r})")
    return found
