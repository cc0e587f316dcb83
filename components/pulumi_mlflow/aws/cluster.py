"""What an account gives the servers of a cluster that is there: a role for the bucket, a way to the database."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..contracts import ArtifactEndpoint, DatabaseEndpoint
from ..core import iam
from .common import AwsComponent


class AwsClusterAccessArgs(TypedDict):
    """Arguments of AwsClusterAccess."""

    region: str
    """Region of the stack."""
    artifacts: ArtifactEndpoint
    """The bucket; with keys of its own it needs no role."""
    cluster: NotRequired[Optional[pulumi.Input[str]]]
    """Name of the EKS cluster, whose Pod Identity gives pods the role that is made; with `namespace`."""
    namespace: NotRequired[pulumi.Input[str]]
    """Namespace of the servers."""
    service_account: NotRequired[pulumi.Input[str]]
    """Name of their service account."""
    role: NotRequired[Optional[pulumi.Input[str]]]
    """ARN of a role of others that the service account takes on (IRSA), instead of one that is made."""
    database: NotRequired[Optional[DatabaseEndpoint]]
    """A database of RDS that is to be reached; none unless given."""
    security_group: NotRequired[Optional[pulumi.Input[str]]]
    """Security group of the cluster's nodes or pods, with `database`."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsClusterAccess(AwsComponent):
    """A role that reads and writes the stack's artifacts and does nothing else, and a rule that lets the cluster in.

    Raises:
        ValueError: a bucket without keys and nobody to have its role, or a database and nobody to let in.
    """

    _role = "cluster"

    artifacts: ArtifactEndpoint
    """The bucket, known once servers are let to it and to the database."""

    def __init__(
        self, name: str, args: AwsClusterAccessArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        database, role = args.get("database"), args.get("role")
        cluster, own = args.get("cluster"), "access_key" not in args["artifacts"]
        if own and bool(role) == bool(cluster):
            raise ValueError(
                f"{name}: cluster, role: {args['artifacts']['component']} has no keys: give the cluster's name, for "
                "Pod Identity, or the role that the pods take on, and not both"
            )
        if database and not (args.get("security_group") and "security_group" in database):
            raise ValueError(
                f"{name}: security_group: must be given for {database['component']}, which lets nobody else in"
            )
        super().__init__(name, args.get("deployment"), opts)
        self._granted: list[pulumi.CustomResource] = []
        if own and cluster:
            self._pod_identity(args, cluster)
        elif own and role:
            # A role's ARN ends in its name, which may come after a path.
            named = pulumi.Output.from_input(role).apply(lambda arn: arn.rsplit("/", 1)[-1])
            self._policy(args, named)
        if database:
            self._let_in(args, database)
        known = [args["artifacts"]["uri"], *(item.id for item in self._granted)]
        self.artifacts = ArtifactEndpoint(
            **{
                **args["artifacts"],
                "uri": pulumi.Output.all(*known).apply(lambda all_: str(all_[0])),
            }
        )
        self.register_outputs({"artifacts": self.artifacts})

    def _pod_identity(self, args: AwsClusterAccessArgs, cluster: pulumi.Input[str]) -> None:
        role = aws.iam.Role(
            self._child("role"),
            name=self._short("server"),
            assume_role_policy=iam.pod_trust(),
            tags=self._tags("server"),
            opts=self._opts(),
        )
        self._policy(args, role.id)
        self._granted.append(
            aws.eks.PodIdentityAssociation(
                self._child("identity"),
                cluster_name=cluster,
                namespace=args["namespace"],
                service_account=args["service_account"],
                role_arn=role.arn,
                tags=self._tags("identity"),
                opts=self._opts(),
            )
        )

    def _policy(self, args: AwsClusterAccessArgs, role: pulumi.Input[str]) -> None:
        artifacts = args["artifacts"]
        self._granted.append(
            aws.iam.RolePolicy(
                self._child("artifacts"),
                name=self._short("artifacts"),
                role=role,
                policy=pulumi.Output.all(
                    artifacts["uri"],
                    artifacts.get("region", args["region"]),
                    artifacts.get("kms_key", ""),
                ).apply(lambda known: iam.store_access(*known)),
                opts=self._opts(),
            )
        )

    def _let_in(self, args: AwsClusterAccessArgs, database: DatabaseEndpoint) -> None:
        self._granted.append(
            aws.vpc.SecurityGroupIngressRule(
                self._child("database-in"),
                security_group_id=database["security_group"],
                referenced_security_group_id=args["security_group"],
                ip_protocol="tcp",
                from_port=database["port"],
                to_port=database["port"],
                description="Servers in the cluster",
                tags=self._tags("database-in"),
                opts=self._opts(),
            )
        )
