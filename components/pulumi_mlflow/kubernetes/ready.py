"""A step of a stack in a cluster that is no thing but an event: a workload running what it was told to.

Pulumi's own provider takes a rollout for done that has not begun: of `Recreate`, and of a template that the cluster had
before. And of an image that nobody can pull it says nothing until its time is up. So it is told to wait for nothing.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from .. import builds
from ..core import rollouts

AT_ONCE = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Annotation: the provider waits until the object is there. Unlike by `skipAwait`, one that goes is awaited as ever."""

INSTEAD = "PULUMI_MLFLOW_ROLLOUTS"
"""Variable of tests: URL of what answers in the place of the cluster."""

ROLLOUT_SECONDS = 3600
"""For all pods of a rollout, one after the other. Each has ten minutes, by `progressDeadlineSeconds`."""

_POLL_SECONDS = 2
_SAY_SECONDS = 15
_REQUEST_SECONDS = 30
_UNREACHABLE_SECONDS = 120
"""How long a cluster's API may be away, such as while its control plane is upgraded."""

_NOT_FOUND = 404
_REFUSED = (401, 403)


class KubernetesAccessArgs(TypedDict):
    """How this machine reaches the cluster, to see a rollout through: as the provider does. One of both."""

    context: NotRequired[str]
    """Context of its kubeconfig."""
    kubeconfig: NotRequired[pulumi.Input[str]]
    """Content of a kubeconfig (secret)."""


class RolloutError(RuntimeError):
    """A workload cannot run, or has not in its time; the message says why, and ends with its log where there is one."""


class Api:
    """Reads objects of a cluster.

    Args:
        access: `context` or `kubeconfig`.
        namespace: where all of them are.

    Raises:
        RolloutError: there is no such context, or the kubeconfig is none.
    """

    def __init__(self, access: Mapping[str, Any], namespace: str) -> None:
        import kubernetes.client  # noqa: PLC0415 - takes seconds, and a preview needs none of it
        import kubernetes.config  # noqa: PLC0415
        import yaml  # noqa: PLC0415

        self._namespace = namespace
        config: Any = kubernetes.config  # has no types
        try:
            if url := os.environ.get(INSTEAD, ""):
                client = kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url))
            elif text := access.get("kubeconfig"):
                client = config.new_client_from_config_dict(yaml.safe_load(text))
            else:
                client = config.new_client_from_config(context=access["context"])
        except kubernetes.config.ConfigException as error:
            raise RolloutError(f"the cluster's kubeconfig cannot be used: {error}") from error
        self._core = kubernetes.client.CoreV1Api(client)
        apps, batch = kubernetes.client.AppsV1Api(client), kubernetes.client.BatchV1Api(client)
        self._apps = apps
        self._reads = {
            "Deployment": apps.read_namespaced_deployment,
            "StatefulSet": apps.read_namespaced_stateful_set,
            "Job": batch.read_namespaced_job,
        }

    def workload(self, kind: str, name: str) -> dict[str, Any] | None:
        """A workload; None where there is none of this name."""
        found = self._asked(self._reads[kind], name)
        return None if found is None else {**json.loads(found), "kind": kind}

    def sets(self, selector: str) -> list[dict[str, Any]]:
        """ReplicaSets by their labels."""
        return self._items(self._apps.list_namespaced_replica_set, label_selector=selector)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods by their labels."""
        return self._items(self._core.list_namespaced_pod, label_selector=selector)

    def events(self) -> list[dict[str, Any]]:
        """Warnings, the last one last; none where we may not read them, since they only explain."""
        try:
            found = self._items(self._core.list_namespaced_event, field_selector="type=Warning")
        except RolloutError:
            return []
        return sorted(found, key=lambda one: str(one.get("lastTimestamp") or ""))

    def log(self, pod: str, container: str, *, previous: bool) -> str:
        """The end of a container's log; empty where there is none.

        Args:
            pod: name.
            container: name.
            previous: of its last start, rather than this one.
        """
        try:
            found = self._asked(
                self._core.read_namespaced_pod_log,
                pod,
                container=container,
                previous=previous,
                tail_lines=builds.LOG_TAIL,
            )
        except (RolloutError, OSError):
            return ""
        return builds.tail((found or b"").decode(errors="replace"))

    def _items(self, question: Callable[..., Any], **options: str) -> list[dict[str, Any]]:
        return list(json.loads(self._asked(question, **options) or b"{}").get("items") or [])

    def _asked(self, question: Callable[..., Any], *names: str, **options: Any) -> bytes | None:
        """What the API says; None where it knows none.

        Raises:
            RolloutError: we may not ask.
            OSError: it cannot be reached.
        """
        import urllib3.exceptions  # noqa: PLC0415
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415

        try:
            answer = question(
                *names,
                namespace=self._namespace,
                _preload_content=False,
                _request_timeout=_REQUEST_SECONDS,
                **options,
            )
            return bytes(answer.data)
        except ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            said = f"the cluster's API answers {error.status}: {error.reason} {error.body or ''}"
            if error.status in _REFUSED:
                raise RolloutError(said.strip()) from error
            raise OSError(said.strip()) from error
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"the cluster's API cannot be reached: {error}") from error


class Watch:
    """Waits for one workload.

    Args:
        api: of its cluster.
        props: `kind`, `name`, `uid`, `selector` of its pods, `timeout` in seconds.
        now: seconds of a clock.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        api: Api,
        props: Mapping[str, Any],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api, self._props, self._now, self._sleep = api, props, now, sleep
        self._what = f"{props['kind']} {props['name']}"
        self._since: dict[str, float] = {}
        self._seen: dict[str, rollouts.Fault] = {}

    def wait(self) -> None:
        """Return once it runs what it was told to.

        Raises:
            RolloutError: it cannot, or has not in time.
        """
        began = said = reached = self._now()
        while True:
            try:
                found, text = self._step()
                reached = self._now()
            except OSError as error:
                found, text = None, str(error)
                if self._now() - reached > _UNREACHABLE_SECONDS:
                    raise RolloutError(f"{self._what}: {error}") from error
            if found is not None and rollouts.settled(found):
                return
            if self._now() - began > float(self._props["timeout"]):
                raise RolloutError(
                    f"{self._what}: not ready within {float(self._props['timeout']):.0f} s; {text}"
                    f"{self._causes(self._seen.values())}"
                )
            if self._now() - said > _SAY_SECONDS:
                builds.say(f"{self._what}: {text}{self._causes(self._seen.values(), logs=False)}")
                said = self._now()
            self._sleep(_POLL_SECONDS)

    def _step(self) -> tuple[dict[str, Any], str]:
        """Look once; the workload, and how far it is."""
        found = self._api.workload(self._props["kind"], self._props["name"])
        if found is None or found["metadata"].get("uid", "") != self._props["uid"]:
            raise RolloutError(
                f"{self._what}: it was made, and is not in the cluster that is asked: is `cluster` the one that "
                "Pulumi's provider uses?"
            )
        if rollouts.settled(found):
            return found, ""
        selector = self._props["selector"]
        sets = self._api.sets(selector) if found["kind"] == "Deployment" else []
        pods = rollouts.newest(found, sets, self._api.pods(selector))
        faults = rollouts.faults(found, pods, self._api.events())
        self._remember(faults)
        if reason := rollouts.given_up(found):
            raise RolloutError(f"{self._what}: {reason}{self._causes(self._seen.values())}")
        over = [
            fault
            for fault in self._seen.values()
            if fault.lasts is not None and self._now() - self._since[fault.key] >= fault.lasts
        ]
        if over:
            raise RolloutError(f"{self._what} cannot run:{self._causes(over)}")
        return found, rollouts.progress(found)

    def _remember(self, faults: Sequence[rollouts.Fault]) -> None:
        """Keep what is still wrong, since when, and why."""
        now, before = self._now(), self._seen
        self._seen = {}
        for fault in faults:
            was = before.get(fault.key)
            # Between two tries older releases do not say why the first one failed.
            keep = was and not fault.message
            self._seen[fault.key] = was if keep and was else fault
        self._since = {key: self._since.get(key, now) for key in self._seen}

    def _causes(self, faults: Any, *, logs: bool = True) -> str:
        lines = []
        for fault in faults:
            lines.append(f"\n{fault}")
            if logs and fault.container:
                pod = fault.where.split(",")[0].removeprefix("pod ")
                crashed = fault.reason == "CrashLoopBackOff"
                log = self._api.log(pod, fault.container, previous=crashed)
                lines += [f"\n--- its log\n{log}"] if log else []
        return "".join(lines)


class _ReadyProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        Watch(Api(props["cluster"], props["namespace"]), props).wait()
        return CreateResult(id_=props["name"], outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # How long to wait is nothing that happens.
        keys = [key for key in news if key not in ("__provider", "timeout")]
        return DiffResult(changes=any(news[key] != olds.get(key) for key in keys))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        Watch(Api(news["cluster"], news["namespace"]), news).wait()
        return UpdateResult(outs=news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Whether it still is: if not, the next `up` waits for it."""
        try:
            found = Api(props["cluster"], props["namespace"]).workload(props["kind"], props["name"])
        except (RolloutError, OSError):
            return ReadResult(id_, props)  # the provider itself says so
        gone = found is not None and not rollouts.settled(found)
        return ReadResult(id_, {**props, "version": ""} if gone else props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing is left of it."""


class KubernetesReady(Resource, module="pulumi-mlflow", name="KubernetesReady"):
    """A workload running what it was told to, and nothing else; depend on it to come after.

    Args:
        name: logical name.
        props: `cluster` (see `KubernetesAccessArgs`), `namespace`, `kind`, `name`, `uid`, `selector` of its pods,
            `version` of its specification, `timeout` in seconds. A change is waited for again.

    Attributes:
        version: what runs.
    """

    version: pulumi.Output[str]

    def __init__(
        self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        defaults = pulumi.ResourceOptions(additional_secret_outputs=["cluster"])
        merged = pulumi.ResourceOptions.merge(defaults, opts)
        super().__init__(_ReadyProvider(), name, props, merged)
