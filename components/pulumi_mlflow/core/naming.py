"""Physical names, labels and tags: one function each, for every runtime."""

import hashlib
import re
from collections.abc import Mapping

DOCKER_NAME_LIMIT = 63
"""DNS labels end at 63 characters (RFC 1035, 2.3.4), and Docker answers for container names in its DNS."""

_HASH_LENGTH = 8

MANAGED = "pulumi-mlflow/managed-by"
"""Label of everything that we create, and of nothing else."""


def physical_name(deployment: str, *parts: str, limit: int = DOCKER_NAME_LIMIT) -> str:
    """A name that carries its deployment, is valid as a DNS label, and stays within a limit.

    Args:
        deployment: project and stack, such as `mlflow-dev`.
        parts: what it is, from the general to the particular, such as `database`, `data`.
        limit: the longest name allowed, in characters.

    Returns:
        Lower-case letters, digits and dashes. A name that had to be changed or cut ends in a hash of the original,
        so that two originals never share a name.

    Raises:
        ValueError: nothing of the name is left, or the limit leaves no room for a hash.
    """
    if limit <= _HASH_LENGTH + 1:
        raise ValueError(f"limit: must be over {_HASH_LENGTH + 1} (got {limit})")
    original = "-".join((deployment, *parts))
    name = re.sub(r"[^a-z0-9]+", "-", original.lower()).strip("-")
    if not name:
        raise ValueError(f"name: needs a letter or digit (got {original!r})")
    if name == original and len(name) <= limit:
        return name
    digest = hashlib.sha256(original.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: limit - _HASH_LENGTH - 1].rstrip('-')}-{digest}"


def accepted_name(deployment: str, pattern: str) -> str:
    """A deployment's own name where a service takes it, else one that every service takes.

    Args:
        deployment: project and stack, such as `mlflow-dev`; Pulumi has capitals, `_` and `.` in both.
        pattern: regular expression of what the service takes.
    """
    return deployment if re.fullmatch(pattern, deployment) else physical_name(deployment)


def unique_suffix(before: Mapping[str, str], version: str) -> str:
    """What ends the name of a thing that is made anew for each version of its content. None ever comes back.

    A name by content alone would: Pulumi deletes what was replaced at the end of an `up`, or of a later one if that
    failed, and what took up the same name meanwhile would go with it.

    Args:
        before: `version` and `suffix` of the thing as it stands; empty for the first.
        version: hexadecimal digits that tell its content from others.

    Returns:
        As many hexadecimal digits as `version` has: itself at first, then a hash of all that came before.
    """
    was = before.get("suffix")
    if not was or before["version"] == version:
        return was or version
    return hashlib.sha256(f"{was}\0{version}".encode()).hexdigest()[: len(version)]


def labels(deployment: str, role: str) -> dict[str, str]:
    """Labels (Docker, Kubernetes) or tags (AWS) of everything that we create.

    Args:
        deployment: project and stack, such as `mlflow-dev`.
        role: `database`, `artifacts`, `tracking`, `proxy`, …
    """
    return {
        "pulumi-mlflow/deployment": deployment,
        "pulumi-mlflow/role": role,
        MANAGED: "pulumi",
    }
