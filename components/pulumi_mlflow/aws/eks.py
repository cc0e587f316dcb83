"""EKS: a small cluster of our own, for those who have none.

Nobody reaches its API but its nodes and the addresses that are named, nobody administers it but the roles that are
named, whoever made it included; pods have roles of their own, and never the node's.
"""

from collections.abc import Sequence
from typing import NamedTuple, NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..core import aws_network, eks, iam
from .common import AwsComponent
from .network import HTTPS, AwsNetworkPlace

_LOG_TYPES = ["audit", "authenticator"]
"""Who did what, and who was refused."""

_AMI = "AL2023_x86_64_STANDARD"
"""Amazon Linux 2023: containerd, cgroups v2, and SSM's agent."""

_ROOT_DEVICE = "/dev/xvda"
"""Of that image."""


class AwsEksNodesArgs(TypedDict):
    """Machines of the cluster: one managed node group."""

    instance_type: NotRequired[str]
    """Type of EC2, of x86; `m6i.large` unless given. Another one rolls the nodes."""
    min: NotRequired[int]
    """Nodes at least; 2 unless given. EKS refuses more than are desired at that time: see docs/aws.md."""
    max: NotRequired[int]
    """Nodes at most; 4 unless given."""
    desired: NotRequired[int]
    """Nodes that it begins with; `min` unless given. Later an autoscaler's, and so never changed by `up`."""
    disk_gb: NotRequired[int]
    """Disk of each for images and servers' scratch, in GiB; 100 unless given. Another size rolls the nodes."""
    release: NotRequired[str]
    """Release of the nodes' image, such as `1.33.4-20250904`; the newest at each change of version unless given."""


class AwsEksClusterArgs(TypedDict):
    """Arguments of AwsEksCluster."""

    network: AwsNetworkPlace
    """The VPC that it is in."""
    version: str
    """Minor version of Kubernetes, such as `1.33`, of those that EKS has. It can only be raised, by one at a time."""
    admins: dict[str, pulumi.Input[str]]
    """Who administers it: a name of yours → ARN of a role. One is whom `up` of the servers runs as."""
    public: NotRequired[bool]
    """Whether its API has a public endpoint too; no unless given. With public addresses in `allowed_cidrs`."""
    allowed_cidrs: NotRequired[list[str]]
    """Blocks that reach the API: private ones (the VPC's, a VPN's), public ones with `public`; none unless given."""
    nodes: NotRequired[AwsEksNodesArgs]
    """Its machines."""
    log_types: NotRequired[list[str]]
    """Logs of the control plane: `audit` and `authenticator` unless given."""
    addon_versions: NotRequired[dict[str, str]]
    """Add-on → version; where it is not named, EKS's default of the day that it was made. Name them to upgrade."""
    endpoints: NotRequired[bool]
    """Whether endpoints are made to the services that nodes use; where private subnets do not reach the Internet unless
    given. `false` where an adopted VPC has them."""
    extended_support: NotRequired[bool]
    """Whether EKS keeps a version past its standard support, for six times the price; no unless given: EKS then raises
    it by itself at the end."""
    deletion_protection: NotRequired[bool]
    """Whether EKS itself refuses to delete it; yes unless given. Off only to take it away for good."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class _Wanted(NamedTuple):
    """Arguments, once they are known to be possible."""

    version: str
    sources: eks.Sources
    instance_type: str
    smallest: int
    desired: int
    largest: int
    disk_gb: int
    log_types: Sequence[str]
    versions: dict[str, str]
    endpoints: Optional[pulumi.Input[str]]


class AwsEksCluster(AwsComponent):
    """A cluster with encrypted secrets, a private API, nodes in private subnets, network policies and pod identities.

    Cluster and key are protected. Version, endpoint, logs, and number, type, disks and image of nodes change in place.

    Raises:
        ValueError: a version, block of addresses, type of EC2, number or name that EKS does not take; a public endpoint
            for all the world; no administrator; a VPC whose nodes could not join.
    """

    _role = "eks"

    cluster: pulumi.Output[str]
    """Its name, for `AwsClusterAccess` and `kubernetes.cluster`."""
    kubeconfig: pulumi.Output[str]
    """Secret; for whoever has the AWS login of an administrator. Known once nodes and add-ons run and the
    administrators are let in."""
    security_group: pulumi.Output[str]
    """Of nodes and pods, for `AwsClusterAccess` and `kubernetes.security_group`."""
    place: str
    """Name of its VPC in the `reach` of endpoints."""

    def __init__(
        self, name: str, args: AwsEksClusterArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        wanted = _check(name, args)
        super().__init__(name, args.get("deployment"), opts)
        network = args["network"]
        made = self._cluster(args, wanted)
        admitted = [
            item
            for who, arn in args["admins"].items()
            for item in self._admin(who, arn, made, network["region"])
        ]
        before: list[pulumi.Resource] = []
        for addon in eks.ADDONS_BEFORE_NODES:
            # The network's add-on takes its role on by the agent, which is the one before it.
            before.append(self._addon(addon, made, wanted, network["region"], list(before)))
        nodes = self._nodes(args, wanted, made, before)
        after = [
            self._addon(addon, made, wanted, network["region"], [nodes])
            for addon in eks.ADDONS_AFTER_NODES
        ]
        self.cluster = made.name
        self.security_group = made.vpc_config.apply(
            lambda found: str(found.cluster_security_group_id)
        )
        # What logs in by it comes after all that a pod needs.
        ready = pulumi.Output.all(*(item.id for item in [*admitted, nodes, *after]))
        self.kubeconfig = pulumi.Output.secret(
            pulumi.Output.all(
                made.name, made.endpoint, made.certificate_authority.data, ready
            ).apply(lambda known: eks.kubeconfig(known[0], network["region"], known[1], known[2]))
        )
        self.place = network["place"]
        self.register_outputs(
            {
                "cluster": self.cluster,
                "kubeconfig": self.kubeconfig,
                "security_group": self.security_group,
                "place": self.place,
            }
        )

    def _cluster(self, args: AwsEksClusterArgs, wanted: _Wanted) -> aws.eks.Cluster:
        network = args["network"]
        region = network["region"]
        # EKS's own name of a log group holds the cluster's.
        cluster_name = self._short()
        key = self._key("key", f"Secrets of the cluster of {self._deployment}")
        logs = self._log_group("logs", f"/aws/eks/{cluster_name}/cluster")
        trust = key.arn.apply(
            lambda arn: iam.cluster_trust(region, iam.account_of(arn), cluster_name)
        )
        role, allowed = self._trusted("cluster", trust, ["AmazonEKSClusterPolicy"], region)
        group = self._security_group("api", network["vpc_id"], "API of the cluster")
        for cidr in wanted.sources.private:
            role_name = f"api-in-{cidr.replace('/', '-')}"
            aws.vpc.SecurityGroupIngressRule(
                self._child(role_name),
                security_group_id=group.id,
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                description="Administrators",
                tags=self._tags(role_name),
                opts=self._opts(),
            )
        reach: aws.eks.ClusterVpcConfigArgsDict = {
            "subnet_ids": network["private_subnets"],
            "security_group_ids": [group.id],
            # Nodes come by it too.
            "endpoint_private_access": True,
            "endpoint_public_access": bool(wanted.sources.public),
        }
        if wanted.sources.public:
            reach["public_access_cidrs"] = list(wanted.sources.public)
        return aws.eks.Cluster(
            self._child("cluster"),
            # Another name, role or flag of access_config's bootstrap would replace it, which its protection refuses.
            name=cluster_name,
            version=wanted.version,
            role_arn=role.arn,
            vpc_config=reach,
            access_config={
                # No ConfigMap: whoever may write it would be an administrator.
                "authentication_mode": "API",
                # Whoever ran `up` first would stay one for ever, and be in no list.
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            # Add-ons are ours below: those that it would begin with are no one's to upgrade.
            bootstrap_self_managed_addons=False,
            # Not to be undone: without it, or with another key, it would be another cluster.
            encryption_config={"provider": {"key_arn": key.arn}, "resources": ["secrets"]},
            enabled_cluster_log_types=wanted.log_types,
            upgrade_policy={
                "support_type": "EXTENDED" if args.get("extended_support", False) else "STANDARD"
            },
            deletion_protection=args.get("deletion_protection", True),
            tags=self._tags("cluster"),
            # EKS would make the log group by itself, kept for ever. Without its policy the role could not take away
            # what EKS made.
            opts=self._opts(protect=True, depends_on=[logs, *allowed]),
        )

    def _trusted(
        self, role: str, trust: pulumi.Input[str], policies: Sequence[str], region: str
    ) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """A role with policies that AWS keeps, and what gives it those."""
        made = aws.iam.Role(
            self._child(f"{role}-role"),
            name=self._short(role),
            assume_role_policy=trust,
            tags=self._tags(role),
            opts=self._opts(),
        )
        allowed: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                self._child(f"{role}-{policy.rsplit('/', 1)[-1]}"),
                role=made.name,
                policy_arn=iam.managed_policy(policy, region),
                opts=self._opts(),
            )
            for policy in policies
        ]
        return made, allowed

    def _admin(
        self, who: str, arn: pulumi.Input[str], made: aws.eks.Cluster, region: str
    ) -> list[pulumi.CustomResource]:
        entry = aws.eks.AccessEntry(
            self._child(f"admin-{who}"),
            cluster_name=made.name,
            principal_arn=arn,
            tags=self._tags("admin", who),
            opts=self._opts(),
        )
        allowed = aws.eks.AccessPolicyAssociation(
            self._child(f"admin-{who}-policy"),
            cluster_name=made.name,
            principal_arn=entry.principal_arn,
            policy_arn=f"arn:{iam.partition(region)}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
            access_scope={"type": "cluster"},
            opts=self._opts(),
        )
        return [entry, allowed]

    def _addon(
        self,
        addon: str,
        made: aws.eks.Cluster,
        wanted: _Wanted,
        region: str,
        after: list[pulumi.Resource],
    ) -> aws.eks.Addon:
        identities: list[aws.eks.AddonPodIdentityAssociationArgsDict] = []
        allowed: list[pulumi.Resource] = []
        if addon in _IDENTITIES:
            account, policy = _IDENTITIES[addon]
            role, allowed = self._trusted(addon, iam.pod_trust(), [policy], region)
            identities.append({"role_arn": role.arn, "service_account": account})
        return aws.eks.Addon(
            self._child(addon),
            cluster_name=made.name,
            addon_name=addon,
            addon_version=wanted.versions.get(addon),
            configuration_values=eks.configuration(addon),
            pod_identity_associations=identities or None,
            # What somebody changed by hand in them is taken back: settings are here.
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            tags=self._tags(addon),
            opts=self._opts(depends_on=[*after, *allowed]),
        )

    def _nodes(
        self,
        args: AwsEksClusterArgs,
        wanted: _Wanted,
        made: aws.eks.Cluster,
        after: list[pulumi.Resource],
    ) -> aws.eks.NodeGroup:
        network = args["network"]
        role, allowed = self._trusted(
            "nodes",
            # EC2 alone has a name of its own in China.
            iam.trust(f"ec2.{iam.domain(network['region'])}"),
            # To join, to pull images, and a shell by Session Manager: there is no SSH, no key, and no port for it. The
            # network's rights are its add-on's role's.
            [
                "AmazonEKSWorkerNodePolicy",
                "AmazonEC2ContainerRegistryPullOnly",
                "AmazonSSMManagedInstanceCore",
            ],
            network["region"],
        )
        template = self._template(wanted)
        return aws.eks.NodeGroup(
            self._child("nodes"),
            cluster_name=made.name,
            # By prefix: other subnets are another group, which is there before the old one goes.
            node_group_name_prefix=f"{self._short(limit=eks.NAME_PREFIX_LIMIT - 1)}-",
            node_role_arn=role.arn,
            subnet_ids=network["private_subnets"],
            ami_type=_AMI,
            # It follows the cluster's, which is raised first.
            version=wanted.version,
            release_version=args.get("nodes", AwsEksNodesArgs()).get("release"),
            launch_template={
                "id": template.id,
                "version": template.latest_version.apply(str),
            },
            scaling_config={
                "min_size": wanted.smallest,
                "max_size": wanted.largest,
                "desired_size": wanted.desired,
            },
            # One at a time, and never against a disruption budget.
            update_config={"max_unavailable": 1},
            force_update_version=False,
            tags=self._tags("nodes"),
            opts=self._opts(
                depends_on=[*after, *allowed, *self._endpoints(network, wanted)],
                # An autoscaler's: each `up` would take nodes away that pods are on.
                ignore_changes=["scalingConfig.desiredSize"],
            ),
        )

    def _template(self, wanted: _Wanted) -> aws.ec2.LaunchTemplate:
        return aws.ec2.LaunchTemplate(
            self._child("template"),
            name=self._short("nodes"),
            description=f"Nodes of {self._deployment}",
            # Here and not in the group, which would be another one for another type, and the old one's nodes would not
            # wait for disruption budgets: https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html.
            instance_type=wanted.instance_type,
            block_device_mappings=[
                {
                    "device_name": _ROOT_DEVICE,
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": wanted.disk_gb,
                        # By AWS's own key: it holds images and scratch, no data.
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # Ends at the node: a pod with a network of its own does not get the node's role.
                "http_put_response_hop_limit": 1,
            },
            tag_specifications=[
                {"resource_type": kind, "tags": self._tags("nodes")}
                for kind in ("instance", "volume", "network-interface")
            ],
            tags=self._tags("nodes"),
            opts=self._opts(),
        )

    def _endpoints(self, network: AwsNetworkPlace, wanted: _Wanted) -> list[pulumi.Resource]:
        if wanted.endpoints is None:
            return []
        return [
            aws.ec2.VpcEndpoint(
                self._child(f"{service}-endpoint"),
                vpc_id=network["vpc_id"],
                service_name=aws_network.endpoint_service(service, network["region"]),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=network["private_subnets"],
                security_group_ids=[wanted.endpoints],
                tags=self._tags(service),
                opts=self._opts(),
            )
            for service in eks.ENDPOINTS
        ]


_IDENTITIES = {
    "vpc-cni": ("aws-node", "AmazonEKS_CNI_Policy"),
    "aws-ebs-csi-driver": ("ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy"),
}
"""Add-on → its service account, and AWS's policy for it:
https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html."""


def _check(name: str, args: AwsEksClusterArgs) -> _Wanted:
    """Refuse a cluster that could not be, that nobody could use, or that all the world could."""
    nodes = args.get("nodes", AwsEksNodesArgs())
    network = args["network"]
    smallest = nodes.get("min", 2)
    desired = nodes.get("desired", smallest)
    largest = nodes.get("max", max(4, desired))
    disk_gb = nodes.get("disk_gb", 100)
    try:
        eks.check_nodes(smallest, desired, largest, disk_gb)
        # Of others' outputs nothing is known yet.
        eks.check_admins(
            {who: arn if isinstance(arn, str) else None for who, arn in args["admins"].items()}
        )
        group = network.get("endpoints")
        make = args.get("endpoints", not network["internet"])
        eks.check_endpoints(wanted=make, possible=group is not None)
        versions = args.get("addon_versions", {})
        eks.check_known("addon_versions", versions, eks.ADDONS)
        return _Wanted(
            version=eks.check_version(args["version"]),
            sources=eks.sources(args.get("allowed_cidrs", []), public=args.get("public", False)),
            instance_type=eks.check_instance_type(nodes.get("instance_type", "m6i.large")),
            smallest=smallest,
            desired=desired,
            largest=largest,
            disk_gb=disk_gb,
            log_types=eks.check_known(
                "log_types", args.get("log_types", _LOG_TYPES), eks.LOG_TYPES
            ),
            versions=dict(versions),
            endpoints=group if make else None,
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
