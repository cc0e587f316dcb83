"""What all our objects in a cluster have in common: names and labels, and files from a Secret."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..component import MlflowComponent
from ..contracts import ArtifactEndpoint, DatabaseEndpoint, Scope, require_reach
from ..core import external_secrets, files, manifests, naming
from .ready import KubernetesAccessArgs
from .unique import UniqueSuffix

_VERSION_LENGTH = 17
"""Of `-` and the version of files at the end of a name."""


def place(deployment: str) -> str:
    """The place, in the sense of `contracts.Scope`, of what runs in a deployment's namespace."""
    return Scope.CLUSTER.place(deployment)


class KubernetesExternalSecretArgs(TypedDict):
    """The database's password, fetched from a vault by the External Secrets operator."""

    store: str
    """Name of the store that opens the vault."""
    kind: NotRequired[str]
    """`ClusterSecretStore` or `SecretStore`; `ClusterSecretStore` unless given."""
    key: pulumi.Input[str]
    """Name of the secret in the vault, such as the ARN of RDS's own in Secrets Manager."""
    property: NotRequired[str]
    """Field of it; `password` unless given."""
    refresh: NotRequired[str]
    """How often it is fetched; `15m` unless given."""


class KubernetesSecretStoreArgs(TypedDict):
    """Whence the External Secrets operator fetches the secret of a database's administrator."""

    store: str
    """Name of the store that opens the vault."""
    kind: NotRequired[str]
    """`ClusterSecretStore` or `SecretStore`; `ClusterSecretStore` unless given."""
    refresh: NotRequired[str]
    """How often it is fetched; `5m` unless given, so that a migration's tries outlast a rotation."""


@dataclass(frozen=True)
class Files:
    """Configuration and secrets that are in a Secret of the cluster.

    Attributes:
        secret: name of the Secret, which is another one whenever something else is in it.
        paths: where a container finds each, below `files.FILES_PATH`.
    """

    secret: pulumi.Output[str]
    paths: tuple[str, ...]

    def volume(self) -> dict[str, Any]:
        """The files as a volume of the name `files`."""
        return manifests.secret_volume("files", self.secret, self.paths)

    def volume_with(self, name: str, other: "Files") -> dict[str, Any]:
        """These files and others in one folder, as a volume.

        Args:
            name: of the volume.
            other: files with other paths.
        """
        return manifests.joined_volume(name, (self.secret, self.paths), (other.secret, other.paths))


class KubernetesObjects(MlflowComponent):
    """A component of objects in a namespace.

    Args:
        name: logical name.
        deployment: prefix of physical names; `<project>-<stack>` if None.
        opts: as usual.
        access: how this machine reaches the cluster, to see rollouts and jobs through; if None, Pulumi's provider waits
            for them, in its own way.

    Raises:
        ValueError: the deployment's name cannot begin the name of a Service, or `access` names not one way.
    """

    def __init__(
        self,
        name: str,
        deployment: Optional[str],
        opts: Optional[pulumi.ResourceOptions],
        access: Optional[KubernetesAccessArgs] = None,
    ) -> None:
        super().__init__(name, deployment, opts)
        if access is not None and len(access) != 1:
            got = " and ".join(sorted(access)) or "neither"
            raise ValueError(f"{name}: cluster: must have either context or kubeconfig (got {got})")
        self._access = access
        # Such as `mlflow-prod`: valid as a label too.
        self._base = naming.physical_name(self._deployment)
        if not self._base[0].isalpha():
            raise ValueError(
                f"{name}: deployment: must begin with a letter, since names of Services do (got {self._deployment!r}); "
                "give another 'deployment', or rename project or stack"
            )

    def _labels(self) -> dict[str, str]:
        return self._labels_of(self._role)

    def _labels_of(self, role: str) -> dict[str, str]:
        """Labels of a role's objects and pods."""
        return naming.labels(self._base, role)

    def _pods_of(self, role: str) -> dict[str, str]:
        """What selects a role's pods; never changes, since selectors of a Deployment cannot."""
        labels = self._labels_of(role)
        return {key: labels[key] for key in ("pulumi-mlflow/deployment", "pulumi-mlflow/role")}

    def _require(
        self, endpoints: Iterable[DatabaseEndpoint | ArtifactEndpoint], also_in: Sequence[str]
    ) -> None:
        """Refuse endpoints that pods of this cluster cannot reach.

        Args:
            endpoints: what the component was given.
            also_in: places that the cluster's nodes are in, beside its own.

        Raises:
            UnreachableEndpointError: names both components.
        """
        for given in endpoints:
            if not set(given["reach"]) & set(also_in):
                require_reach(
                    self._logical_name,
                    place(self._deployment),
                    given["component"],
                    given["reach"],
                )

    def _meta(
        self,
        name: pulumi.Input[str],
        namespace: pulumi.Input[str],
        role: Optional[str] = None,
        annotations: Optional[Mapping[str, pulumi.Input[str]]] = None,
    ) -> Any:
        """Metadata of an object.

        Args:
            name: physical name.
            namespace: where it is.
            role: whose it is; the component's unless given.
            annotations: as the API has them.
        """
        return {
            "name": name,
            "namespace": namespace,
            "labels": self._labels_of(role or self._role),
            **({"annotations": dict(annotations)} if annotations else {}),
        }

    def _host(
        self,
        service: str,
        namespace: pulumi.Input[str],
        domain: str,
        after: pulumi.Resource,
    ) -> pulumi.Output[str]:
        """Full name of a Service, known once something is there. nginx's resolver knows no search list.

        Args:
            service: its name.
            namespace: where it is.
            domain: the cluster's.
            after: what must be there first.
        """
        return pulumi.Output.all(namespace, after.urn).apply(
            lambda known: f"{service}.{known[0]}.svc.{domain}"
        )

    def _versioned(self, child: str, base: str, version: pulumi.Output[str]) -> pulumi.Output[str]:
        """Name of an object that is made anew when its version changes.

        Args:
            child: logical name of the object below the component's.
            base: what its names begin with.
            version: hexadecimal digits that tell one content of it from another.
        """
        made = UniqueSuffix(self._child(f"{child}-name"), version, self._opts())
        return made.suffix.apply(lambda known: f"{base}-{known}")

    def _files(
        self,
        namespace: pulumi.Input[str],
        contents: Mapping[str, pulumi.Input[str]],
        child: str = "files",
        role: Optional[str] = None,
        external: Optional[KubernetesExternalSecretArgs] = None,
    ) -> Files:
        """A Secret with configuration and secrets that is never changed.

        What is in it changes under another name, so that pods are rolled out anew, and those of the old version keep
        what they were started with until they are gone.

        Args:
            namespace: where it is.
            contents: path below `files.FILES_PATH` → content.
            child: logical name below the component's.
            role: whose it is; the component's unless given.
            external: whence the password comes that stands as `external_secrets.PLACEHOLDER` in them; these are then
                templates, of which the operator makes the files.
        """
        base = naming.physical_name(
            self._deployment,
            role or self._role,
            child,
            limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH,
        )
        plain: pulumi.Output[dict[str, str]] = pulumi.Output.all(**contents)
        secret: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
        # The hash is made so that it tells nothing of what is in the files.
        version: pulumi.Output[str] = pulumi.Output.unsecret(
            secret.apply(lambda known: files.version(known, base))
        )
        name = self._versioned(child, base, version)
        made: pulumi.Resource = kubernetes.core.v1.Secret(
            self._child(child),
            metadata=self._meta(name, namespace, role),
            type="Opaque",
            immutable=True,
            string_data=secret.apply(
                lambda known: {
                    files.key(path): external_secrets.template(path, content)
                    if external
                    else content
                    for path, content in known.items()
                }
            ),
            opts=self._opts(),
        )
        if external:
            made, name = self._fetched(namespace, name, contents, child, role, external, made)
        return Files(
            pulumi.Output.all(name, made.urn).apply(lambda known: str(known[0])), tuple(contents)
        )

    def _fetched(
        self,
        namespace: pulumi.Input[str],
        templates: pulumi.Output[str],
        paths: Iterable[str],
        child: str,
        role: Optional[str],
        external: KubernetesExternalSecretArgs,
        after: pulumi.Resource,
    ) -> tuple[pulumi.Resource, pulumi.Output[str]]:
        """The operator's Secret, of templates in another; and its name, which changes with theirs."""
        base = naming.physical_name(
            self._deployment,
            role or self._role,
            child,
            "vault",
            limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH,
        )
        name = templates.apply(lambda known: f"{base}{known[-_VERSION_LENGTH:]}")
        specification = external_secrets.specification(
            _store(external),
            {"key": external["key"], "property": external.get("property", "password")},
            external.get("refresh", "15m"),
            name,
            templates,
            [files.key(path) for path in paths],
        )
        made = self._external(f"{child}-vault", namespace, name, role, specification, [after])
        return made, name

    def _administrator(
        self,
        namespace: pulumi.Input[str],
        store: KubernetesSecretStoreArgs,
        key: pulumi.Input[str],
        role: str,
    ) -> Files:
        """The secret of a database's administrator, as the variable ADMIN of whoever mounts it.

        Another secret is under another name, so that nobody begins with the old one.

        Args:
            namespace: where it is.
            store: what opens the vault.
            key: of the secret in the vault, such as its ARN.
            role: who needs it.
        """
        path, child = "env/ADMIN", "database-admin"
        base = naming.physical_name(
            self._deployment, role, child, limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH
        )
        whence = _store(store)
        version = pulumi.Output.from_input(key).apply(
            lambda known: files.version({**whence, "key": known}, base)
        )
        name = self._versioned(child, base, version)
        specification = external_secrets.copied(
            whence, key, store.get("refresh", "5m"), name, files.key(path)
        )
        made = self._external(child, namespace, name, role, specification)
        return Files(pulumi.Output.all(name, made.urn).apply(lambda it: str(it[0])), (path,))

    def _external(
        self,
        child: str,
        namespace: pulumi.Input[str],
        name: pulumi.Input[str],
        role: Optional[str],
        specification: Mapping[str, Any],
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> kubernetes.apiextensions.CustomResource:
        """What the operator makes a Secret of; it is there once the Secret is."""
        return kubernetes.apiextensions.CustomResource(
            self._child(child),
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            metadata=self._meta(name, namespace, role, {"pulumi.com/waitFor": "condition=Ready"}),
            spec=specification,
            opts=self._opts(depends_on=list(depends_on)),
        )


def _store(external: KubernetesExternalSecretArgs | KubernetesSecretStoreArgs) -> dict[str, str]:
    """The store that opens a vault, as an `ExternalSecret` names it."""
    return {"name": external["store"], "kind": external.get("kind", "ClusterSecretStore")}
