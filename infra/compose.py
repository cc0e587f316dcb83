"""Composes a stack in its runtime."""

from collections.abc import Callable

import pulumi

from models import Runtime, Settings
from problems import NAMESPACE


def compose(settings: Settings) -> None:
    """Register the components of a stack and export what its users and the operations need.

    Raises:
        pulumi.RunError: the components of the runtime come with a later release.
    """
    runtimes: dict[Runtime, Callable[[Settings], None]] = {
        Runtime.LOCAL: _local,
        Runtime.DOCKER: _docker,
    }
    if settings.runtime not in runtimes:
        raise pulumi.RunError(
            f"Pulumi.{pulumi.get_stack()}.yaml: {NAMESPACE}:runtime: the settings are right, but the components of "
            f"'{settings.runtime.value}' come with a later release; until then 'local' and 'docker' can be run"
        )
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
