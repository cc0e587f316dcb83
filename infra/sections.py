"""What the models of settings are made of: sections, and the runtimes in which a key has a meaning."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Runtime(StrEnum):
    """Where a stack runs."""

    LOCAL = "local"
    DOCKER = "docker"
    AWS = "aws"
    KUBERNETES = "kubernetes"


ALL = tuple(Runtime)
LOCAL = (Runtime.LOCAL,)
DOCKER = (Runtime.DOCKER,)
AWS = (Runtime.AWS,)
KUBERNETES = (Runtime.KUBERNETES,)
CLOUD = AWS + KUBERNETES
SERVERS = DOCKER + CLOUD
HERE = LOCAL + DOCKER
CONTAINERS = DOCKER + KUBERNETES
BUILT = DOCKER + AWS
"""Runtimes whose images a stack builds; a cluster pulls what is in a registry."""


def only(*runtimes: Runtime) -> dict[str, Any]:
    """Marks a field with the runtimes in which it has a meaning."""
    return {"runtimes": [runtime.value for runtime in runtimes]}


class Section(BaseModel):
    """Base of all models: immutable, and a key that is none of ours is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
