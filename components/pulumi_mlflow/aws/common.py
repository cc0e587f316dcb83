"""What the components of this runtime share: names within AWS's limits, tags, rules of security groups."""

from typing import Optional

import pulumi
import pulumi_aws as aws

from ..component import MlflowComponent
from ..core import naming

LOG_DAYS = 30
"""How long logs are kept: what an incident of last month needs."""


class AwsComponent(MlflowComponent):
    """A component of this runtime. AWS's resources take the region of the stack's provider."""

    def _short(self, *parts: str, limit: int = naming.DOCKER_NAME_LIMIT) -> str:
        """Physical name within a limit of AWS's, in characters."""
        return naming.physical_name(self._deployment, self._role, *parts, limit=limit)

    def _whole(self) -> str:
        """The deployment's name for what there is one of: a cluster of ECS, a dashboard. They take no `.`."""
        return naming.accepted_name(self._deployment, r"[A-Za-z0-9_-]+")

    def _tags(self, *parts: str) -> dict[str, str]:
        """Tags of a child; `Name` is what AWS's console shows."""
        return {**self._labels(), "Name": self._short(*parts)}

    def _key(
        self,
        role: str,
        description: str,
        region: Optional[str] = None,
        *,
        outlives: bool = False,
    ) -> aws.kms.Key:
        """A key of our own for data: protected, since what it encrypts is lost with it.

        AWS's default policy leaves it to the account's IAM who may use it.

        Args:
            role: its logical name's end.
            description: what it is for.
            region: another one than the provider's.
            outlives: whether copies that it encrypts stay when all else is deleted: then AWS keeps the key too, to be
                deleted by hand once they are gone.
        """
        return aws.kms.Key(
            self._child(role),
            description=description,
            enable_key_rotation=True,
            # The longest that AWS offers: a deletion by mistake is noticed by alarms long before.
            deletion_window_in_days=30,
            region=region,
            tags=self._tags(role),
            opts=self._opts(protect=True, retain_on_delete=outlives),
        )

    def _log_group(
        self, role: str, name: str, opts: Optional[pulumi.ResourceOptions] = None
    ) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            self._child(role),
            name=name,
            retention_in_days=LOG_DAYS,
            tags=self._tags(role),
            opts=opts or self._opts(),
        )

    def _security_group(
        self, role: str, vpc_id: pulumi.Input[str], description: str
    ) -> aws.ec2.SecurityGroup:
        """A group without rules: nothing comes in or goes out until a rule of its own says so.

        AWS's groups let all out by themselves; Terraform's provider, which Pulumi's is, takes that away.
        """
        return aws.ec2.SecurityGroup(
            self._child(f"{role}-group"),
            name=self._short(role),
            description=description,
            vpc_id=vpc_id,
            # A change of name or description replaces it, and rules of others refer to it.
            revoke_rules_on_delete=True,
            tags=self._tags(role),
            opts=self._opts(),
        )

    def _let(
        self,
        role: str,
        source: pulumi.Input[str],
        target: pulumi.Input[str],
        port: pulumi.Input[int],
        why: str,
    ) -> list[pulumi.Resource]:
        """Let one security group reach a TCP port of another: out of the one, into the other."""
        out = aws.vpc.SecurityGroupEgressRule(
            self._child(f"{role}-out"),
            security_group_id=source,
            referenced_security_group_id=target,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=why,
            tags=self._tags(f"{role}-out"),
            opts=self._opts(),
        )
        into = aws.vpc.SecurityGroupIngressRule(
            self._child(f"{role}-in"),
            security_group_id=target,
            referenced_security_group_id=source,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=why,
            tags=self._tags(f"{role}-in"),
            opts=self._opts(),
        )
        return [out, into]

    def _let_out(
        self,
        role: str,
        source: pulumi.Input[str],
        port: pulumi.Input[int],
        why: str,
        *,
        cidr: Optional[pulumi.Input[str]] = None,
        prefix_list: Optional[pulumi.Input[str]] = None,
    ) -> pulumi.Resource:
        """Let a security group reach a TCP port of addresses, or of a service of AWS by its prefix list."""
        return aws.vpc.SecurityGroupEgressRule(
            self._child(role),
            security_group_id=source,
            cidr_ipv4=cidr,
            prefix_list_id=prefix_list,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=why,
            tags=self._tags(role),
            opts=self._opts(),
        )
