"""Rules over what an AWS account needs, and choices that follow from several settings."""

from collections.abc import Iterable, Iterator

import sizes
from cloud_models import Aws, AwsNetworkSettings, Login, Nat, TestType
from models import Settings
from problems import Drop, Path, Problem, Put, Rule, same_region, unused
from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core import alb, aws_image, aws_network
from sections import Runtime, Section
from values import EXAMPLE_CERTIFICATE

_ANYWHERE = "0.0.0.0/0"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "user_info_endpoint")

_EXAMPLES = {
    "vpc_id": "vpc-0a1b2c3d4e5f60718",
    "cidr": "10.20.0.0/16",
    "endpoints": "sg-0a1b2c3d4e5f60718",
    "s3_endpoint": "vpce-0a1b2c3d4e5f60718",
    "s3_prefixes": "pl-6ea54007",
}
_MAIL = "ml-platform@example.com"


def login(settings: Settings) -> Login | None:
    """Who logs browsers in; None where no provider does."""
    aws, access = settings.aws, settings.access
    if aws is None or not access.auth.by_provider:
        return None
    if aws.login:
        return aws.login
    if access.auth is not AuthMode.OIDC:
        return Login.PROXY
    if aws.cognito:
        return Login.ALB
    oidc = access.oidc
    if oidc is None or oidc.allowed_groups or oidc.email_domains or oidc.ca_file:
        return Login.PROXY
    return Login.ALB if all(getattr(oidc, key) for key in _ENDPOINTS) else Login.PROXY


def nat(settings: Settings) -> Nat:
    """How a new VPC's private subnets reach the Internet: an identity provider must be reached."""
    if settings.aws and settings.aws.nat:
        return settings.aws.nat
    return Nat.SINGLE if settings.access.auth.by_provider else Nat.NONE


def needs_public(settings: Settings) -> bool:
    """Whether a load balancer of ours lies in public subnets."""
    return sizes.fargate(settings) and not (settings.aws and settings.aws.internal)


def backed_up(settings: Settings) -> list[TestType]:
    """Kinds of what the stack makes and backs up."""
    found = []
    if settings.database.existing is None:
        found.append(TestType.AURORA if settings.database.aurora else TestType.RDS)
    if settings.artifacts.existing is None:
        found.append(TestType.S3)
    return found


def tested(settings: Settings) -> list[str]:
    """Kinds that are restored for a test each week: as told, else the database, else the bucket."""
    chosen = settings.backup.test_types if settings.backup else []
    return [kind.value for kind in chosen or backed_up(settings)[:1]]


def _zones(settings: Settings) -> Iterator[Problem]:
    aws = settings.aws
    if aws is None or not aws.zones:
        return
    path: Path = ("aws", "zones")
    if aws.network is not None:
        return  # said of all that a new network has
    foreign = [zone for zone in aws.zones if not zone.startswith(aws.region)]
    if foreign or len(set(aws.zones)) != len(aws.zones) or len(aws.zones) not in aws_network.ZONES:
        yield Problem(
            Rule.ZONES,
            path,
            f"must be two or three different zones of {aws.region} (got {', '.join(aws.zones)})",
            Drop(path),
        )


def _network(settings: Settings) -> Iterator[Problem]:
    aws = settings.aws
    if aws is None or aws.network is None:
        return
    for key in ("vpc_cidr", "zones", "nat"):
        if key in aws.model_fields_set:
            yield unused(
                Rule.NETWORK_BOTH, ("aws", key), "for a network that is there (aws.network)"
            )
    network = aws.network
    if network.stack:
        for key in sorted(network.model_fields_set - {"stack", "internet"}):
            yield unused(
                Rule.NETWORK_BOTH,
                ("aws", "network", key),
                "beside aws.network.stack, whose output says it",
            )
        return
    yield from _parts(settings, network)


def _parts(settings: Settings, network: AwsNetworkSettings) -> Iterator[Problem]:
    wanted = {"vpc_id": "", "cidr": ""}
    if settings.artifacts.existing is None:
        wanted["s3_endpoint"] = ", by which alone the bucket is read and written"
    if not network.internet:
        way = ", or internet: true, since servers could not pull their image"
        wanted |= {"endpoints": way, "s3_endpoint": way}
    if network.s3_endpoint or "s3_endpoint" in wanted:
        wanted["s3_prefixes"] = ", with s3_endpoint"
    if network.s3_prefixes:
        wanted.setdefault("s3_endpoint", ", with s3_prefixes")
    for key, why in wanted.items():
        if getattr(network, key) is None:
            path: Path = ("aws", "network", key)
            yield Problem(
                Rule.NETWORK_PARTS,
                path,
                f"must be given{why} (got nothing)",
                Put(path, _EXAMPLES[key]),
            )
    lists = ["private_subnets", *(["public_subnets"] if needs_public(settings) else [])]
    for key in lists:
        found = getattr(network, key)
        path = ("aws", "network", key)
        # Ids that differ from one another, and from whatever is there.
        free = (f"subnet-{number:08x}" for number in range(1, 99))
        example = next(one for one in free if one not in found)
        twice = [at for at, one in enumerate(found) if one in found[:at]]
        if twice:
            path = (*path, twice[0])
            yield Problem(
                Rule.NETWORK_PARTS,
                path,
                f'must not be named twice (got "{found[twice[0]]}")',
                Put(path, example),
            )
        elif len(found) < aws_network.ZONES.start:
            yield Problem(
                Rule.NETWORK_PARTS,
                path,
                f"must be two subnets at least, in different zones (got {len(found)})",
                Put((*path, len(found)), example),
            )


def _internet(settings: Settings) -> Iterator[Problem]:
    """What servers ask outside of AWS, and no way there."""
    aws, there = settings.aws, settings.artifacts.existing
    if aws is None or not sizes.fargate(settings):
        return
    asked = {
        "the identity provider": settings.access.auth.by_provider,
        "artifacts.existing.endpoint_url": bool(there and there.endpoint_url),
    }
    what = " and ".join(name for name, is_asked in asked.items() if is_asked)
    if not what:
        return
    if aws.network is not None:
        path: Path = ("aws", "network", "internet")
        if not aws.network.internet:
            yield Problem(
                Rule.NAT,
                path,
                f"must be true, and the private subnets have a way by NAT, since {what} must be reached (got false)",
                Put(path, value=True),
            )
    elif nat(settings) is Nat.NONE:
        path = ("aws", "nat")
        yield Problem(
            Rule.NAT,
            path,
            f'must be single or per-zone, since {what} must be reached (got "none")',
            Put(path, Nat.SINGLE.value),
        )


def _door(settings: Settings) -> Iterator[Problem]:
    aws = settings.aws
    if aws is None or not sizes.fargate(settings):
        return
    if aws.zone is None and aws.certificate is None:
        path: Path = ("aws", "certificate")
        yield Problem(
            Rule.CERTIFICATE,
            path,
            "must be the ARN of a certificate for access.hosts, or aws.zone be their zone, in which one is made "
            "(got neither)",
            Put(path, EXAMPLE_CERTIFICATE),
        )
    if aws.internal and _ANYWHERE in aws.clients:
        at = aws.clients.index(_ANYWHERE)
        yield Problem(
            Rule.CLIENTS_OPEN,
            ("aws", "clients", at),
            f'must not be everybody while aws.internal is true (got "{_ANYWHERE}")',
            Drop(("aws", "clients", at)),
        )
    if "firewall_rate" in aws.model_fields_set and not aws.firewall:
        yield Problem(
            Rule.FIREWALL_UNUSED,
            ("aws", "firewall_rate"),
            f"has no meaning without aws.firewall (got {aws.firewall_rate})",
            Put(("aws", "firewall"), value=True),
        )


def _login(settings: Settings) -> Iterator[Problem]:
    aws, access = settings.aws, settings.access
    if aws is None or not sizes.fargate(settings):
        return
    if aws.cognito is not None and not access.auth.by_provider:
        yield unused(
            Rule.OIDC_UNUSED,
            ("aws", "cognito"),
            f"while access.auth is {access.auth.value}, only with oidc and oidc-mlflow",
        )
        return
    if aws.cognito is not None and access.oidc is not None:
        yield unused(Rule.COGNITO_BOTH, ("access", "oidc"), "beside aws.cognito")
        return
    if not access.auth.by_provider:
        if aws.login is not None:
            yield unused(
                Rule.LOGIN_ALB, ("aws", "login"), "where no identity provider logs users in"
            )
        return
    reason = _cannot(settings, aws)
    if aws.login is Login.ALB and reason:
        yield Problem(
            Rule.LOGIN_ALB,
            ("aws", "login"),
            f'{reason} (got "alb")',
            Put(("aws", "login"), Login.PROXY.value),
        )
        return
    if access.oidc is not None and login(settings) is not Login.ALB:
        for key in _ENDPOINTS:
            if getattr(access.oidc, key) is not None:
                yield unused(
                    Rule.LOGIN_ALB,
                    ("access", "oidc", key),
                    "while the load balancer does not log browsers in, which takes all three endpoints and no "
                    "allowed_groups, email_domains and ca_file",
                )


def _cannot(settings: Settings, aws: Aws) -> str | None:
    """Why the load balancer cannot log browsers in, or None."""
    auth, oidc = settings.access.auth, settings.access.oidc
    limited = bool(oidc and (oidc.allowed_groups or oidc.email_domains))
    reason = alb.check_login(Login.ALB.value, auth.value, limits_users=limited)
    if reason or oidc is None or aws.cognito is not None:
        return reason
    if oidc.ca_file:
        return "'alb' takes public certificates only, and access.oidc.ca_file is given; use 'proxy'"
    missing = [key for key in _ENDPOINTS if getattr(oidc, key) is None]
    if not missing:
        return None
    return f"'alb' needs access.oidc.{', access.oidc.'.join(missing)}; give them, or use 'proxy'"


def _watched(settings: Settings) -> Iterator[Problem]:
    monitoring, backup, aws = settings.monitoring, settings.backup, settings.aws
    if aws is None:
        return
    if sizes.fargate(settings) and monitoring and monitoring.budget_usd and not monitoring.emails:
        yield Problem(
            Rule.BUDGET,
            ("monitoring", "emails"),
            f"must name whom to tell of monitoring.budget_usd, {monitoring.budget_usd:g} (got []; put your own "
            f"address for {_MAIL})",
            Put(("monitoring", "emails", 0), _MAIL),
        )
    if backup is None:
        return
    kinds = backed_up(settings)
    if not kinds:
        for key in sorted(backup.model_fields_set - {"gc_days", "dump"}):
            yield unused(
                Rule.BACKUP_NOTHING,
                ("backup", key),
                "where database and bucket are those of others",
            )
        return
    for at, kind in enumerate(backup.test_types):
        if kind not in kinds:
            yield Problem(
                Rule.BACKUP_TESTED,
                ("backup", "test_types", at),
                f'must be one of {", ".join(kinds)}, which are backed up (got "{kind.value}")',
                Drop(("backup", "test_types", at)),
            )
            break  # the indexes of the others change with the mend
    if backup.copy_region == aws.region:
        yield same_region(("backup", "copy_region"), aws.region)


def _images(settings: Settings) -> Iterator[Problem]:
    if settings.runtime is not Runtime.AWS or settings.registry is None:
        return
    for key in ("server", "nginx", "oauth2_proxy"):
        image = getattr(settings.registry, key)
        reason = aws_image.check_reference(image) if image else None
        path: Path = ("registry", key)
        if reason:
            yield Problem(Rule.IMAGE_DIGEST, path, reason, Drop(path))
        elif image and sizes.fargate(settings) and settings.aws:
            network = settings.aws.network
            internet = network.internet if network else nat(settings) is not Nat.NONE
            reason = aws_image.check_pull(image, settings.aws.region, internet=internet)
            if reason:
                yield Problem(Rule.IMAGE_REACH, path, reason, Drop(path))


_DOOR_KEYS = (
    "zone",
    "certificate",
    "login",
    "cognito",
    "internal",
    "clients",
    "idle_timeout",
    "firewall",
    "firewall_rate",
)


def _compute(settings: Settings) -> Iterator[Problem]:
    """Settings of the compute that is not there."""
    if settings.runtime is not Runtime.AWS:
        return
    if sizes.fargate(settings):
        why = "while aws.compute is fargate, only with kubernetes"
        keys: dict[str, tuple[str, ...]] = {
            "monitoring": ("namespace", "labels"),
            "backup": ("gc_days", "dump"),
            "tracking": ("jobs",),
        }
        if settings.kubernetes and settings.kubernetes.model_fields_set:
            yield unused(Rule.COMPUTE_UNUSED, ("kubernetes",), why)
    else:
        why = "while aws.compute is kubernetes, only with fargate"
        keys = {
            "aws": _DOOR_KEYS,
            "monitoring": ("emails", "budget_usd"),
        }
        if settings.database.existing is None:
            keys["database"] = ("rds_proxy", "rds_proxy_ca_file", "read_replica")
        yield from _given(settings.access.oidc, ("access", "oidc"), _ENDPOINTS, why)
    for section, names in keys.items():
        yield from _given(getattr(settings, section), (section,), names, why)


def _given(section: Section | None, path: Path, keys: Iterable[str], why: str) -> Iterator[Problem]:
    for key in keys:
        if section is not None and key in section.model_fields_set:
            yield unused(Rule.COMPUTE_UNUSED, (*path, key), why)


def _cluster(settings: Settings) -> Iterator[Problem]:
    """What a cluster needs to get at the data of the account."""
    aws, chosen = settings.aws, settings.kubernetes
    if aws is None or chosen is None or sizes.fargate(settings):
        return
    if aws.network is None:
        yield Problem(
            Rule.CLUSTER_NETWORK,
            ("aws", "network"),
            "must be the VPC of the cluster, since database and bucket are reached from there (got nothing)",
            Put(("aws", "network", "stack"), "acme/network/prod"),
        )
    if settings.database.existing is None:
        needed = {
            "security_group": ("sg-0a1b2c3d4e5f60718", "or RDS lets nobody in"),
            "secret_store": ("aws", "or no migration could make the servers' user in RDS"),
        }
        for key, (example, why) in needed.items():
            if getattr(chosen, key) is None:
                path: Path = ("kubernetes", key)
                yield Problem(
                    Rule.CLUSTER_ACCESS,
                    path,
                    f"must be given, {why} (got nothing)",
                    Put(path, example),
                )
    yield from _bucket_access(settings, role=bool(chosen.identity and chosen.identity.role_arn))


def _bucket_access(settings: Settings, *, role: bool) -> Iterator[Problem]:
    chosen = settings.kubernetes
    if chosen is None:
        return
    keys = settings.artifacts_access_key is not None
    if chosen.cluster and (keys or chosen.identity):
        path: Path = ("kubernetes", "identity")
        if keys:
            path = ("kubernetes", "cluster")
        yield unused(
            Rule.CLUSTER_ACCESS,
            path,
            "where the bucket has keys"
            if keys
            else "beside kubernetes.cluster, which gives a role",
        )
    elif not keys and not chosen.cluster and not role:
        path = ("kubernetes", "cluster")
        yield Problem(
            Rule.CLUSTER_ACCESS,
            path,
            "must be the name of the EKS cluster, whose Pod Identity gives servers a role for the bucket; or "
            "kubernetes.identity.role_arn a role for IRSA (got neither)",
            Put(path, "acme-prod"),
        )


CHECKS = (
    _zones,
    _network,
    _internet,
    _door,
    _login,
    _watched,
    _images,
    _compute,
    _cluster,
)
