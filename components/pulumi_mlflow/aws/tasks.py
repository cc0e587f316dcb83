"""What components that run tasks share: files of secrets, roles, task definitions, services."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..core import aws_image, ecs, iam
from ..core.files import FILES_PATH
from .common import AwsComponent
from .events import AwsRollout
from .network import HTTPS, AwsNetworkPlace

ROLLOUT_SECONDS = 1500
"""How long a rollout may take: three failed starts of five minutes, which end in the circuit breaker's rollback."""

_CPU_PERCENT = 60
"""Where tasks are added: MLflow's Python has its threads wait for one another well before 100 %."""

NAME_LIMIT = 32
"""Characters of the names of load balancers and their target groups."""


class Files(TypedDict):
    """Files of a task, as a secret."""

    arn: pulumi.Output[str]
    """ARN of the secret."""
    source: pulumi.Output[str]
    """What ECS reads them from; another version is another one."""


class AwsTaskComponent(AwsComponent):
    """A component that runs tasks on Fargate."""

    def __init__(
        self, name: str, deployment: Optional[str], opts: Optional[pulumi.ResourceOptions]
    ) -> None:
        super().__init__(name, deployment, opts)
        self._granted: list[pulumi.Resource] = []
        """What roles may do. A task that starts before it is there fails."""

    def _files(self, role: str, contents: Mapping[str, pulumi.Input[str]]) -> Files:
        """Keep files in Secrets Manager, for the container that writes them: see `core.ecs.files`.

        Args:
            role: whose they are.
            contents: path below `/run/pulumi-mlflow` → content.
        """
        secret = aws.secretsmanager.Secret(
            self._child(role),
            # A prefix: a name whose secret was deleted is taken for the days of its recovery.
            name_prefix=f"{self._short(role)}-",
            description=f"Files of {self._short(role)}, written by pulumi-mlflow",
            # All of it can be made again from the stack's state.
            recovery_window_in_days=7,
            tags=self._tags(role),
            opts=self._opts(),
        )
        text: pulumi.Output[str] = pulumi.Output.all(**contents).apply(ecs.secret_files)
        hidden: pulumi.Output[str] = pulumi.Output.secret(text)
        version = aws.secretsmanager.SecretVersion(
            self._child(f"{role}-version"),
            secret_id=secret.id,
            secret_string=hidden,
            opts=self._opts(),
        )
        # A secret's id and version are no secrets, though the version's content is.
        source = pulumi.Output.all(secret.arn, version.version_id).apply(
            lambda known: ecs.secret_source(known[0], known[1])
        )
        return Files(arn=secret.arn, source=pulumi.Output.unsecret(source))

    def _role_of_tasks(
        self, role: str, group: aws.cloudwatch.LogGroup, region: str, policy: pulumi.Input[str]
    ) -> aws.iam.Role:
        """A role that tasks of this account take on.

        Args:
            role: what it is for.
            group: a log group, whose ARN names the account.
            region: where the tasks run.
            policy: what it may do; empty for nothing.
        """
        made = aws.iam.Role(
            self._child(f"{role}-role"),
            name=self._short(role),
            assume_role_policy=group.arn.apply(
                lambda arn: iam.task_trust(region, iam.account_of(arn))
            ),
            tags=self._tags(role),
            opts=self._opts(),
        )
        if policy != "":
            self._granted.append(
                aws.iam.RolePolicy(
                    self._child(f"{role}-access"),
                    name="access",
                    role=made.id,
                    policy=policy,
                    opts=self._opts(),
                )
            )
        return made

    def _start_role(
        self,
        role: str,
        group: aws.cloudwatch.LogGroup,
        region: str,
        repositories: pulumi.Input[Sequence[str]],
        secrets: Sequence[pulumi.Input[str]],
        keys: Sequence[pulumi.Input[str]] = (),
    ) -> aws.iam.Role:
        """The role by which ECS starts a task; the task itself does not get it.

        Args:
            role: what it is for.
            group: where the task logs.
            region: where it runs.
            repositories: from `repositories`.
            secrets: ARNs of what it reads.
            keys: ARNs of the keys that those are encrypted with.
        """
        policy = pulumi.Output.all(
            repositories=repositories,
            groups=pulumi.Output.all(group.arn),
            secrets=pulumi.Output.all(*secrets),
            keys=pulumi.Output.all(*keys),
        ).apply(
            lambda known: iam.document(
                iam.task_start(
                    repositories=known["repositories"],
                    log_groups=known["groups"],
                    secrets=known["secrets"],
                    region=region,
                    kms_keys=known["keys"],
                )
            )
        )
        return self._role_of_tasks(role, group, region, policy)

    def _definition(
        self,
        role: str,
        size: ecs.Size,
        containers: pulumi.Input[Sequence[ecs.Container]],
        start: aws.iam.Role,
        own: Optional[aws.iam.Role],
        kind: Sequence[str],
        storage_gb: Optional[int] = None,
    ) -> aws.ecs.TaskDefinition:
        """A task definition; each change is a new revision beside the old one, to which a rollback goes.

        Args:
            role: what it is for.
            size: of the task.
            containers: `files` among them.
            start: what starts it.
            own: what its program is; none may do nothing.
            kind: names of its volumes.
            storage_gb: disk, in GiB; Fargate's 20 unless given.
        """
        text = pulumi.Output.from_input(containers).apply(
            lambda known: json.dumps([ecs.definition(item) for item in known], sort_keys=True)
        )
        return aws.ecs.TaskDefinition(
            self._child(f"{role}-task"),
            family=self._short(role),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(size.cpu),
            memory=str(size.memory_mb),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": "X86_64",
            },
            execution_role_arn=start.arn,
            task_role_arn=own.arn if own else None,
            container_definitions=text,
            volumes=[{"name": name} for name in kind],
            ephemeral_storage={"size_in_gib": storage_gb} if storage_gb else None,
            # Else the revision that runs is taken away before the new one has taken over.
            skip_destroy=True,
            tags=self._tags(role),
            opts=self._opts(),
        )

    def _reach_aws(
        self, group: aws.ec2.SecurityGroup, network: AwsNetworkPlace, *, s3: bool, outside: bool
    ) -> list[pulumi.Resource]:
        """Let a task reach what starts it: registry, logs and secrets, by endpoints or by NAT.

        Args:
            group: of the task.
            network: that it is in.
            s3: whether its program uses S3.
            outside: whether an image of it is in a registry that no endpoint leads to.
        """
        rules: list[pulumi.Resource] = []
        if "endpoints" in network:
            # The endpoints' group lets the VPC in by itself.
            rules.append(
                aws.vpc.SecurityGroupEgressRule(
                    self._child("endpoints-out"),
                    security_group_id=group.id,
                    referenced_security_group_id=network["endpoints"],
                    ip_protocol="tcp",
                    from_port=HTTPS,
                    to_port=HTTPS,
                    description="Registry, logs, secrets",
                    tags=self._tags("endpoints-out"),
                    opts=self._opts(),
                )
            )
        if "s3_prefixes" in network:
            why = "S3: artifacts and layers of images" if s3 else "S3: layers of images"
            rules.append(
                self._let_out("s3-out", group.id, HTTPS, why, prefix_list=network["s3_prefixes"])
            )
        if "endpoints" not in network or "s3_prefixes" not in network:
            rules.append(
                self._let_out("aws-out", group.id, HTTPS, "Services of AWS", cidr="0.0.0.0/0")
            )
        elif outside:
            rules.append(self._let_out("registry-out", group.id, HTTPS, "Images", cidr="0.0.0.0/0"))
        return rules

    def _service(
        self,
        role: str,
        cluster: pulumi.Input[str],
        definition: aws.ecs.TaskDefinition,
        network: AwsNetworkPlace,
        group: aws.ec2.SecurityGroup,
        replicas: int,
        after: Sequence[pulumi.Resource],
        **more: Any,
    ) -> aws.ecs.Service:
        """A service over the zones, whose failed rollouts go back by themselves."""
        return aws.ecs.Service(
            self._child(f"{role}-service"),
            name=self._short(role),
            cluster=cluster,
            task_definition=definition.arn,
            desired_count=replicas,
            launch_type="FARGATE",
            platform_version=ecs.PLATFORM,
            network_configuration={
                "subnets": network["private_subnets"],
                "security_groups": [group.id],
                "assign_public_ip": False,
            },
            availability_zone_rebalancing="ENABLED",
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            # `AwsRollout` waits, and takes a rollback for the failure that it is.
            wait_for_steady_state=False,
            tags=self._tags(role),
            # Autoscaling's, between its two limits.
            opts=self._opts(depends_on=[*self._granted, *after], ignore_changes=["desiredCount"]),
            **more,
        )

    def _scale_on_cpu(
        self, cluster: pulumi.Input[str], service: aws.ecs.Service, fewest: int, most: int
    ) -> pulumi.Output[str]:
        """Add tasks to a service before they are short of CPU.

        Args:
            cluster: ARN or name of the service's cluster.
            service: the service.
            fewest: tasks at least.
            most: tasks at most.

        Returns:
            Id of what is scaled, for further policies.
        """
        target = aws.appautoscaling.Target(
            self._child("scaling"),
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.all(cluster, service.name).apply(
                lambda known: f"service/{known[0].rsplit('/', 1)[-1]}/{known[1]}"
            ),
            min_capacity=fewest,
            max_capacity=most,
            tags=self._tags("scaling"),
            opts=self._opts(),
        )
        aws.appautoscaling.Policy(
            self._child("scaling-cpu"),
            name="cpu",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "predefined_metric_specification": {
                    "predefined_metric_type": "ECSServiceAverageCPUUtilization"
                },
                "target_value": _CPU_PERCENT,
                "scale_out_cooldown": 60,
                # A server starts in a minute, and what it takes over comes back when it goes.
                "scale_in_cooldown": 600,
            },
            opts=self._opts(),
        )
        return target.resource_id

    def _rolled_out(
        self,
        role: str,
        region: str,
        cluster: pulumi.Input[str],
        service: aws.ecs.Service,
        definition: aws.ecs.TaskDefinition,
        group: aws.cloudwatch.LogGroup,
        container: str,
    ) -> AwsRollout:
        return AwsRollout(
            self._child(f"{role}-rollout"),
            {
                "name": self._short(role),
                "region": region,
                "cluster": cluster,
                "service": service.name,
                "task_definition": definition.arn,
                "log_group": group.name,
                "container": container,
                "timeout": ROLLOUT_SECONDS,
            },
            self._opts(depends_on=[service]),
        )


def outside(
    name: str,
    network: AwsNetworkPlace,
    images: Mapping[str, Optional[pulumi.Input[str]]],
    *,
    given: bool,
) -> bool:
    """Whether one of a task's images is pulled by way of the Internet.

    Args:
        name: of the component.
        network: that the task is in.
        images: argument → image. What is not known yet is ours, in ECR.
        given: what the caller knows of them.

    Raises:
        ValueError: one is, and there is no such way.
    """
    region, known = network["region"], {k: v for k, v in images.items() if isinstance(v, str)}
    for key, image in known.items():
        reason = aws_image.check_pull(image, region, internet=network["internet"])
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
    if given and not network["internet"]:
        raise ValueError(
            f"{name}: outside: {network['place']} has no way to another registry than the ECR of {region}; push the "
            "images there, or give the network a NAT gateway"
        )
    return given or any(aws_image.outside(image, region) for image in known.values())


def repositories(
    given: Optional[Sequence[pulumi.Input[str]]], images: Sequence[Optional[pulumi.Input[str]]]
) -> pulumi.Output[list[str]]:
    """ARNs of the repositories of ECR that a task's images are pulled from; other registries have none.

    Args:
        given: where the caller knows them: an image that is made anew is known by its name after its push only.
        images: by their digests.
    """
    if given is not None:
        return pulumi.Output.all(*given).apply(lambda known: sorted(set(known)))
    return pulumi.Output.all(*(image for image in images if image is not None)).apply(
        lambda known: sorted({arn for image in known if (arn := aws_image.repository_arn(image))})
    )


def mounts(kind: str) -> dict[str, str]:
    """Volumes of an image's task: name → folder, its files' aside.

    Args:
        kind: one of `aws_image.KINDS`.
    """
    return {
        folder.strip("/").replace("/", "-"): folder
        for folder in aws_image.volumes(kind)
        if folder != FILES_PATH
    }
