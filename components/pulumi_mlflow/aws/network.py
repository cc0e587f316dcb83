"""The VPC: private subnets over availability zones, and endpoints to AWS's services in the place of the Internet."""

from collections.abc import Sequence
from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..contracts import Scope
from ..core import aws_network, iam
from .common import AwsComponent

INTERFACES = ("ecr.api", "ecr.dkr", "logs", "secretsmanager")
"""Services that tasks use while they start and run; S3 has a gateway, which costs nothing."""

NAT = ("none", "single", "per-zone")

HTTPS = 443


def place(deployment: str) -> str:
    """The VPC of a deployment, made or adopted, in the form of `Scope.place`.

    Args:
        deployment: project and stack.
    """
    return Scope.VPC.place(deployment)


class AwsNetworkPlace(TypedDict):
    """What the other components need to know of a VPC."""

    place: str
    """Its name in the `reach` of endpoints."""
    region: str
    """Region that it is in."""
    vpc_id: pulumi.Input[str]
    """Its id."""
    cidr: pulumi.Input[str]
    """Its block of addresses."""
    private_subnets: list[pulumi.Input[str]]
    """Ids, one a zone: databases and tasks."""
    public_subnets: list[pulumi.Input[str]]
    """Ids, one a zone: a load balancer that the Internet reaches; empty where it has none."""
    endpoints: NotRequired[pulumi.Input[str]]
    """Security group of the endpoints to AWS's services; absent where tasks go by NAT."""
    s3_endpoint: NotRequired[pulumi.Input[str]]
    """Id of the gateway to S3; absent where there is none."""
    s3_prefixes: NotRequired[pulumi.Input[str]]
    """Id of the prefix list of S3's addresses in this region; with `s3_endpoint`."""
    internet: bool
    """Whether private subnets reach the Internet."""


class AwsExistingNetworkArgs(TypedDict):
    """A VPC that others made. Nothing of it is changed."""

    vpc_id: pulumi.Input[str]
    """Its id."""
    cidr: pulumi.Input[str]
    """Its block of addresses."""
    private_subnets: list[pulumi.Input[str]]
    """Ids of two subnets at least, in different zones."""
    public_subnets: NotRequired[list[pulumi.Input[str]]]
    """Ids of two subnets at least, in different zones; none where the front door is internal."""
    endpoints: NotRequired[pulumi.Input[str]]
    """Security group of its interface endpoints (ecr.api, ecr.dkr, logs, secretsmanager); a way by NAT unless given."""
    s3_endpoint: NotRequired[pulumi.Input[str]]
    """Id of its gateway endpoint for S3; a way by NAT unless given."""
    s3_prefixes: NotRequired[pulumi.Input[str]]
    """Id of the prefix list of S3's addresses; with `s3_endpoint`."""
    internet: NotRequired[bool]
    """Whether its private subnets reach the Internet; no unless given."""


class AwsNetworkArgs(TypedDict):
    """Arguments of AwsNetwork."""

    region: str
    """Region that the stack's provider is for."""
    cidr: NotRequired[str]
    """Block of addresses, /16 to /24; 10.42.0.0/16 unless given. Another one is refused, since VPC and subnets are
    protected."""
    zones: NotRequired[list[str]]
    """2 or 3 availability zones; unless given AWS is asked for those of the account, and the first two by name are
    taken. A third one may be added later; fewer or others are refused, since subnets are protected."""
    nat: NotRequired[str]
    """`none`, `single` (one gateway) or `per-zone`; `none` unless given. Needed for an identity provider outside."""
    flow_logs: NotRequired[bool]
    """Whether connections are logged; yes unless given."""
    foreign_buckets: NotRequired[list[str]]
    """Buckets of other accounts that tasks may use; S3's endpoint lets through those of this account only."""
    existing: NotRequired[Optional[AwsExistingNetworkArgs]]
    """A VPC to use instead of making one."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsNetwork(AwsComponent):
    """A VPC whose tasks reach S3, ECR, CloudWatch Logs and Secrets Manager without the Internet.

    VPC and subnets are protected: where their addresses change, AWS makes others, into which no database can move.

    Raises:
        ValueError: zones, addresses or a kind of NAT that cannot be, or an adopted VPC whose tasks could not start.
            Without `zones` also where the account has no two.
    """

    _role = "network"

    network: AwsNetworkPlace
    """For the other components."""

    def __init__(
        self, name: str, args: AwsNetworkArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        region, existing = args["region"], args.get("existing")
        zones, nat = args.get("zones") or [], args.get("nat", "none")
        blocks = _check(name, args, zones, nat)
        super().__init__(name, args.get("deployment"), opts)
        if existing:
            self.network = self._adopt(region, existing)
        else:
            self.network = self._make(args, zones or self._ask(region), nat, blocks)
        self.register_outputs({"network": self.network})

    def _adopt(self, region: str, existing: AwsExistingNetworkArgs) -> AwsNetworkPlace:
        found = AwsNetworkPlace(
            place=place(self._deployment),
            region=region,
            vpc_id=existing["vpc_id"],
            cidr=existing["cidr"],
            private_subnets=existing["private_subnets"],
            public_subnets=existing.get("public_subnets", []),
            internet=existing.get("internet", False),
        )
        for key in ("endpoints", "s3_endpoint", "s3_prefixes"):
            if key in existing:
                found[key] = existing[key]
        return found

    def _ask(self, region: str) -> list[str]:
        """Zones of the account: not every region has an `a` and a `b`, and not every account has all of a region's."""
        found = aws.get_availability_zones(
            filters=[
                {"name": name, "values": values}
                for name, values in aws_network.ZONE_FILTERS.items()
            ],
            exclude_zone_ids=aws_network.POOR_ZONES,
            opts=pulumi.InvokeOptions(parent=self),
        )
        return aws_network.zones(found.names, region)

    def _make(
        self, args: AwsNetworkArgs, zones: list[str], nat: str, blocks: aws_network.Subnets
    ) -> AwsNetworkPlace:
        region = args["region"]
        vpc = aws.ec2.Vpc(
            self._child("vpc"),
            cidr_block=args.get("cidr", "10.42.0.0/16"),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("vpc"),
            opts=self._opts(protect=True),
        )
        # Of things that name no group: nothing in, nothing out.
        aws.ec2.DefaultSecurityGroup(
            self._child("default"),
            vpc_id=vpc.id,
            ingress=[],
            egress=[],
            tags=self._tags("default"),
            opts=self._opts(),
        )
        public = self._subnets("public", vpc, zones, blocks.public)
        private = self._subnets("private", vpc, zones, blocks.private)
        tables = self._routes(vpc, public, private, zones, nat)
        s3 = aws.ec2.VpcEndpoint(
            self._child("s3"),
            vpc_id=vpc.id,
            service_name=aws_network.endpoint_service("s3", region),
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            policy=vpc.arn.apply(
                lambda arn: iam.endpoint_policy(
                    region, iam.account_of(arn), args.get("foreign_buckets", [])
                )
            ),
            tags=self._tags("s3"),
            opts=self._opts(),
        )
        group = self._security_group("endpoints", vpc.id, "Endpoints to services of AWS")
        aws.vpc.SecurityGroupIngressRule(
            self._child("endpoints-in"),
            security_group_id=group.id,
            cidr_ipv4=vpc.cidr_block,
            ip_protocol="tcp",
            from_port=HTTPS,
            to_port=HTTPS,
            description="Tasks of this VPC",
            tags=self._tags("endpoints-in"),
            opts=self._opts(),
        )
        interfaces = [
            aws.ec2.VpcEndpoint(
                self._child(service.replace(".", "-")),
                vpc_id=vpc.id,
                service_name=aws_network.endpoint_service(service, region),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in private],
                security_group_ids=[group.id],
                tags=self._tags(service),
                opts=self._opts(),
            )
            for service in INTERFACES
        ]
        if args.get("flow_logs", True):
            self._flow_logs(vpc)
        # A task that starts before the endpoints answer fails to pull its image: the group is known after them.
        ready: pulumi.Output[str] = pulumi.Output.all(
            group.id, *(item.id for item in interfaces)
        ).apply(lambda ids: str(ids[0]))
        return AwsNetworkPlace(
            place=place(self._deployment),
            region=region,
            vpc_id=vpc.id,
            cidr=vpc.cidr_block,
            private_subnets=[subnet.id for subnet in private],
            public_subnets=[subnet.id for subnet in public],
            endpoints=ready,
            s3_endpoint=s3.id,
            s3_prefixes=s3.prefix_list_id,
            internet=nat != "none",
        )

    def _subnets(
        self, kind: str, vpc: aws.ec2.Vpc, zones: list[str], blocks: Sequence[str]
    ) -> list[aws.ec2.Subnet]:
        return [
            aws.ec2.Subnet(
                self._child(f"{kind}-{zone}"),
                vpc_id=vpc.id,
                availability_zone=zone,
                cidr_block=block,
                # Nothing gets a public address by itself, in a public subnet neither.
                map_public_ip_on_launch=False,
                tags=self._tags(kind, zone),
                opts=self._opts(protect=True),
            )
            for zone, block in zip(zones, blocks, strict=True)
        ]

    def _routes(
        self,
        vpc: aws.ec2.Vpc,
        public: list[aws.ec2.Subnet],
        private: list[aws.ec2.Subnet],
        zones: list[str],
        nat: str,
    ) -> list[aws.ec2.RouteTable]:
        """Route tables of the private subnets, one a zone, after those of the public ones."""
        gateway = aws.ec2.InternetGateway(
            self._child("internet"), vpc_id=vpc.id, tags=self._tags("internet"), opts=self._opts()
        )
        table = self._table("public", vpc)
        self._default_route("public", table, gateway_id=gateway.id)
        for zone, subnet in zip(zones, public, strict=True):
            self._associate(f"public-{zone}", table, subnet)
        gateways = {
            zone: self._nat(zone, subnet, gateway)
            for zone, subnet in list(zip(zones, public, strict=True))[
                : {"none": 0, "single": 1, "per-zone": len(zones)}[nat]
            ]
        }
        tables = []
        for zone, subnet in zip(zones, private, strict=True):
            own = self._table(f"private-{zone}", vpc)
            if gateways:
                way = gateways.get(zone) or next(iter(gateways.values()))
                self._default_route(f"private-{zone}", own, nat_gateway_id=way.id)
            self._associate(f"private-{zone}", own, subnet)
            tables.append(own)
        return tables

    def _table(self, role: str, vpc: aws.ec2.Vpc) -> aws.ec2.RouteTable:
        return aws.ec2.RouteTable(
            self._child(f"{role}-routes"),
            vpc_id=vpc.id,
            tags=self._tags(role),
            opts=self._opts(),
        )

    def _default_route(
        self,
        role: str,
        table: aws.ec2.RouteTable,
        gateway_id: Optional[pulumi.Input[str]] = None,
        nat_gateway_id: Optional[pulumi.Input[str]] = None,
    ) -> None:
        aws.ec2.Route(
            self._child(f"{role}-default"),
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=self._opts(),
        )

    def _associate(self, role: str, table: aws.ec2.RouteTable, subnet: aws.ec2.Subnet) -> None:
        aws.ec2.RouteTableAssociation(
            self._child(f"{role}-association"),
            route_table_id=table.id,
            subnet_id=subnet.id,
            opts=self._opts(),
        )

    def _nat(
        self, zone: str, subnet: aws.ec2.Subnet, gateway: aws.ec2.InternetGateway
    ) -> aws.ec2.NatGateway:
        address = aws.ec2.Eip(
            self._child(f"nat-{zone}-address"),
            domain="vpc",
            tags=self._tags("nat", zone),
            opts=self._opts(),
        )
        return aws.ec2.NatGateway(
            self._child(f"nat-{zone}"),
            subnet_id=subnet.id,
            allocation_id=address.id,
            tags=self._tags("nat", zone),
            opts=self._opts(depends_on=[gateway]),
        )

    def _flow_logs(self, vpc: aws.ec2.Vpc) -> None:
        group = self._log_group("flow-logs", f"/pulumi-mlflow/{self._deployment}/flow-logs")
        role = aws.iam.Role(
            self._child("flow-logs-role"),
            name=self._short("flow-logs"),
            assume_role_policy=group.arn.apply(
                lambda arn: iam.trust(
                    "vpc-flow-logs.amazonaws.com", iam.own_account(iam.account_of(arn))
                )
            ),
            tags=self._tags("flow-logs"),
            opts=self._opts(),
        )
        policy = aws.iam.RolePolicy(
            self._child("flow-logs-policy"),
            name="write",
            role=role.id,
            policy=group.arn.apply(iam.flow_logs),
            opts=self._opts(),
        )
        aws.ec2.FlowLog(
            self._child("flow-log"),
            vpc_id=vpc.id,
            traffic_type="ALL",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags=self._tags("flow-logs"),
            opts=self._opts(depends_on=[policy]),
        )


def _check(name: str, args: AwsNetworkArgs, zones: list[str], nat: str) -> aws_network.Subnets:
    """Refuse a network that could not be, or in which no task could start."""
    if nat not in NAT:
        raise ValueError(f"{name}: nat: must be one of {', '.join(NAT)} (got {nat!r})")
    foreign = [zone for zone in zones if not zone.startswith(args["region"])]
    if foreign or len(set(zones)) != len(zones):
        raise ValueError(
            f"{name}: zones: must be different ones of {args['region']} (got {', '.join(zones)})"
        )
    existing = args.get("existing")
    if existing:
        for key in ("private_subnets", "public_subnets"):
            found = existing.get(key, [])
            if len(found) < aws_network.ZONES.start and (found or key == "private_subnets"):  # type: ignore[arg-type]
                raise ValueError(
                    f"{name}: existing.{key}: must be 2 subnets at least, in different zones (got {len(found)})"  # type: ignore[arg-type]
                )
        if not existing.get("internet", False) and (
            "endpoints" not in existing or "s3_endpoint" not in existing
        ):
            raise ValueError(
                f"{name}: existing: tasks could not pull their image; give endpoints and s3_endpoint, or "
                "internet: true where the private subnets have a NAT gateway"
            )
        if ("s3_endpoint" in existing) != ("s3_prefixes" in existing):
            raise ValueError(
                f"{name}: existing: s3_endpoint and s3_prefixes must be given together"
            )
    try:
        return aws_network.subnets(
            args.get("cidr", "10.42.0.0/16"), len(zones) or aws_network.ZONES.start
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
