"""Steps of a Docker stack that are not things but events: a one-shot job, a container becoming healthy.

Both are dynamic resources that only exist once they have succeeded. A failure fails `up` with its log, what depends on
them does not start, and the next `up` tries again.
"""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from . import engine


class _EventProvider(ResourceProvider):
    """An event has happened or has not: any change of its inputs makes it happen again."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in news if key != "__provider" and news[key] != olds.get(key)]
        return DiffResult(changes=bool(changed), replaces=changed, delete_before_replace=True)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing is left of it."""


class _JobProvider(_EventProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        fields = {
            key: value for key, value in props.items() if key in engine.Job.__dataclass_fields__
        }
        engine.run_job(engine.connect(), engine.Job(**fields))
        return CreateResult(id_=props["name"], outs=props)


class _HealthyProvider(_EventProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        client = engine.connect()
        limits = props["limits"]
        # A number from the program comes as a float.
        engine.limit(
            client, props["container"], pids=int(limits["pids"]), cpus=float(limits["cpus"])
        )
        engine.wait_healthy(client, props["container"], props["timeout"])
        return CreateResult(id_=props["container"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Gone while the container is not well: the next `up`, which starts it if it is stopped, waits for it again."""
        if engine.is_healthy(engine.connect(), id_):
            return ReadResult(id_, props)
        return ReadResult("", {})


class DockerJob(Resource, module="pulumi-mlflow", name="DockerJob"):
    """A container that runs once, before what depends on it, and is removed.

    Args:
        name: logical name.
        job: the fields of `engine.Job`; any change runs it again.
        triggers: values whose change runs it again too.
    """

    def __init__(
        self,
        name: str,
        job: dict[str, Any],
        triggers: dict[str, pulumi.Input[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(_JobProvider(), name, {**job, "triggers": triggers or {}}, opts)


class DockerHealthy(Resource, module="pulumi-mlflow", name="DockerHealthy"):
    """A container's limits being set and its health check having passed; depend on `container` to run after it.

    Args:
        name: logical name.
        container: id of the container; a new one is waited for again.
        timeout: seconds.
        limits: `pids` and `cpus`, as `engine.limit` takes them. The provider knows no limit of processes, and reports a
            changed limit of CPUs without applying it; so a change of either needs no new container.

    Attributes:
        container: the id, once it is healthy.
    """

    container: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        container: pulumi.Input[str],
        timeout: float,
        limits: dict[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"container": container, "timeout": timeout, "limits": limits}
        super().__init__(_HealthyProvider(), name, props, opts)
