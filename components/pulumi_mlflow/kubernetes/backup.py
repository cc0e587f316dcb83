"""By schedule: a copy of the database outside the cluster, and the end of what users deleted."""

from collections.abc import Mapping
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from .. import endpoints
from ..contracts import ArtifactEndpoint, AuthMode, DatabaseEndpoint, TrackingEndpoint
from ..core import auth, budgets, cron, external_secrets, manifests, naming, server
from ..core.files import FILES_PATH
from ..core.server_image import ENTRYPOINT, PORT, SCRATCH, UID, UPKEEP
from . import workload

GC = "gc"
"""Role of the pods that end what users deleted."""

_NAME_LIMIT = 52
"""Longest name of a CronJob, in characters: its jobs' names are eleven longer."""

_SECONDS = 6 * 3600


class KubernetesBackupArgs(TypedDict):
    """Arguments of KubernetesBackup."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """The server's image, with a tag or digest."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    database: DatabaseEndpoint
    """Where runs are kept; not through a pooler."""
    database_secret: NotRequired[Optional[workload.KubernetesExternalSecretArgs]]
    """Whence the database's password comes, in the place of the endpoint's; that unless given."""
    tracking: TrackingEndpoint
    """The servers, through which artifacts are deleted."""
    admin_password: NotRequired[Optional[pulumi.Input[str]]]
    """`KubernetesTrackingServer.admin_password` (secret), where the servers ask who is there."""
    destination: NotRequired[Optional[ArtifactEndpoint]]
    """Where copies of the database go, each to a folder of its time, outside the cluster; no copies unless given. What
    is old is for the bucket's lifecycle rules to delete."""
    role_arn: NotRequired[Optional[pulumi.Input[str]]]
    """IAM role that writes there (IRSA), where `destination` has no keys."""
    schedule: NotRequired[str]
    """When a copy is made, as five fields of cron in UTC; 03:00 every night unless given."""
    scratch_mb: NotRequired[int]
    """Disk for a copy on its way, in MiB; 10240 unless given."""
    gc_days: NotRequired[Optional[int]]
    """Days after which what users deleted is deleted for good, with its artifacts; never unless given."""
    gc_schedule: NotRequired[str]
    """When that is looked for, as five fields of cron in UTC; 04:00 every Sunday unless given."""
    also_in: NotRequired[list[str]]
    """Further places that the cluster's pods are in, as endpoints name them in `reach`, such as `vpc:…`."""
    egress_cidrs: NotRequired[list[str]]
    """Addresses where databases and stores outside the cluster may be; all unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesBackup(workload.KubernetesComponent):
    """CronJobs: one copies every row of the database, read back and compared; one ends what users deleted.

    The copy is of rows, so it goes into a database of any engine. For PostgreSQL inside the cluster,
    `KubernetesDatabase.archive` goes back to any second, and is the better one.

    Raises:
        UnreachableEndpointError: database or destination cannot be reached from the cluster.
        ValueError: a schedule that is none, no identity for the destination, or no login where the servers want one.
    """

    _role = "backup"

    def __init__(
        self, name: str, args: KubernetesBackupArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        destination, days = args.get("destination"), args.get("gc_days")
        given: list[DatabaseEndpoint | ArtifactEndpoint] = [args["database"]]
        if destination:
            given.append(destination)
        self._require(given, args.get("also_in", []))
        _check(name, args)
        image = workload.checked_image(args["image"])
        if destination:
            self._copies(args, image, destination)
        if days:
            self._end(args, image, days)
        self.register_outputs({})

    def _copies(
        self,
        args: KubernetesBackupArgs,
        image: pulumi.Output[str],
        destination: ArtifactEndpoint,
    ) -> None:
        cidrs = args.get("egress_cidrs", workload.EVERYWHERE)
        contents = _database_files(args)
        if "access_key" in destination:
            contents |= {
                "env/AWS_ACCESS_KEY_ID": destination["access_key"],
                "env/AWS_SECRET_ACCESS_KEY": destination["secret_key"],
            }
        if "ca" in destination:
            contents[endpoints.ARTIFACTS_CA] = destination["ca"]
        ca = f"{FILES_PATH}/{endpoints.ARTIFACTS_CA}" if "ca" in destination else ""
        environment = pulumi.Output.all(
            destination["uri"],
            destination.get("endpoint_url", ""),
            destination.get("region", ""),
            destination.get("addressing", ""),
        ).apply(
            lambda known: {
                **server.s3_environment(known[1], known[2], ca, known[3]),
                "BACKUP_URI": known[0],
                "SCRATCH": SCRATCH,
                "TMPDIR": SCRATCH,
            }
        )
        annotations: dict[str, pulumi.Input[str]] = {}
        if role := args.get("role_arn"):
            annotations["eks.amazonaws.com/role-arn"] = role
        self._schedule(
            args,
            self._role,
            image,
            [*UPKEEP, "backup"],
            args.get("schedule", "0 3 * * *"),
            contents,
            environment,
            [self._to_database(args["database"], cidrs), self._to_store(destination, cidrs)],
            annotations,
        )

    def _end(self, args: KubernetesBackupArgs, image: pulumi.Output[str], days: int) -> None:
        tracking = args["tracking"]
        contents = _database_files(args)
        environment: dict[str, str] = {"SCRATCH": SCRATCH, "TMPDIR": SCRATCH}
        if password := args.get("admin_password"):
            contents["env/MLFLOW_TRACKING_PASSWORD"] = password
            environment["MLFLOW_TRACKING_USERNAME"] = auth.ADMIN
        known = pulumi.Output.from_input(tracking["internal_url"]).apply(
            lambda url: {**environment, "MLFLOW_TRACKING_URI": url}
        )
        self._schedule(
            args,
            GC,
            image,
            [*UPKEEP, "gc", f"{days}d"],
            args.get("gc_schedule", "0 4 * * 0"),
            contents,
            known,
            [
                self._to_database(args["database"], args.get("egress_cidrs", workload.EVERYWHERE)),
                manifests.to_pods(self._pods_of("tracking"), PORT),
            ],
            {},
        )

    def _schedule(
        self,
        args: KubernetesBackupArgs,
        role: str,
        image: pulumi.Output[str],
        command: list[str],
        schedule: str,
        contents: Mapping[str, pulumi.Input[str]],
        environment: pulumi.Output[dict[str, str]],
        egress: list[dict[str, Any]],
        annotations: Mapping[str, pulumi.Input[str]],
    ) -> None:
        namespace, scratch_mb = args["namespace"], args.get("scratch_mb", 10240)
        held = self._files(namespace, contents, f"{role}-files", role, args.get("database_secret"))
        allowed = self._edges(namespace, [], egress, role=role)
        pod = manifests.pod(
            self._account(namespace, role, annotations),
            UID,
            [
                manifests.container(
                    role,
                    image,
                    manifests.resources(
                        budgets.UPKEEP_MB, 0.25, 1, manifests.SPARE_DISK_MB + scratch_mb
                    ),
                    [
                        manifests.files_mount("files"),
                        {"name": "scratch", "mountPath": SCRATCH},
                    ],
                    command=[ENTRYPOINT],
                    args=command,
                    env=environment.apply(
                        lambda known: manifests.variables(
                            {**known, "HOME": manifests.TMP, "MLFLOW_DISABLE_TELEMETRY": "true"}
                        )
                    ),
                )
            ],
            [held.volume(), manifests.disk_volume("scratch", scratch_mb)],
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
            restartPolicy="Never",
        )
        spec: Any = {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            # One that was missed while the cluster was away is made up for within an hour, or left out.
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": self._labels_of(role)},
                "spec": {
                    "backoffLimit": 1,
                    "activeDeadlineSeconds": _SECONDS,
                    "template": {"metadata": {"labels": self._labels_of(role)}, "spec": pod},
                },
            },
        }
        kubernetes.batch.v1.CronJob(
            self._child(role),
            metadata=self._meta(
                naming.physical_name(self._deployment, role, limit=_NAME_LIMIT), namespace, role
            ),
            spec=spec,
            opts=self._opts(depends_on=[allowed]),
        )


def _database_files(args: KubernetesBackupArgs) -> dict[str, pulumi.Input[str]]:
    """The database's URI and certificate: path below `FILES_PATH` → content."""
    database = args["database"]
    if args.get("database_secret"):
        database = DatabaseEndpoint(**{**database, "password": external_secrets.PLACEHOLDER})
    uri: pulumi.Output[str] = pulumi.Output.secret(endpoints.database_uri(database, FILES_PATH))
    found: dict[str, pulumi.Input[str]] = {"env/MLFLOW_BACKEND_STORE_URI": uri}
    if "ca" in database:
        found[endpoints.DATABASE_CA] = database["ca"]
    return found


def _check(name: str, args: KubernetesBackupArgs) -> None:
    destination, days = args.get("destination"), args.get("gc_days")
    for key in ("schedule", "gc_schedule"):
        if key in args and (reason := cron.check(str(args.get(key)))):
            raise ValueError(f"{name}: {key}: {reason}")
    if days is not None and days < 1:
        raise ValueError(f"{name}: gc_days: must be ≥ 1 (got {days})")
    if destination and ("access_key" in destination) == bool(args.get("role_arn")):
        raise ValueError(
            f"{name}: destination: must have keys, or role_arn must be given, and not both"
        )
    demanded = args["tracking"].get("auth_mode", AuthMode.NONE.value)
    if days and demanded != AuthMode.NONE.value and not args.get("admin_password"):
        raise ValueError(
            f"{name}: admin_password: {args['tracking']['component']} has auth {demanded!r}, and deletes nothing for "
            "somebody who is not logged in"
        )
