"""The front door: nginx with a login, the only container that publishes a port."""

from collections.abc import Sequence
from typing import NotRequired, Optional, TypedDict
from urllib.parse import urlsplit

import pulumi
import pulumi_docker as docker

from .. import login
from ..certificate import GeneratedCertificate
from ..contracts import AuthMode, TrackingEndpoint, require_reach
from ..core import proxy, urls
from ..generated import GeneratedSecret
from . import container, oidc
from .files import FILES_PATH
from .network import place

PORT = login.PROXY_PORT
UID = login.PROXY_UID
CERTIFICATE = "tls.crt"
KEY = "tls.key"


class ProxyTlsArgs(TypedDict):
    """A certificate of one's own."""

    certificate: pulumi.Input[str]
    """PEM of the certificate and those between it and its authority."""
    key: pulumi.Input[str]
    """PEM of its key, unencrypted (secret)."""


class DockerAuthProxyArgs(TypedDict):
    """Arguments of DockerAuthProxy."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    shared_network: NotRequired[Optional[pulumi.Input[str]]]
    """Name of a further network, where it is found by its container's name: `DockerNetwork.shared`."""
    image: pulumi.Input[str]
    """Id of an nginx image."""
    tracking: TrackingEndpoint
    """The server behind it."""
    auth: NotRequired[str]
    """`basic`, `oidc`, `mlflow`, `oidc-mlflow` or, on loopback only, `none`; `basic` unless given."""
    username: NotRequired[str]
    """Who logs in, with `basic`; `mlflow` unless given."""
    users: NotRequired[list[str]]
    """Further users, with `basic`; each has a password of its own."""
    oidc: NotRequired[Optional[login.OidcProviderArgs]]
    """Who knows the users, with `oidc` and `oidc-mlflow`."""
    oidc_image: NotRequired[Optional[pulumi.Input[str]]]
    """Id of an oauth2-proxy image, with `oidc` and `oidc-mlflow`."""
    bind: NotRequired[str]
    """Address of the engine's machine that the port is published on; 127.0.0.1 unless given."""
    port: NotRequired[int]
    """Published port; 5000 unless given."""
    hosts: NotRequired[list[str]]
    """Public host names; the first is that of the URL, unless only this machine gets here without TLS of one's own."""
    public_url: NotRequired[Optional[str]]
    """URL under which another proxy before this one shows the stack; it ends TLS and passes the Host header on."""
    tls: NotRequired[Optional[ProxyTlsArgs]]
    """A certificate of one's own; plain HTTP unless given."""
    self_signed: NotRequired[bool]
    """Whether to make a certificate for development; no unless given."""
    rate_limit: NotRequired[int]
    """Requests a second that one address may make with a login, with as many again at once; 10000 unless given. 0 is no
    limit."""
    html_sources: NotRequired[list[str]]
    """Origins, such as `https://cdn.jsdelivr.net`, that HTML artifacts may load from as pages; none unless given."""
    cache: NotRequired[bool]
    """Whether nginx keeps the UI's static files; yes unless given."""
    multipart: NotRequired[bool]
    """Whether clients reach the store, so that the server may offer presigned transfers; no unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 128 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerAuthProxy(container.DockerComponent):
    """nginx before the tracking server: logins, TLS, limits, static files; streams artifacts of any size.

    Raises:
        UnreachableEndpointError: the server cannot be reached from the stack's network.
        ValueError: no authentication beyond loopback, a server that demands another login than this one passes on, or
            something that a mode needs is missing.
    """

    _role = "proxy"

    endpoint: TrackingEndpoint
    """What people and training scripts use."""
    password: pulumi.Output[str]
    """Password of the first user (secret); used with `basic`."""
    passwords: pulumi.Output[dict[str, str]]
    """User → password (secret), with `basic`; empty otherwise."""
    ca: pulumi.Output[str]
    """PEM of the authority that clients must know, with `self_signed`; empty otherwise."""

    def __init__(
        self, name: str, args: DockerAuthProxyArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        tracking = args["tracking"]
        require_reach(name, place(self._deployment), tracking["component"], tracking["reach"])
        auth = AuthMode(args.get("auth", AuthMode.BASIC.value))
        bind, port = args.get("bind", "127.0.0.1"), args.get("port", 5000)
        _check(name, auth, bind, args)
        tls, self_signed = args.get("tls"), args.get("self_signed", False)
        host = _public_host(bind, args.get("hosts", []), own_certificate=bool(tls))

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
        made = GeneratedCertificate(
            self._child("certificate"),
            self._deployment,
            [urls.url_host(bind), host, *args.get("hosts", [])],
            self._opts(),
        )
        self.password = pulumi.Output.secret(logins[0].value)
        basic = auth is AuthMode.BASIC
        known: pulumi.Output[dict[str, str]] = pulumi.Output.all(
            **{user: login.value for user, login in zip(names, logins, strict=True)}
        )
        self.passwords = pulumi.Output.secret(known if basic else pulumi.Output.from_input({}))
        self.ca = made.ca if self_signed and not tls else pulumi.Output.from_input("")

        contents: dict[str, pulumi.Input[str]] = {}
        if tls:
            contents |= {CERTIFICATE: tls["certificate"], KEY: tls["key"]}
        elif self_signed:
            contents |= {CERTIFICATE: made.certificate, KEY: made.key}
        secure = CERTIFICATE in contents
        outside = args.get("public_url") or f"{'https' if secure else 'http'}://{host}:{port}"
        if basic:
            contents[login.HTPASSWD] = pulumi.Output.all(known, salt.value).apply(
                lambda given: proxy.htpasswd(*given)
            )
        login_service = self._login_service(
            args, session.value, secure=outside.startswith("https://")
        )
        contents[login.NGINX_CONF] = pulumi.Output.all(
            tracking["internal_url"], login_service, tracking.get("proxy_secret", "")
        ).apply(lambda given: proxy.render_nginx(_settings(auth, args, secure, *given)))
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                entrypoint=["nginx"],
                command=["-e", "stderr", "-c", f"{FILES_PATH}/{login.NGINX_CONF}"],
                user=f"{UID}:{UID}",
                network=args["network"],
                shared_network=args.get("shared_network"),
                alias=self._role,
                files=self._files(contents, args["image"], UID),
                health=container.Health(_health(secure=secure)),
                memory_mb=args.get("memory_mb", 128),
                ports=[docker.ContainerPortArgs(internal=PORT, external=port, ip=bind)],
            ),
        )
        scheme = "https" if secure else "http"
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=["host"] if urls.is_loopback(bind) and not args.get("public_url") else ["public"],
            internal_url=f"{scheme}://{self._physical()}:{PORT}",
            public_url=container.once(healthy, outside),
            health_path=proxy.HEALTH_PATH,
            ready_path=tracking["ready_path"],
            auth_mode=auth.value,
        )
        self.register_outputs({"endpoint": self.endpoint})

    def _login_service(
        self, args: DockerAuthProxyArgs, session: pulumi.Input[str], *, secure: bool
    ) -> pulumi.Input[str]:
        """Host name of oauth2-proxy, or nothing where no provider is asked."""
        provider, image = args.get("oidc"), args.get("oidc_image")
        if not AuthMode(args.get("auth", AuthMode.BASIC.value)).by_provider:
            return ""
        if not provider or not image:
            raise ValueError(
                f"{self._logical_name}: {args.get('auth')!r} needs 'oidc' and 'oidc_image'"
            )
        service = oidc.DockerOidc(
            self._child("oidc"),
            {
                "network": args["network"],
                "image": image,
                "provider": provider,
                "cookie_secret": session,
                "secure": secure,
                "claims": AuthMode(args.get("auth", AuthMode.BASIC.value)) is AuthMode.OIDC_MLFLOW,
                "deployment": self._deployment,
            },
            self._opts(),
        )
        return service.host


def _check(name: str, auth: AuthMode, bind: str, args: DockerAuthProxyArgs) -> None:
    """Refuse what would be open to everybody, or to nobody."""
    if auth is AuthMode.NONE and not urls.is_loopback(bind):
        raise ValueError(
            f"{name}: auth 'none' is for loopback only (bind is {bind!r}); use 'basic'"
        )
    names = [args.get("username", "mlflow"), *args.get("users", [])]
    login.check(name, auth, args["tracking"], names)
    if args.get("tls") and args.get("self_signed"):
        raise ValueError(f"{name}: 'tls' and 'self_signed' exclude one another; give one")


def _public_host(bind: str, hosts: Sequence[str], *, own_certificate: bool) -> str:
    """The host of the URL that people use. A certificate of one's own is for names, not for loopback."""
    if hosts and (own_certificate or not urls.is_loopback(bind)):
        return urls.url_host(hosts[0])
    return urls.url_host(bind)


def _settings(
    auth: AuthMode,
    args: DockerAuthProxyArgs,
    secure: bool,
    upstream: str,
    login_service: str,
    proxy_secret: str,
) -> proxy.ProxySettings:
    return proxy.ProxySettings(
        listen_port=PORT,
        upstream_host=urls.host_of(upstream),
        upstream_port=urls.port_of(upstream),
        auth=auth.value,
        htpasswd_path=f"{FILES_PATH}/{login.HTPASSWD}",
        oidc_host=login_service,
        oidc_port=login.OIDC_PORT,
        proxy_secret=proxy_secret,
        groups_claim=login.groups_claim(args.get("oidc")),
        certificate_path=f"{FILES_PATH}/{CERTIFICATE}" if secure else "",
        key_path=f"{FILES_PATH}/{KEY}" if secure else "",
        scheme=urlsplit(args.get("public_url") or "").scheme,
        # Never with a certificate that browsers do not know by themselves: it could not be clicked away any more.
        hsts=bool(args.get("tls")),
        rate_limit=args.get("rate_limit", proxy.RATE_LIMIT),
        shared_address=bool(args.get("public_url")),
        cache=args.get("cache", True),
        html_sources=args.get("html_sources", []),
        multipart=args.get("multipart", False),
    )


def _health(*, secure: bool) -> list[str]:
    """Whether nginx itself answers; the certificate is for another name than this one."""
    certificate, scheme = (["--insecure"], "https") if secure else ([], "http")
    url = f"{scheme}://127.0.0.1:{PORT}{proxy.HEALTH_PATH}"
    return ["curl", "-fsS", "-o", "/dev/null", *certificate, url]
