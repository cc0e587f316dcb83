"""The front door: a load balancer with TLS and logins, and nginx behind it, the same as in the other runtimes.

A browser is logged in by the load balancer itself (OIDC, Cognito) or by oauth2-proxy. The load balancer takes no bearer
token: what comes with an Authorization header goes to oauth2-proxy by a rule before all others, and on to nginx only
with a valid token.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..contracts import AuthMode, Scope, TrackingEndpoint, require_reach
from ..core import alb, ecs, naming, oidc, proxy, urls
from ..core.aws_image import check_reference
from ..core.files import FILES_PATH
from ..core.server_image import UID as WRITER_UID
from ..generated import GeneratedSecret
from ..login import (
    GROUPS_CLAIM,
    HTPASSWD,
    NGINX_CONF,
    OIDC_CONFIG,
    OIDC_PORT,
    OIDC_UID,
    groups_claim,
    oidc_files,
)
from ..login import PROXY_PORT as PORT
from ..login import PROXY_UID as UID
from ..login import check as check_login
from .network import HTTPS, AwsNetworkPlace
from .tasks import NAME_LIMIT, AwsTaskComponent, mounts, outside, repositories

WRITER = f"{WRITER_UID}:{WRITER_UID}"
"""User of the server's image, which writes the files."""

RESOLVER = "169.254.169.253"
"""Amazon's DNS, in every VPC."""

_CPUS, _MEMORY_MB = 0.5, 1024
_ANYWHERE = "0.0.0.0/0"


class AwsOidcProviderArgs(TypedDict):
    """An identity provider, and whom of its users to let in."""

    issuer: pulumi.Input[str]
    """Its URL, as tokens name it."""
    client_id: pulumi.Input[str]
    """Client that the provider knows for this stack. Redirect URIs: `<public URL>/oauth2/idpresponse` for login `alb`,
    `<public URL>/oauth2/callback` for `proxy`."""
    client_secret: pulumi.Input[str]
    """The client's secret (secret)."""
    authorization_endpoint: NotRequired[str]
    """From `<issuer>/.well-known/openid-configuration`; needed for login `alb`."""
    token_endpoint: NotRequired[str]
    """Likewise."""
    user_info_endpoint: NotRequired[str]
    """Likewise (`userinfo_endpoint`)."""
    audiences: NotRequired[list[str]]
    """Further audiences whose tokens are accepted; those for `client_id` always are."""
    scopes: NotRequired[list[str]]
    """Scopes to ask for beside `openid email profile`."""
    groups_claim: NotRequired[str]
    """Claim with a user's groups; `groups` unless given."""
    allowed_groups: NotRequired[list[str]]
    """Groups of which a user must have one, with login `proxy`; all users are let in unless given."""
    email_domains: NotRequired[list[str]]
    """Domains of which a user's address must have one, with login `proxy`; any unless given."""
    ca: NotRequired[Optional[pulumi.Input[str]]]
    """PEM of the authority that signed the provider's certificate, with login `proxy`; a public one unless given."""


class AwsCognitoArgs(TypedDict):
    """A Cognito user pool."""

    user_pool: str
    """Its ARN."""
    client_id: pulumi.Input[str]
    """Client of the pool, with a secret, and with `<public URL>/oauth2/idpresponse` as callback."""
    client_secret: pulumi.Input[str]
    """The client's secret (secret)."""
    domain: str
    """The pool's domain prefix, or the domain of one's own."""


class AwsScalingArgs(TypedDict):
    """A server that requests add replicas to: outputs of AwsTrackingServer."""

    target: pulumi.Input[str]
    """`scaling`."""
    cluster_name: pulumi.Input[str]
    """`cluster_name`."""
    service_name: pulumi.Input[str]
    """`service_name`."""
    requests: NotRequired[int]
    """Requests a minute of each replica; 3000 unless given."""


class AwsAuthProxyArgs(TypedDict):
    """Arguments of AwsAuthProxy."""

    network: AwsNetworkPlace
    """The VPC that it is in."""
    cluster: pulumi.Input[str]
    """ARN of the cluster: `AwsTrackingServer.cluster`."""
    image: pulumi.Input[str]
    """nginx's image, by its digest: AwsImage of kind `nginx`."""
    files_image: pulumi.Input[str]
    """The server's image, by its digest: it has Python, which writes the files."""
    oidc_image: NotRequired[Optional[pulumi.Input[str]]]
    """oauth2-proxy's image, by its digest, with `oidc` and `oidc-mlflow`."""
    repositories: NotRequired[list[pulumi.Input[str]]]
    """ARNs of the images' repositories; read from the images' names unless given."""
    outside: NotRequired[bool]
    """Whether one of the images is in another registry than the region's ECR: `AwsImage.outside`; read from their names
    unless given."""
    tracking: TrackingEndpoint
    """The server behind it."""
    hosts: list[str]
    """Public host names; the first is that of the URL."""
    zone: NotRequired[Optional[str]]
    """Id of the Route 53 zone of the hosts, for records and certificate; others keep both unless given."""
    certificate: NotRequired[Optional[pulumi.Input[str]]]
    """ARN of an ACM certificate for the hosts; made and validated in `zone` unless given."""
    auth: NotRequired[str]
    """`basic`, `oidc`, `mlflow` or `oidc-mlflow`; `oidc` unless given."""
    login: NotRequired[str]
    """Who logs browsers in, with an identity provider: `alb` or `proxy`; `alb` with `oidc` unless given."""
    oidc: NotRequired[Optional[AwsOidcProviderArgs]]
    """Who knows the users, with `oidc` and `oidc-mlflow`."""
    cognito: NotRequired[Optional[AwsCognitoArgs]]
    """The same by a Cognito user pool."""
    username: NotRequired[str]
    """Who logs in, with `basic`; `mlflow` unless given."""
    users: NotRequired[list[str]]
    """Further users, with `basic`; each has a password of its own."""
    internal: NotRequired[bool]
    """Whether only the VPC, and what is joined to it, gets here; no unless given."""
    clients: NotRequired[list[str]]
    """Blocks of addresses that get here; everybody unless given, or the VPC with `internal`."""
    idle_timeout: NotRequired[int]
    """Seconds for which a connection may be silent, 300 to 4000; 3600 unless given."""
    firewall: NotRequired[bool]
    """Whether WAF looks at requests; no unless given."""
    firewall_rate: NotRequired[int]
    """Requests that one address may make within five minutes, with `firewall`; 3000000 unless given, which is
    `rate_limit`'s."""
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
    """Fewest front doors; 2 unless given."""
    max_replicas: NotRequired[int]
    """Most front doors; three times `replicas` unless given."""
    scaling: NotRequired[Optional[AwsScalingArgs]]
    """The server, to add replicas to on requests; on CPU alone unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


def _images(args: AwsAuthProxyArgs) -> dict[str, Optional[pulumi.Input[str]]]:
    """Argument → image, of all that its tasks run."""
    return {
        "image": args["image"],
        "files_image": args["files_image"],
        "oidc_image": args.get("oidc_image"),
    }


class AwsAuthProxy(AwsTaskComponent):
    """TLS, logins and limits before the tracking server; streams artifacts of any size.

    Raises:
        UnreachableEndpointError: the server cannot be reached from the VPC.
        ValueError: nobody would be asked who they are, or a login, host, certificate or image is missing or none.
    """

    _role = "proxy"

    endpoint: TrackingEndpoint
    """What people and training scripts use; known once the rollout has come to its end."""
    password: pulumi.Output[str]
    """Password of the first user (secret); used with `basic`."""
    passwords: pulumi.Output[dict[str, str]]
    """User → password (secret), with `basic`; empty otherwise."""
    balancer: pulumi.Output[str]
    """The end of the load balancer's ARN, as CloudWatch names it, for alarms."""
    target_group: pulumi.Output[str]
    """Likewise of nginx's target group."""
    address: pulumi.Output[str]
    """Name of the load balancer, for a CNAME where `zone` is not given."""
    service_name: pulumi.Output[str]
    """Name of the service, for alarms."""

    def __init__(
        self, name: str, args: AwsAuthProxyArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        network, tracking = args["network"], args["tracking"]
        require_reach(name, network["place"], tracking["component"], tracking["reach"])
        auth = _check(name, args)
        pulled_outside = outside(name, network, _images(args), given=args.get("outside", False))
        super().__init__(name, args.get("deployment"), opts)
        login = _login(auth, args)
        # In every mode, since what is protected cannot be taken away: a mode may be left and come back to. The
        # passwords of further users are not protected: who is taken out of the settings is gone.
        names = [args.get("username", "mlflow"), *args.get("users", [])]
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
        known: pulumi.Output[dict[str, str]] = pulumi.Output.all(
            **{user: made.value for user, made in zip(names, logins, strict=True)}
        )
        basic = auth is AuthMode.BASIC
        self.passwords = pulumi.Output.secret(known if basic else pulumi.Output.from_input({}))
        contents: dict[str, pulumi.Input[str]] = {
            NGINX_CONF: pulumi.Output.all(
                tracking["internal_url"], network["cidr"], tracking.get("proxy_secret", "")
            ).apply(lambda given: proxy.render_nginx(_settings(auth, login, args, *given)))
        }
        if basic:
            contents[HTPASSWD] = pulumi.Output.all(known, salt.value).apply(
                lambda given: proxy.htpasswd(*given)
            )
        if auth.by_provider:
            contents |= oidc_files(
                _provider(args),
                session.value,
                self._physical(),
                secure=True,
                claims=auth is AuthMode.OIDC_MLFLOW,
                upstream=f"http://127.0.0.1:{PORT}" if login == "alb" else "",
            )

        balancer_group = self._security_group(
            "balancer", network["vpc_id"], "Load balancer of MLflow"
        )
        own = self._security_group("server", network["vpc_id"], "Front door of MLflow")
        ways = self._ways(args, auth, login, balancer_group, own, pulled_outside=pulled_outside)
        balancer = self._balancer(args, balancer_group)
        groups = {"web": self._group(network, "web", PORT, proxy.HEALTH_PATH)}
        if login == "alb":
            groups["token"] = self._group(network, "token", OIDC_PORT, oidc.HEALTH_PATH)
        listened = self._listen(args, login, balancer, groups)
        service_name, ready = self._run(args, auth, contents, own, groups, [*ways, *listened])
        self._records(args, balancer)
        if args.get("firewall", False):
            self._firewall(balancer, args.get("firewall_rate", alb.FIREWALL_RATE))
        scaling = args.get("scaling")
        if scaling:
            self._scale_server(scaling, balancer)
        self.balancer, self.address = balancer.arn_suffix, balancer.dns_name
        self.target_group, self.service_name = groups["web"].arn_suffix, service_name
        host = args["hosts"][0]
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[network["place"]]
            if args.get("internal", False)
            else [network["place"], Scope.PUBLIC.value],
            internal_url=f"https://{host}",
            public_url=ready.apply(lambda _: f"https://{host}"),
            health_path=proxy.HEALTH_PATH,
            ready_path=tracking["ready_path"],
            auth_mode=auth.value,
            security_group=balancer_group.id,
        )
        self.register_outputs({"endpoint": self.endpoint})

    def _ways(
        self,
        args: AwsAuthProxyArgs,
        auth: AuthMode,
        login: str,
        balancer: aws.ec2.SecurityGroup,
        own: aws.ec2.SecurityGroup,
        *,
        pulled_outside: bool,
    ) -> list[pulumi.Resource]:
        """Clients to the load balancer, that to nginx, nginx to the server; to the provider where there is one."""
        network, tracking = args["network"], args["tracking"]
        ways: list[pulumi.Resource] = []
        for who, block in _clients(args).items():
            for port, role in ((HTTPS, "https"), (80, "http")):
                ways.append(
                    aws.vpc.SecurityGroupIngressRule(
                        self._child(f"clients-{role}-{who}"),
                        security_group_id=balancer.id,
                        cidr_ipv4=block,
                        ip_protocol="tcp",
                        from_port=port,
                        to_port=port,
                        # What comes by HTTP is sent to HTTPS.
                        description="Clients",
                        tags=self._tags("clients"),
                        opts=self._opts(),
                    )
                )
        ways += self._let("balancer-web", balancer.id, own.id, PORT, "Load balancer to nginx")
        if login == "alb":
            ways += self._let(
                "balancer-token", balancer.id, own.id, OIDC_PORT, "Load balancer to oauth2-proxy"
            )
            ways.append(
                self._let_out(
                    "balancer-provider", balancer.id, HTTPS, "Identity provider", cidr=_ANYWHERE
                )
            )
        ways += self._reach_aws(own, network, s3=False, outside=pulled_outside)
        if auth.by_provider:
            ways.append(
                self._let_out("provider-out", own.id, HTTPS, "Identity provider", cidr=_ANYWHERE)
            )
        upstream, why = pulumi.Output.from_input(tracking["internal_url"]), "nginx to MLflow"
        served = upstream.apply(urls.port_of)
        if "security_group" in tracking:
            ways += self._let("server", own.id, tracking["security_group"], served, why)
        else:
            ways.append(self._let_out("server-out", own.id, served, why, cidr=network["cidr"]))
        return ways

    def _balancer(
        self, args: AwsAuthProxyArgs, group: aws.ec2.SecurityGroup
    ) -> aws.lb.LoadBalancer:
        network, internal = args["network"], args.get("internal", False)
        idle = args.get("idle_timeout", 3600)
        return aws.lb.LoadBalancer(
            self._child("balancer"),
            # Another name, or inside instead of outside, would replace it.
            name=naming.physical_name(
                self._deployment, "internal" if internal else "public", limit=NAME_LIMIT
            ),
            load_balancer_type="application",
            internal=internal,
            subnets=network["private_subnets"] if internal else network["public_subnets"],
            security_groups=[group.id],
            idle_timeout=idle,
            # At least as long, or it would close what is silent for less.
            client_keep_alive=max(3600, idle),
            drop_invalid_header_fields=True,
            desync_mitigation_mode="defensive",
            # nginx logs the client's own address, which it takes from the end of the list.
            xff_header_processing_mode="append",
            # It holds nothing: with it on, taking a stack down would end half way, and what would replace it too.
            enable_deletion_protection=False,
            tags=self._tags("balancer"),
            opts=self._opts(),
        )

    def _group(
        self, network: AwsNetworkPlace, role: str, port: int, health: str
    ) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            self._child(f"{role}-targets"),
            name=naming.physical_name(self._deployment, role, str(port), limit=NAME_LIMIT),
            vpc_id=network["vpc_id"],
            port=port,
            protocol="HTTP",
            target_type="ip",
            # Uploads on their way come to their end.
            deregistration_delay=120,
            # An upload of an hour is one request: who has fewest gets the next.
            load_balancing_algorithm_type="least_outstanding_requests",
            health_check={
                "path": health,
                "protocol": "HTTP",
                "matcher": "200",
                "interval": 10,
                "timeout": 5,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
            },
            tags=self._tags(f"{role}-targets"),
            opts=self._opts(),
        )

    def _listen(
        self,
        args: AwsAuthProxyArgs,
        login: str,
        balancer: aws.lb.LoadBalancer,
        groups: Mapping[str, aws.lb.TargetGroup],
    ) -> list[pulumi.Resource]:
        """Who passes where. A task is registered only with a target group that some listener names."""
        redirect = aws.lb.Listener(
            self._child("http"),
            load_balancer_arn=balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=[
                {
                    "type": "redirect",
                    "redirect": {"port": "443", "protocol": "HTTPS", "status_code": "HTTP_301"},
                }
            ],
            tags=self._tags("http"),
            opts=self._opts(),
        )
        web: Any = {"type": "forward", "target_group_arn": groups["web"].arn}
        actions: Any = [web] if login != "alb" else _logged_in(args, web, "authenticate")
        listener = aws.lb.Listener(
            self._child("https"),
            load_balancer_arn=balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=alb.TLS_POLICY,
            certificate_arn=self._certificate(args),
            default_actions=actions,
            tags=self._tags("https"),
            opts=self._opts(),
        )
        if login != "alb":
            return [redirect, listener]
        # nginx answers it with a constant, and nothing below it: a path is compared as a whole.
        health = aws.lb.ListenerRule(
            self._child("health-rule"),
            listener_arn=listener.arn,
            priority=5,
            conditions=[{"path_pattern": {"values": [proxy.CLIENTS_HEALTH_PATH]}}],
            actions=[web],
            tags=self._tags("health-rule"),
            opts=self._opts(),
        )
        token = aws.lb.ListenerRule(
            self._child("token-rule"),
            listener_arn=listener.arn,
            # Before those that log in: the load balancer would send a program with a token to a login page.
            priority=10,
            conditions=[
                {"http_header": {"http_header_name": "Authorization", "values": ["*"]}},
            ],
            actions=[{"type": "forward", "target_group_arn": groups["token"].arn}],
            tags=self._tags("token-rule"),
            opts=self._opts(),
        )
        api = aws.lb.ListenerRule(
            self._child("api-rule"),
            listener_arn=listener.arn,
            priority=20,
            conditions=[{"path_pattern": {"values": list(alb.API_PATHS)}}],
            actions=_logged_in(args, web, "deny"),
            tags=self._tags("api-rule"),
            opts=self._opts(),
        )
        return [redirect, listener, health, token, api]

    def _certificate(self, args: AwsAuthProxyArgs) -> pulumi.Input[str]:
        """The certificate's ARN, known once it is valid."""
        given, zone, hosts = args.get("certificate"), args.get("zone"), args["hosts"]
        if given is not None:
            return given
        made = aws.acm.Certificate(
            self._child("certificate"),
            domain_name=hosts[0],
            subject_alternative_names=hosts[1:],
            validation_method="DNS",
            tags=self._tags("certificate"),
            opts=self._opts(),
        )
        records = []
        for host in hosts:
            asked = made.domain_validation_options.apply(functools.partial(_validation, host=host))
            records.append(
                aws.route53.Record(
                    self._child(f"validation-{host}"),
                    zone_id=zone or "",
                    name=asked["name"],
                    type=asked["type"],
                    records=[asked["value"]],
                    ttl=300,
                    # A host that two stacks have had has the same record.
                    allow_overwrite=True,
                    opts=self._opts(),
                )
            )
        valid = aws.acm.CertificateValidation(
            self._child("certificate-valid"),
            certificate_arn=made.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=self._opts(),
        )
        return valid.certificate_arn

    def _records(self, args: AwsAuthProxyArgs, balancer: aws.lb.LoadBalancer) -> None:
        zone = args.get("zone")
        for host in args["hosts"] if zone else []:
            aws.route53.Record(
                self._child(f"record-{host}"),
                zone_id=zone or "",
                name=host,
                type="A",
                aliases=[
                    {
                        "name": balancer.dns_name,
                        "zone_id": balancer.zone_id,
                        "evaluate_target_health": False,
                    }
                ],
                opts=self._opts(),
            )

    def _run(
        self,
        args: AwsAuthProxyArgs,
        auth: AuthMode,
        contents: Mapping[str, pulumi.Input[str]],
        own: aws.ec2.SecurityGroup,
        groups: Mapping[str, aws.lb.TargetGroup],
        after: Sequence[pulumi.Resource],
    ) -> "tuple[pulumi.Output[str], pulumi.Output[str]]":
        """The service's name, and the task definition once it runs."""
        network, replicas = args["network"], args.get("replicas", 2)
        region = network["region"]
        files = self._files("files", contents)
        logs = self._log_group("logs", f"/pulumi-mlflow/{self._deployment}/proxy")
        pulled = repositories(args.get("repositories"), list(_images(args).values()))
        start = self._start_role("start", logs, region, pulled, [files["arn"]])
        containers = pulumi.Output.all(
            image=args["image"],
            files_image=args["files_image"],
            oidc_image=args.get("oidc_image") or "",
            files=files["source"],
            logs=logs.name,
        ).apply(lambda known: _containers(region, **known, with_oidc=auth.by_provider))
        # Its programs ask AWS for nothing: no role of their own.
        definition = self._definition(
            "server",
            ecs.size(_CPUS, _MEMORY_MB),
            containers,
            start,
            None,
            [ecs.FILES_VOLUME, *mounts("nginx")],
        )
        ports = {"web": ("nginx", PORT), "token": ("oauth2-proxy", OIDC_PORT)}
        service = self._service(
            "server",
            args["cluster"],
            definition,
            network,
            own,
            replicas,
            after,
            load_balancers=[
                {
                    "target_group_arn": group.arn,
                    "container_name": ports[role][0],
                    "container_port": ports[role][1],
                }
                for role, group in groups.items()
            ],
            health_check_grace_period_seconds=60,
        )
        self._scale_on_cpu(
            args["cluster"], service, replicas, args.get("max_replicas", 3 * replicas)
        )
        rollout = self._rolled_out(
            "server", region, args["cluster"], service, definition, logs, "nginx"
        )
        return service.name, rollout.task_definition

    def _firewall(self, balancer: aws.lb.LoadBalancer, rate: int) -> None:
        rules: Any = alb.firewall_rules(rate)
        firewall = aws.wafv2.WebAcl(
            self._child("firewall"),
            name=self._short("firewall"),
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=rules,
            visibility_config={
                "cloudwatch_metrics_enabled": True,
                "metric_name": self._short("firewall"),
                "sampled_requests_enabled": False,
            },
            tags=self._tags("firewall"),
            opts=self._opts(),
        )
        aws.wafv2.WebAclAssociation(
            self._child("firewall-association"),
            resource_arn=balancer.arn,
            web_acl_arn=firewall.arn,
            opts=self._opts(),
        )

    def _scale_server(self, scaling: AwsScalingArgs, balancer: aws.lb.LoadBalancer) -> None:
        """Add servers on requests: only the load balancer counts them."""
        metrics: Any = pulumi.Output.all(
            balancer.arn_suffix, scaling["cluster_name"], scaling["service_name"]
        ).apply(lambda known: alb.requests_a_task(*known))
        aws.appautoscaling.Policy(
            self._child("server-scaling"),
            name="requests",
            policy_type="TargetTrackingScaling",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=scaling["target"],
            target_tracking_scaling_policy_configuration={
                "customized_metric_specification": {"metrics": metrics},
                "target_value": scaling.get("requests", 3000),
                "scale_out_cooldown": 60,
                "scale_in_cooldown": 600,
            },
            opts=self._opts(),
        )


def _validation(options: Optional[Sequence[Any]], host: str) -> dict[str, str]:
    """The record that proves a host to be ours."""
    for option in options or []:
        if option.domain_name == host:
            return {
                "name": str(option.resource_record_name),
                "type": str(option.resource_record_type),
                "value": str(option.resource_record_value),
            }
    raise ValueError(f"certificate: ACM asks for no record of {host}")


def _containers(
    region: str,
    image: str,
    files_image: str,
    oidc_image: str,
    files: str,
    logs: str,
    *,
    with_oidc: bool,
) -> list[ecs.Container]:
    writer = ecs.files(files_image, WRITER, logs, region, files, shared=True)
    shared = functools.partial(
        ecs.Container,
        log_group=logs,
        region=region,
        read_only={ecs.FILES_VOLUME: FILES_PATH},
        after={writer.name: "SUCCESS"},
        stop_seconds=120,
    )
    nginx = shared(
        name="nginx",
        image=image,
        entrypoint=["nginx"],
        command=["-e", "stderr", "-c", f"{FILES_PATH}/{NGINX_CONF}"],
        user=f"{UID}:{UID}",
        port=PORT,
        folders=mounts("nginx"),
        health=[
            "curl",
            "-fsS",
            "-o",
            "/dev/null",
            f"http://127.0.0.1:{PORT}{proxy.HEALTH_PATH}",
        ],
    )
    if not with_oidc:
        return [writer, nginx]
    service = shared(
        name="oauth2-proxy",
        image=oidc_image,
        entrypoint=["/bin/oauth2-proxy"],
        command=["--config", f"{FILES_PATH}/{OIDC_CONFIG}"],
        user=f"{OIDC_UID}:{OIDC_UID}",
        port=OIDC_PORT,
        health=["wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{OIDC_PORT}{oidc.HEALTH_PATH}"],
    )
    return [writer, nginx, service]


def _login(auth: AuthMode, args: AwsAuthProxyArgs) -> str:
    """Who logs browsers in: `alb`, `proxy`, or nobody beside nginx or the server (empty)."""
    if not auth.by_provider:
        return ""
    return args.get("login") or ("alb" if auth is AuthMode.OIDC else "proxy")


def _provider(args: AwsAuthProxyArgs) -> AwsOidcProviderArgs:
    """The identity provider, a user pool of Cognito included."""
    cognito, provider = args.get("cognito"), args.get("oidc")
    if cognito:
        return AwsOidcProviderArgs(
            issuer=alb.cognito_issuer(cognito["user_pool"]),
            client_id=cognito["client_id"],
            client_secret=cognito["client_secret"],
            groups_claim="cognito:groups",
        )
    if not provider:
        raise ValueError("oidc: is missing")
    return provider


def _logged_in(args: AwsAuthProxyArgs, then: dict[str, Any], otherwise: str) -> list[Any]:
    """Actions of the load balancer: a login, then the rest.

    Args:
        args: of the component.
        then: the action of who is logged in.
        otherwise: `authenticate` (send to a login) or `deny` who is not.
    """
    cognito, provider = args.get("cognito"), _provider(args)
    session = {
        "on_unauthenticated_request": otherwise,
        "scope": " ".join(dict.fromkeys((*oidc.SCOPES, *provider.get("scopes", [])))),
        "session_timeout": oidc.SESSION_HOURS * 3600,
    }
    if cognito:
        action = {
            "type": "authenticate-cognito",
            "authenticate_cognito": {
                **session,
                "user_pool_arn": cognito["user_pool"],
                "user_pool_client_id": cognito["client_id"],
                "user_pool_domain": cognito["domain"],
            },
        }
    else:
        action = {
            "type": "authenticate-oidc",
            "authenticate_oidc": {
                **session,
                "issuer": provider["issuer"],
                "client_id": provider["client_id"],
                "client_secret": pulumi.Output.secret(provider["client_secret"]),
                "authorization_endpoint": provider.get("authorization_endpoint", ""),
                "token_endpoint": provider.get("token_endpoint", ""),
                "user_info_endpoint": provider.get("user_info_endpoint", ""),
            },
        }
    return [{**action, "order": 1}, {**then, "order": 2}]


def _clients(args: AwsAuthProxyArgs) -> dict[str, pulumi.Input[str]]:
    """Blocks of addresses that get in, by their names here."""
    given = args.get("clients")
    if given:
        return {block: block for block in given}
    return {"vpc": args["network"]["cidr"]} if args.get("internal", False) else {"all": _ANYWHERE}


def _check(name: str, args: AwsAuthProxyArgs) -> AuthMode:
    """Refuse what would be open to everybody, or to nobody, before anything is registered."""
    auth = AuthMode(args.get("auth", AuthMode.OIDC.value))
    network, tracking, hosts = args["network"], args["tracking"], args["hosts"]
    names = [args.get("username", "mlflow"), *args.get("users", [])]
    check_login(name, auth, tracking, names)
    idle = args.get("idle_timeout", 3600)
    images = {
        key: args.get(key)
        for key in ("image", "files_image", *(["oidc_image"] if auth.by_provider else []))
    }
    reasons = {
        "auth": "'none' would be open to everybody; use 'oidc' or 'basic'"
        if auth is AuthMode.NONE
        else None,
        "hosts": urls.check_hosts(hosts),
        "certificate": None
        if args.get("certificate") is not None or args.get("zone")
        else "give the ARN of one for the hosts, or the zone of the hosts, in which one is made",
        "idle_timeout": alb.check_idle(idle),
        "network": None
        if args.get("internal", False) or network["public_subnets"]
        else "the VPC has no public subnets for a public load balancer; give it some, or internal: true",
        "clients": "everybody of the Internet, to a load balancer inside the VPC?"
        if args.get("internal", False) and _ANYWHERE in args.get("clients", [])
        else None,
        **{
            key: check_reference(image) if isinstance(image, str) else None
            for key, image in images.items()
        },
    }
    about_provider = _check_provider(auth, args) if auth.by_provider else {}
    for key, reason in (*reasons.items(), *about_provider.items()):
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
    return auth


def _check_provider(auth: AuthMode, args: AwsAuthProxyArgs) -> dict[str, Optional[str]]:
    """Why an identity provider cannot be asked: setting → reason, or None."""
    cognito, provider, login = args.get("cognito"), args.get("oidc"), _login(auth, args)
    if bool(cognito) == bool(provider):
        return {"oidc": f"{auth.value!r} needs 'oidc' or 'cognito', one of both"}
    try:
        known = _provider(args)
    except ValueError as error:
        return {"cognito": str(error)}
    where = known["issuer"] if isinstance(known["issuer"], str) else "the issuer"
    limited = bool(known.get("allowed_groups") or known.get("email_domains"))
    found = {
        "oidc_image": None if args.get("oidc_image") else f"{auth.value!r} needs one",
        "login": alb.check_login(login, auth.value, limits_users=limited),
        "network": None
        if args["network"]["internet"]
        else f"its private subnets do not reach {where}; give the network nat: single, or an identity provider is "
        "out of reach",
    }
    if login == "alb" and provider:
        for key in ("authorization_endpoint", "token_endpoint", "user_info_endpoint"):
            found[f"oidc.{key}"] = alb.check_endpoint(str(provider.get(key, "")))
    return found


def _settings(
    auth: AuthMode,
    login: str,
    args: AwsAuthProxyArgs,
    upstream: str,
    cidr: str,
    proxy_secret: str,
) -> proxy.ProxySettings:
    return proxy.ProxySettings(
        listen_port=PORT,
        upstream_host=urls.host_of(upstream),
        upstream_port=urls.port_of(upstream),
        # Whom the load balancer or oauth2-proxy has let through, nginx asks no more.
        auth=AuthMode.NONE.value if login == "alb" else auth.value,
        logged_in=login == "alb",
        htpasswd_path=f"{FILES_PATH}/{HTPASSWD}",
        resolver=RESOLVER,
        oidc_host="127.0.0.1",
        oidc_port=OIDC_PORT,
        proxy_secret=proxy_secret,
        groups_claim=groups_claim(_provider(args)) if auth.by_provider else GROUPS_CLAIM,
        # The load balancer ends TLS.
        scheme="https",
        hsts=True,
        rate_limit=args.get("rate_limit", proxy.RATE_LIMIT),
        cache=args.get("cache", True),
        html_sources=args.get("html_sources", []),
        multipart=args.get("multipart", False),
        # oauth2-proxy, of the same task, passes requests on too.
        trusted=(cidr, "127.0.0.1/32"),
    )
