"""The aws runtime: network, database, bucket, and servers on Fargate or in a cluster that is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

import parts
import sizes
from cloud_models import Aws, AwsNetworkSettings
from models import Settings
from pulumi_mlflow import recipes
from pulumi_mlflow.aws.artifacts import AwsArtifactStore
from pulumi_mlflow.aws.backup import AwsBackup, AwsBackupRole
from pulumi_mlflow.aws.cluster import AwsClusterAccess
from pulumi_mlflow.aws.database import AwsDatabase
from pulumi_mlflow.aws.image import AwsImage
from pulumi_mlflow.aws.monitoring import AwsMonitoring
from pulumi_mlflow.aws.network import AwsNetwork, AwsNetworkPlace
from pulumi_mlflow.aws.proxy import AwsAuthProxy
from pulumi_mlflow.aws.tracking import AwsTrackingServer
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import ArtifactEndpoint, DatabaseEndpoint
from pulumi_mlflow.core import aws_network, naming
from rules import aws as choices

KINDS = {"server": "mlflow", "nginx": "nginx", "oauth2_proxy": "oauth2-proxy"}
"""Key of `registry` → kind of image."""


@dataclass(frozen=True)
class _Data:
    """What holds data.

    Attributes:
        database: for servers.
        artifacts: where artifacts are kept.
        made: the database, where it is made here.
        bucket: the bucket, where it is made here.
    """

    database: DatabaseEndpoint
    artifacts: ArtifactEndpoint
    made: AwsDatabase | None
    bucket: AwsArtifactStore | None


def compose(settings: Settings) -> None:
    """Register the components and export what users and the operations need."""
    wanted = _aws(settings)
    account = aws.Provider("aws", region=wanted.region)
    opts = pulumi.ResourceOptions(providers=[account])
    place = _network(settings, wanted, opts).network
    role = None
    if sizes.rds(settings) or settings.artifacts.existing is None:
        role = AwsBackupRole("backup-role", {"network": place}, opts)
    made = _database(settings, place, opts) if sizes.rds(settings) else None
    bucket = None
    if settings.artifacts.existing is None:
        bucket = _bucket(settings, wanted, place, role, opts)
    database = made.endpoint if made else parts.database_there(settings, opts)
    if database is None:
        raise ValueError("database: neither made nor existing")
    data = _Data(
        database,
        bucket.endpoint if bucket else parts.bucket_there(settings, opts),
        made,
        bucket,
    )
    images = _images(settings, wanted, opts)
    if sizes.fargate(settings):
        _fargate(settings, place, data, images, opts)
    else:
        _cluster(settings, wanted, place, data, images, account)
    if role:
        _backup(settings, wanted, role, data, opts)


def _aws(settings: Settings) -> Aws:
    if settings.aws is None:
        raise ValueError("aws: missing, and the rules have let it pass")
    return settings.aws


def _network(settings: Settings, wanted: Aws, opts: pulumi.ResourceOptions) -> AwsNetwork:
    args: Any = {
        "region": wanted.region,
        "cidr": wanted.vpc_cidr,
        "nat": choices.nat(settings).value,
        **({"zones": wanted.zones} if wanted.zones else {}),
    }
    there = settings.artifacts.existing
    if there is not None and not there.endpoint_url:
        args["foreign_buckets"] = [settings.artifacts.bucket]
    if wanted.network is not None:
        args["existing"] = _existing(wanted.network, public=choices.needs_public(settings))
    return AwsNetwork("network", args, opts)


def _existing(there: AwsNetworkSettings, *, public: bool) -> dict[str, Any]:
    """A VPC of others: by its ids, or by the output `network` of the stack that made it."""
    if not there.stack:
        return {
            **parts.given(
                vpc_id=there.vpc_id,
                cidr=there.cidr,
                endpoints=there.endpoints,
                s3_endpoint=there.s3_endpoint,
                s3_prefixes=there.s3_prefixes,
            ),
            "private_subnets": there.private_subnets,
            "public_subnets": there.public_subnets,
            "internet": there.internet,
        }
    found = pulumi.StackReference("network-stack", there.stack).require_output("network")

    def part(key: str) -> pulumi.Output[str]:
        return found.apply(lambda known: str(_part(str(there.stack), known, key)))

    def subnet(key: str, at: int) -> pulumi.Output[str]:
        return found.apply(lambda known: str(_part(str(there.stack), known, key)[at]))

    # How many there are must be known before the other stack is asked: the fewest that do.
    numbers = range(aws_network.ZONES.start)
    return {
        **{key: part(key) for key in ("vpc_id", "cidr", "s3_endpoint", "s3_prefixes")},
        **({} if there.internet else {"endpoints": part("endpoints")}),
        "private_subnets": [subnet("private_subnets", at) for at in numbers],
        "public_subnets": [subnet("public_subnets", at) for at in numbers if public],
        "internet": there.internet,
    }


def _part(stack: str, known: Mapping[str, Any], key: str) -> Any:
    if not known.get(key):
        raise ValueError(f"stack {stack}: its output 'network' has no {key}")
    return known[key]


def _database(
    settings: Settings, place: AwsNetworkPlace, opts: pulumi.ResourceOptions
) -> AwsDatabase:
    wanted = settings.database
    args: Any = {
        "network": place,
        "engine": f"aurora-{wanted.engine.value}" if wanted.aurora else wanted.engine.value,
        "version": wanted.version,
        "instance_class": wanted.instance_class,
        "name": wanted.name,
        "username": wanted.username,
        "max_connections": wanted.max_connections,
        "storage_gb": wanted.storage_gb,
        "multi_az": wanted.multi_az,
        "backup_days": wanted.backup_days,
        "backup_region": wanted.backup_region,
        "iam_auth": wanted.iam_auth,
        "replica": wanted.read_replica,
        "apply_immediately": wanted.apply_immediately,
        "allow_major_upgrade": wanted.allow_major_upgrade,
        "deletion_protection": wanted.deletion_protection,
        **parts.given(ca=parts.text(wanted.ca_file)),
    }
    if wanted.rds_proxy:
        args["proxy"] = parts.given(ca=parts.text(wanted.rds_proxy_ca_file))
    return AwsDatabase("database", args, opts)


def _bucket(
    settings: Settings,
    there: Aws,
    place: AwsNetworkPlace,
    role: AwsBackupRole | None,
    opts: pulumi.ResourceOptions,
) -> AwsArtifactStore:
    wanted = settings.artifacts
    return AwsArtifactStore(
        "artifacts",
        {
            "bucket": wanted.bucket,
            "network": place,
            "vpc_only": wanted.vpc_only,
            "clients": there.clients,
            "expire_multipart_days": wanted.expire_multipart_days or 7,
            "keep_deleted_days": wanted.keep_deleted_days,
            "tiering_days": wanted.tiering_days,
            "access_logs": wanted.access_logs,
            "replica_region": wanted.replica_region,
            "trusted_roles": [role.arn] if role else [],
        },
        opts,
    )


def _images(settings: Settings, wanted: Aws, opts: pulumi.ResourceOptions) -> dict[str, AwsImage]:
    """Images by their digests: those of `registry`, else built and pushed to ECR."""
    found = {}
    for key, kind in KINDS.items():
        if key == "oauth2_proxy" and not settings.access.auth.by_provider:
            continue
        found[key] = AwsImage(
            f"image-{kind}",
            {
                "region": wanted.region,
                "kind": kind,
                "source": recipes.ImageSource(settings.images.value).value,
                "extras": parts.extras(settings) if key == "server" else [],
                "existing": getattr(settings.registry, key) if settings.registry else None,
            },
            opts,
        )
    return found


def _server_only(data: _Data) -> dict[str, Any]:
    """Endpoints beside the database's own: without RDS Proxy for migrations, the replica for searches."""
    if data.made is None:
        return {}
    return {
        "migration_database": data.made.direct_endpoint,
        "read_database": data.made.read_endpoint,
    }


def _fargate(
    settings: Settings,
    place: AwsNetworkPlace,
    data: _Data,
    images: Mapping[str, AwsImage],
    opts: pulumi.ResourceOptions,
) -> None:
    """Servers as tasks, the front door, alarms."""
    tracking, access = settings.tracking, settings.access
    args: Any = {
        "network": place,
        "image": images["server"].reference,
        "repository": images["server"].repository_arn,
        "outside": images["server"].outside,
        "database": data.database,
        "artifacts": data.artifacts,
        "public_url": f"https://{access.hosts[0]}",
        "allowed_hosts": [*tracking.allowed_hosts, *access.hosts[1:]],
        "replicas": tracking.replicas,
        "max_replicas": tracking.max_replicas or tracking.replicas,
        "scratch_mb": tracking.scratch_mb,
        **_server_only(data),
        **parts.server_args(settings),
    }
    server = AwsTrackingServer("tracking", args, opts)
    door = _door(settings, place, server, images, opts)
    _monitoring(settings, data.made, server, door, opts)
    pulumi.export("tracking_uri", door.endpoint["public_url"])
    # Whoever keeps the records of the hosts points them here.
    pulumi.export("address", door.address)
    parts.export_store(settings, data.artifacts)
    parts.export_logins(settings, server, door)
    pulumi.export(
        "ops",
        {
            "engine": settings.database.engine.value,
            "deployment": default_deployment(),
            "tracking": server.ops,
        },
    )


def _door(
    settings: Settings,
    place: AwsNetworkPlace,
    server: AwsTrackingServer,
    images: Mapping[str, AwsImage],
    opts: pulumi.ResourceOptions,
) -> AwsAuthProxy:
    wanted, login = _aws(settings), choices.login(settings)
    args: Any = {
        "network": place,
        "cluster": server.cluster,
        "image": images["nginx"].reference,
        "files_image": images["server"].reference,
        "repositories": [image.repository_arn for image in images.values() if image.repository_arn],
        "outside": any(image.outside for image in images.values()),
        "tracking": server.endpoint,
        "zone": wanted.zone,
        "certificate": wanted.certificate,
        "internal": wanted.internal,
        "clients": wanted.clients,
        "idle_timeout": wanted.idle_timeout,
        "firewall": wanted.firewall,
        "firewall_rate": wanted.firewall_rate,
        "scaling": {
            "target": server.scaling,
            "cluster_name": server.cluster_name,
            "service_name": server.service_name,
        },
        **parts.door_args(settings),
    }
    if login is not None:
        args |= {
            "login": login.value,
            "oidc_image": images["oauth2_proxy"].reference,
            **_provider(settings, wanted),
        }
    return AwsAuthProxy("proxy", args, opts)


def _provider(settings: Settings, wanted: Aws) -> dict[str, Any]:
    if wanted.cognito:
        return {
            "cognito": {
                "user_pool": wanted.cognito.user_pool,
                "client_id": wanted.cognito.client_id,
                "client_secret": parts.typed(settings.oidc_client_secret),
                "domain": wanted.cognito.domain,
            }
        }
    oidc = settings.access.oidc
    known = ("authorization_endpoint", "token_endpoint", "user_info_endpoint")
    return {
        "oidc": {
            **(parts.provider(settings) or {}),
            **parts.given(**{key: getattr(oidc, key) for key in known}),
        }
    }


def _cluster(
    settings: Settings,
    wanted: Aws,
    place: AwsNetworkPlace,
    data: _Data,
    images: Mapping[str, AwsImage],
    account: aws.Provider,
) -> None:
    """Servers in a cluster of the same VPC."""
    chosen = settings.kubernetes
    if chosen is None:
        raise ValueError("kubernetes: missing, and the rules have let it pass")
    import kubernetes_stack  # noqa: PLC0415 - loads Kubernetes' SDK, which takes a second

    reach = kubernetes_stack.access(settings)
    opts = pulumi.ResourceOptions(providers=[account, kubernetes_stack.cluster(reach)])
    namespace = kubernetes_stack.network(settings, opts, "namespace")
    identity = kubernetes_stack.identity(settings)
    if chosen.cluster:
        identity = {"pod_identity": True}
    access = AwsClusterAccess(
        "cluster-access",
        {
            "region": wanted.region,
            "artifacts": data.artifacts,
            "cluster": chosen.cluster,
            "namespace": namespace.namespace,
            "service_account": naming.physical_name(default_deployment(), "tracking"),
            "role": identity.get("role_arn") if identity else None,
            "database": data.database if data.made else None,
            "security_group": chosen.security_group,
        },
        opts,
    )
    kubernetes_stack.serve(
        settings,
        namespace,
        kubernetes_stack.Needs(
            database=data.database,
            artifacts=access.artifacts,
            images={key: image.reference for key, image in images.items()},
            access=reach,
            also_in=[place["place"]],
            admin_store={"store": chosen.secret_store} if data.made else None,
            identity=identity,
        ),
        opts,
    )


def _monitoring(
    settings: Settings,
    made: AwsDatabase | None,
    server: AwsTrackingServer,
    door: AwsAuthProxy,
    opts: pulumi.ResourceOptions,
) -> None:
    wanted, database = settings.monitoring, settings.database
    engine = database.engine.value
    args: Any = {
        "region": _aws(settings).region,
        "balancer": door.balancer,
        "targets": door.target_group,
        "door_service": door.service_name,
        "cluster_name": server.cluster_name,
        "server_service": server.service_name,
        "database": made.identifier if made else None,
        "engine": f"aurora-{engine}" if database.aurora else engine,
        "instance_class": database.instance_class,
        "max_connections": database.max_connections,
        "storage_gb": database.storage_gb,
        "replicas": settings.tracking.replicas,
        "emails": wanted.emails if wanted else [],
        "budget_usd": wanted.budget_usd if wanted else None,
    }
    if database.read_replica:
        args["replica"] = naming.physical_name(
            default_deployment(), "database", "replica", limit=naming.DOCKER_NAME_LIMIT
        )
    AwsMonitoring("monitoring", args, opts)


def _backup(
    settings: Settings,
    wanted: Aws,
    role: AwsBackupRole,
    data: _Data,
    opts: pulumi.ResourceOptions,
) -> None:
    chosen = settings.backup
    resources: list[pulumi.Input[str]] = [
        *([data.made.arn] if data.made else []),
        *([data.bucket.bucket_arn] if data.bucket else []),
    ]
    args: Any = {
        "region": wanted.region,
        "role": role.arn,
        "resources": resources,
        "test_types": choices.tested(settings),
    }
    if chosen:
        args |= {
            "keep_days": chosen.keep_days,
            "copy_region": chosen.copy_region,
            "immutable_after_days": chosen.immutable_after_days,
        }
    AwsBackup("backup", args, opts)
