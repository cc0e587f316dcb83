"""The base of every component: type token, names of children, labels."""

from typing import Any

import pulumi

from .core import naming

PACKAGE = "pulumi-mlflow"


def default_deployment() -> str:
    """`<project>-<stack>`: the prefix of every physical name unless the caller gives another."""
    return f"{pulumi.get_project()}-{pulumi.get_stack()}"


class MlflowComponent(pulumi.ComponentResource):
    """A component of this library.

    Its token is `pulumi-mlflow:index:<ClassName>`, its children are `<name>-<role>` with itself as parent, and their
    physical names and labels come from `core.naming`.
    """

    _role: str
    """What the component is to its stack: `database`, `artifacts`, `tracking` or `proxy`. Set by each class."""

    def __init__(
        self, name: str, deployment: str | None, opts: pulumi.ResourceOptions | None
    ) -> None:
        super().__init__(f"{PACKAGE}:index:{type(self).__name__}", name, {}, opts)
        self._logical_name = name
        self._deployment = deployment or default_deployment()

    def _child(self, role: str) -> str:
        """Logical name of a child."""
        return f"{self._logical_name}-{role}"

    def _physical(self, *parts: str) -> str:
        """Physical name of something that belongs to this component."""
        return naming.physical_name(self._deployment, self._role, *parts)

    def _labels(self) -> dict[str, str]:
        return naming.labels(self._deployment, self._role)

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child: this component is its parent."""
        return pulumi.ResourceOptions(parent=self, **options)
