"""Composes a stack in its runtime."""

from collections.abc import Callable

import pulumi

from models import Settings
from sections import Runtime


def compose(settings: Settings) -> None:
    """Register the components of a stack and export what its users and the operations need."""
    runtimes: dict[Runtime, Callable[[Settings], None]] = {
        Runtime.LOCAL: _local,
        Runtime.DOCKER: _docker,
        Runtime.AWS: _aws,
        Runtime.KUBERNETES: _kubernetes,
    }
    runtimes[settings.runtime](settings)
    pulumi.export("runtime", settings.runtime.value)
    pulumi.export("auth_mode", settings.access.auth.value)


# Each runtime is loaded when it is asked for: providers' SDKs take seconds.


def _local(settings: Settings) -> None:
    import local_stack  # noqa: PLC0415

    local_stack.compose(settings)


def _docker(settings: Settings) -> None:
    import docker_stack  # noqa: PLC0415

    docker_stack.compose(settings)


def _aws(settings: Settings) -> None:
    import aws_stack  # noqa: PLC0415

    aws_stack.compose(settings)


def _kubernetes(settings: Settings) -> None:
    import kubernetes_stack  # noqa: PLC0415

    kubernetes_stack.compose(settings)
