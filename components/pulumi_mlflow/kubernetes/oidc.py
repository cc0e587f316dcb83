"""oauth2-proxy: asks the identity provider who somebody is, on behalf of the front door."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from .. import login
from ..core import manifests, oidc, urls
from ..core.files import FILES_PATH
from . import workload


class KubernetesOidcArgs(TypedDict):
    """Arguments of KubernetesOidc."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """An oauth2-proxy image with a tag or digest."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    provider: login.OidcProviderArgs
    """Who knows the users."""
    cookie_secret: pulumi.Input[str]
    """32 letters and digits that sessions are encrypted with (secret)."""
    secure: bool
    """Whether browsers reach the front door by TLS."""
    claims: NotRequired[bool]
    """Whether the front door heeds what the provider says of a user beside the name; no unless given."""
    replicas: NotRequired[int]
    """How many; 2 unless given. Sessions are in the browsers."""
    egress_cidrs: NotRequired[list[str]]
    """Addresses where the provider may be; all unless given."""
    memory_mb: NotRequired[int]
    """Memory limit of each, in MiB; 128 unless given."""
    cluster: NotRequired[Optional[workload.KubernetesAccessArgs]]
    """How this machine reaches the cluster, to see rollouts and jobs through; left to Pulumi's provider unless given,
    which takes some for done too early, and tells of an image that cannot be pulled only when its time is up."""
    cluster_domain: NotRequired[str]
    """What the names of Services end in; `cluster.local` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesOidc(workload.KubernetesComponent):
    """oauth2-proxy, which the front door alone may ask. It does not get ready without the provider."""

    _role = "oidc"

    host: pulumi.Output[str]
    """Name under which the front door finds it; known once it is ready."""

    def __init__(
        self, name: str, args: KubernetesOidcArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts, args.get("cluster"))
        namespace, port = args["namespace"], login.OIDC_PORT
        image = workload.checked_image(args["image"])
        held = self._files(
            namespace,
            login.oidc_files(
                args["provider"],
                args["cookie_secret"],
                self._physical(),
                secure=args["secure"],
                claims=args.get("claims", False),
            ),
        )
        provider_port = pulumi.Output.from_input(args["provider"]["issuer"]).apply(urls.port_of)
        allowed = self._edges(
            namespace,
            ingress=[manifests.from_pods([self._pods_of("proxy")], port)],
            egress=[
                manifests.to_addresses(args.get("egress_cidrs", workload.EVERYWHERE), provider_port)
            ],
        )
        pod = manifests.pod(
            self._account(namespace),
            login.OIDC_UID,
            [
                manifests.container(
                    self._role,
                    image,
                    manifests.resources(args.get("memory_mb", 128), 0.05, 1),
                    [manifests.files_mount("files")],
                    command=["/bin/oauth2-proxy"],
                    args=["--config", f"{FILES_PATH}/{login.OIDC_CONFIG}"],
                    ports=[{"name": "http", "containerPort": port, "protocol": "TCP"}],
                    **manifests.probes(manifests.http_check(oidc.HEALTH_PATH, port)),
                )
            ],
            [held.volume()],
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )
        running = self._rollout(namespace, pod, args.get("replicas", 2), depends_on=[allowed])
        self._service(namespace, port)
        self._budget(namespace)
        self.host = self._host(
            self._physical(),
            namespace,
            args.get("cluster_domain", workload.CLUSTER_DOMAIN),
            running,
        )
        self.register_outputs({"host": self.host})
