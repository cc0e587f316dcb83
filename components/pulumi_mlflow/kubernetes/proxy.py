"""The front door: nginx with a login, the only pods that are reached from outside the namespace."""

from collections.abc import Sequence
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from .. import login
from ..contracts import AuthMode, Scope, TrackingEndpoint, require_reach
from ..core import ingress, manifests, proxy, urls
from ..core.files import FILES_PATH
from ..core.server_image import PORT as SERVER_PORT
from ..generated import GeneratedSecret
from . import oidc, workload

PORT = login.PROXY_PORT

DNS = "kube-dns.kube-system.svc.cluster.local"
"""The cluster's name server, which nginx asks again within seconds; CoreDNS has this name almost everywhere."""

_SOLVER = {"acme.cert-manager.io/http01-solver": "true"}
"""Pods of cert-manager that prove to an authority whose name it is."""

_SOLVER_PORT = 8089


class KubernetesSourceArgs(TypedDict):
    """Where connections from outside come from."""

    namespace: NotRequired[Optional[str]]
    """Namespace of the controller's own proxies, such as `ingress-nginx`."""
    cidrs: NotRequired[list[str]]
    """Addresses of a load balancer that is no pod, such as the VPC's for an ALB."""


class KubernetesIngressArgs(TypedDict):
    """An Ingress."""

    class_name: str
    """Name of the IngressClass."""
    controller: NotRequired[str]
    """Who fills it: `nginx`, `alb`, `traefik` or `other`, which gets no annotations; `other` unless given."""
    source: KubernetesSourceArgs
    """Where its connections come from."""
    annotations: NotRequired[dict[str, str]]
    """Further annotations; they take the place of ours."""
    tls_secret: NotRequired[Optional[str]]
    """Name of a Secret of the namespace with a certificate; `certificate` makes one."""
    certificate_arn: NotRequired[str]
    """Certificate in ACM, with `alb`."""
    public: NotRequired[bool]
    """Whether an ALB gets addresses of the Internet; no unless given."""


class KubernetesGatewayArgs(TypedDict):
    """A Gateway of others that an HTTPRoute is added to; its listener ends TLS."""

    name: str
    """Name of the Gateway."""
    namespace: str
    """Its namespace."""
    section: NotRequired[Optional[str]]
    """Name of its HTTPS listener; all listeners that fit unless given."""
    source: KubernetesSourceArgs
    """Where its connections come from."""


class KubernetesCertificateArgs(TypedDict):
    """A certificate that cert-manager gets and renews, for the Ingress."""

    issuer: str
    """Name of the issuer."""
    kind: NotRequired[str]
    """`ClusterIssuer` or `Issuer`; `ClusterIssuer` unless given."""


class KubernetesAuthProxyArgs(TypedDict):
    """Arguments of KubernetesAuthProxy."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """An nginx image with a tag or digest."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    tracking: TrackingEndpoint
    """The server behind it."""
    auth: NotRequired[str]
    """`basic`, `oidc`, `mlflow`, `oidc-mlflow` or, without an Ingress and a Gateway only, `none`; `basic` unless
    given."""
    username: NotRequired[str]
    """Who logs in, with `basic`; `mlflow` unless given."""
    users: NotRequired[list[str]]
    """Further users, with `basic`; each has a password of its own."""
    oidc: NotRequired[Optional[login.OidcProviderArgs]]
    """Who knows the users, with `oidc` and `oidc-mlflow`."""
    oidc_image: NotRequired[Optional[pulumi.Input[str]]]
    """An oauth2-proxy image with a tag or digest, with `oidc` and `oidc-mlflow`."""
    hosts: NotRequired[list[str]]
    """Public host names; the first is that of the URL."""
    ingress: NotRequired[Optional[KubernetesIngressArgs]]
    """An Ingress for them; none unless given."""
    gateway: NotRequired[Optional[KubernetesGatewayArgs]]
    """A route of the Gateway API for them; none unless given."""
    certificate: NotRequired[Optional[KubernetesCertificateArgs]]
    """A certificate by cert-manager, with `ingress`; none unless given."""
    client_namespaces: NotRequired[list[str]]
    """Namespaces whose pods may use the front door inside the cluster, without TLS; none unless given."""
    trusted_proxies: NotRequired[list[str]]
    """Networks of what is before nginx, which is believed who the client is; none unless given, and then all clients
    from outside count as one address."""
    rate_limit: NotRequired[int]
    """Requests a second that one address may make with a login, with as many again at once; 10000 unless given. 0 is no
    limit."""
    html_sources: NotRequired[list[str]]
    """Origins, such as `https://cdn.jsdelivr.net`, that HTML artifacts may load from as pages; none unless given."""
    cache: NotRequired[bool]
    """Whether nginx keeps the UI's static files; yes unless given."""
    multipart: NotRequired[bool]
    """Whether clients reach the store, so that the server may offer presigned transfers; no unless given."""
    replicas: NotRequired[int]
    """How many; 2 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit of each, in MiB; 128 unless given."""
    egress_cidrs: NotRequired[list[str]]
    """Addresses where the identity provider may be; all unless given."""
    dns: NotRequired[str]
    """Name or address of the cluster's name server; that of CoreDNS unless given."""
    cluster: NotRequired[Optional[workload.KubernetesAccessArgs]]
    """How this machine reaches the cluster, to see rollouts and jobs through; left to Pulumi's provider unless given,
    which takes some for done too early, and tells of an image that cannot be pulled only when its time is up."""
    cluster_domain: NotRequired[str]
    """What the names of Services end in; `cluster.local` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesAuthProxy(workload.KubernetesComponent):
    """nginx before the tracking servers: logins, limits, static files; streams artifacts of any size.

    TLS ends before it, at the Ingress or the Gateway. Without either it is reached inside the cluster only.

    Raises:
        UnreachableEndpointError: the server cannot be reached from the namespace.
        ValueError: no authentication although it is reached from outside, no TLS there, a server that demands another
            login than this one passes on, or something that a mode needs is missing.
    """

    _role = "proxy"

    endpoint: TrackingEndpoint
    """What people and training scripts use."""
    password: pulumi.Output[str]
    """Password of the first user (secret); used with `basic`."""
    passwords: pulumi.Output[dict[str, str]]
    """User → password (secret), with `basic`; empty otherwise."""

    def __init__(
        self,
        name: str,
        args: KubernetesAuthProxyArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts, args.get("cluster"))
        tracking, namespace = args["tracking"], args["namespace"]
        require_reach(
            name, workload.place(self._deployment), tracking["component"], tracking["reach"]
        )
        auth = AuthMode(args.get("auth", AuthMode.BASIC.value))
        names = [args.get("username", "mlflow"), *args.get("users", [])]
        login.check(name, auth, tracking, names)
        _check(name, auth, args)
        image = workload.checked_image(args["image"])
        exposed = bool(args.get("ingress") or args.get("gateway"))
        # In every mode, since what is protected cannot be taken away: a mode may be left and come back to. The
        # passwords of further users are not protected: who is taken out of the settings is gone.
        logins = [
            GeneratedSecret(self._child("login"), opts=self._opts()),
            *(
                GeneratedSecret(self._child(f"login-{user}"), opts=self._opts(protect=False))
                for user in names[1:]
            ),
        ]
        salt = GeneratedSecret(self._child("salt"), opts=self._opts())
        session = GeneratedSecret(self._child("session"), opts=self._opts())
        self.password = pulumi.Output.secret(logins[0].value)
        basic = auth is AuthMode.BASIC
        known: pulumi.Output[dict[str, str]] = pulumi.Output.all(
            **{user: made.value for user, made in zip(names, logins, strict=True)}
        )
        self.passwords = pulumi.Output.secret(known if basic else pulumi.Output.from_input({}))
        contents: dict[str, pulumi.Input[str]] = {}
        if basic:
            contents[login.HTPASSWD] = pulumi.Output.all(known, salt.value).apply(
                lambda given: proxy.htpasswd(*given)
            )
        login_service = self._login_service(args, auth, session.value, exposed=exposed)
        contents[login.NGINX_CONF] = pulumi.Output.all(
            tracking["internal_url"],
            login_service,
            tracking.get("proxy_secret", ""),
            tracking.get("jobs_url", ""),
        ).apply(lambda given: proxy.render_nginx(_settings(auth, args, exposed, *given)))
        running = self._nginx(args, image, self._files(namespace, contents), auth)
        service = self._service(namespace, PORT)
        exposure = self._expose(args, running, service)
        inside = self._host(
            self._physical(),
            namespace,
            args.get("cluster_domain", workload.CLUSTER_DOMAIN),
            running,
        ).apply(lambda host: f"http://{host}:{PORT}")
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[Scope.PUBLIC.value] if exposed else [workload.place(self._deployment)],
            internal_url=inside,
            public_url=pulumi.Output.all(
                f"https://{args['hosts'][0]}", *[item.urn for item in exposure]
            ).apply(lambda given: str(given[0]))
            if exposed
            else inside,
            health_path=proxy.HEALTH_PATH,
            ready_path=tracking["ready_path"],
            auth_mode=auth.value,
        )
        self.register_outputs({"endpoint": self.endpoint})

    def _login_service(
        self,
        args: KubernetesAuthProxyArgs,
        auth: AuthMode,
        session: pulumi.Input[str],
        *,
        exposed: bool,
    ) -> pulumi.Input[str]:
        """Host name of oauth2-proxy, or nothing where no provider is asked."""
        provider, image = args.get("oidc"), args.get("oidc_image")
        if not auth.by_provider:
            return ""
        if not provider or not image:
            raise ValueError(f"{self._logical_name}: {auth.value!r} needs 'oidc' and 'oidc_image'")
        service = oidc.KubernetesOidc(
            self._child("oidc"),
            {
                "namespace": args["namespace"],
                "cluster": args.get("cluster"),
                "image": image,
                "pull_secrets": args.get("pull_secrets", []),
                "provider": provider,
                "cookie_secret": session,
                "secure": exposed,
                "claims": auth is AuthMode.OIDC_MLFLOW,
                "replicas": args.get("replicas", 2),
                "egress_cidrs": args.get("egress_cidrs", workload.EVERYWHERE),
                "cluster_domain": args.get("cluster_domain", workload.CLUSTER_DOMAIN),
                "deployment": self._deployment,
            },
            self._opts(),
        )
        return service.host

    def _nginx(
        self,
        args: KubernetesAuthProxyArgs,
        image: pulumi.Output[str],
        held: workload.Files,
        auth: AuthMode,
    ) -> pulumi.Resource:
        namespace = args["namespace"]
        roles = ["tracking", *(["jobs"] if "jobs_url" in args["tracking"] else [])]
        to_servers = [manifests.to_pods(self._pods_of(role), SERVER_PORT) for role in roles]
        to_login = manifests.to_pods(self._pods_of("oidc"), login.OIDC_PORT)
        allowed = self._edges(
            namespace,
            _sources(args, PORT)
            + [
                manifests.from_pods([{}], PORT, namespace={manifests.NAMESPACE_LABEL: client})
                for client in args.get("client_namespaces", [])
            ],
            [*to_servers, *([to_login] if auth.by_provider else [])],
        )
        pod = manifests.pod(
            self._account(namespace),
            login.PROXY_UID,
            [
                manifests.container(
                    self._role,
                    image,
                    manifests.resources(args.get("memory_mb", 128), 0.1, 1),
                    [manifests.files_mount("files")],
                    command=["nginx"],
                    args=["-e", "stderr", "-c", f"{FILES_PATH}/{login.NGINX_CONF}"],
                    ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                    lifecycle=manifests.drained(),
                    **manifests.probes(manifests.http_check(proxy.HEALTH_PATH, PORT)),
                )
            ],
            [held.volume()],
            terminationGracePeriodSeconds=60,
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )
        running = self._rollout(namespace, pod, args.get("replicas", 2), depends_on=[allowed])
        self._budget(namespace)
        return running

    def _expose(
        self,
        args: KubernetesAuthProxyArgs,
        running: pulumi.Resource,
        service: pulumi.Resource,
    ) -> list[pulumi.Resource]:
        """The ways in from outside; none unless asked for."""
        depends_on = [running, service]
        found: list[pulumi.Resource] = []
        if route := args.get("gateway"):
            found.append(self._route(args, route, depends_on))
        if door := args.get("ingress"):
            found.append(self._ingress(args, door, depends_on))
        return found

    def _route(
        self,
        args: KubernetesAuthProxyArgs,
        route: KubernetesGatewayArgs,
        depends_on: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        section = route.get("section")
        return kubernetes.apiextensions.CustomResource(
            self._child("route"),
            api_version="gateway.networking.k8s.io/v1",
            kind="HTTPRoute",
            metadata=self._meta(self._physical(), args["namespace"]),
            spec={
                "parentRefs": [
                    {
                        "group": "gateway.networking.k8s.io",
                        "kind": "Gateway",
                        "name": route["name"],
                        "namespace": route["namespace"],
                        **({"sectionName": section} if section else {}),
                    }
                ],
                "hostnames": list(args.get("hosts", [])),
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [
                            {"group": "", "kind": "Service", "name": self._physical(), "port": PORT}
                        ],
                        # No limit: an artifact takes as long as it takes.
                        "timeouts": {"request": "0s", "backendRequest": "0s"},
                    }
                ],
            },
            opts=self._opts(depends_on=list(depends_on)),
        )

    def _ingress(
        self,
        args: KubernetesAuthProxyArgs,
        door: KubernetesIngressArgs,
        depends_on: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        hosts, namespace = list(args.get("hosts", [])), args["namespace"]
        secret = door.get("tls_secret")
        if certificate := args.get("certificate"):
            secret = self._physical("cert")
            depends_on = [
                *depends_on,
                self._certificate(namespace, certificate, secret, hosts, args),
            ]
        backend = {"service": {"name": self._physical(), "port": {"number": PORT}}}
        spec: Any = {
            "ingressClassName": door["class_name"],
            "rules": [
                {
                    "host": host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
                for host in hosts
            ],
            **({"tls": [{"hosts": hosts, "secretName": secret}]} if secret else {}),
        }
        annotations = {
            **ingress.annotations(
                door.get("controller", "other"),
                certificate_arn=door.get("certificate_arn", ""),
                public=door.get("public", False),
            ),
            **door.get("annotations", {}),
        }
        return kubernetes.networking.v1.Ingress(
            self._child("ingress"),
            metadata=self._meta(self._physical(), namespace, annotations=annotations),
            spec=spec,
            opts=self._opts(depends_on=list(depends_on)),
        )

    def _certificate(
        self,
        namespace: pulumi.Input[str],
        certificate: KubernetesCertificateArgs,
        secret: str,
        hosts: Sequence[str],
        args: KubernetesAuthProxyArgs,
    ) -> pulumi.Resource:
        # An authority's question comes by the same way as people do. A proof by DNS needs no pod.
        solver = self._edges(
            namespace, _sources(args, _SOLVER_PORT), [], role="solver", pods=_SOLVER
        )
        return kubernetes.apiextensions.CustomResource(
            self._child("certificate"),
            api_version="cert-manager.io/v1",
            kind="Certificate",
            metadata=self._meta(
                secret, namespace, annotations={"pulumi.com/waitFor": "condition=Ready"}
            ),
            spec={
                "secretName": secret,
                "dnsNames": list(hosts),
                "issuerRef": {
                    "group": "cert-manager.io",
                    "kind": certificate.get("kind", "ClusterIssuer"),
                    "name": certificate["issuer"],
                },
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
                "usages": ["server auth", "digital signature"],
            },
            opts=self._opts(depends_on=[solver]),
        )


def _sources(args: KubernetesAuthProxyArgs, port: int) -> list[dict[str, Any]]:
    """Who may connect from outside the namespace."""
    found = []
    for way in (args.get("ingress"), args.get("gateway")):
        source = way["source"] if way else KubernetesSourceArgs()
        if namespace := source.get("namespace"):
            there = {manifests.NAMESPACE_LABEL: namespace}
            found.append(manifests.from_pods([{}], port, namespace=there))
        if cidrs := source.get("cidrs"):
            found.append(manifests.from_addresses(cidrs, port))
    return found


def _check(name: str, auth: AuthMode, args: KubernetesAuthProxyArgs) -> None:
    """Refuse what would be open to everybody, in plain text, or to nobody."""
    door, route = args.get("ingress"), args.get("gateway")
    exposed = bool(door or route)
    if auth is AuthMode.NONE and exposed:
        raise ValueError(
            f"{name}: auth 'none' is for inside the cluster only; use 'basic', or take 'ingress' and 'gateway' out"
        )
    if exposed and (reason := urls.check_hosts(args.get("hosts", []))):
        raise ValueError(f"{name}: hosts: {reason}")
    for key, way in (("ingress", door), ("gateway", route)):
        if way and not (way["source"].get("namespace") or way["source"].get("cidrs")):
            raise ValueError(
                f"{name}: {key}.source: must have 'namespace' or 'cidrs', since no other connection is let in"
            )
    certificate = args.get("certificate")
    if certificate and not door:
        raise ValueError(
            f"{name}: certificate: is for an Ingress; a Gateway's listener has its own"
        )
    if door:
        given = [
            key
            for key, value in (
                ("certificate", certificate),
                ("ingress.tls_secret", door.get("tls_secret")),
                ("ingress.certificate_arn", door.get("certificate_arn")),
            )
            if value
        ]
        if len(given) != 1:
            raise ValueError(
                f"{name}: ingress: logins need TLS: give one of certificate (cert-manager), ingress.tls_secret and "
                f"ingress.certificate_arn (got {', '.join(given) or 'none'})"
            )
        try:
            ingress.annotations(
                door.get("controller", "other"), certificate_arn=door.get("certificate_arn", "")
            )
        except ValueError as error:
            raise ValueError(f"{name}: ingress.{error}") from error


def _settings(
    auth: AuthMode,
    args: KubernetesAuthProxyArgs,
    exposed: bool,
    upstream: str,
    login_service: str,
    proxy_secret: str,
    jobs: str,
) -> proxy.ProxySettings:
    return proxy.ProxySettings(
        listen_port=PORT,
        upstream_host=urls.host_of(upstream),
        upstream_port=urls.port_of(upstream),
        auth=auth.value,
        htpasswd_path=f"{FILES_PATH}/{login.HTPASSWD}",
        resolver=args.get("dns", DNS),
        oidc_host=login_service,
        oidc_port=login.OIDC_PORT,
        proxy_secret=proxy_secret,
        groups_claim=login.groups_claim(args.get("oidc")),
        jobs_host=urls.host_of(jobs) if jobs else "",
        jobs_port=urls.port_of(jobs) if jobs else 0,
        # What is before it ends TLS.
        scheme="https" if exposed else "",
        hsts=exposed,
        trusted=args.get("trusted_proxies", []),
        rate_limit=args.get("rate_limit", proxy.RATE_LIMIT),
        shared_address=exposed and not args.get("trusted_proxies"),
        cache=args.get("cache", True),
        html_sources=args.get("html_sources", []),
        multipart=args.get("multipart", False),
    )
