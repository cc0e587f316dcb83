"""What the resources of a plan cost a month at AWS, by a table of prices."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .plan import UNKNOWN, Resource

_FREE_DISK_GB = 20
"""Of a Fargate task, https://aws.amazon.com/fargate/pricing/."""


@dataclass(frozen=True)
class Table:
    """Prices.

    Attributes:
        as_of: date of the table.
        region: where they hold.
        hours: of a month.
        prices: name → US dollars.
        recalled: names of prices that nobody has looked up.
        assumed: what the bill depends on and no plan knows.
        managed: size of the managed service → US dollars an hour.
        managed_name: what that is called.
    """

    as_of: str
    region: str
    hours: float
    prices: Mapping[str, float]
    recalled: frozenset[str]
    assumed: Mapping[str, float]
    managed: Mapping[str, float]
    managed_name: str


@dataclass(frozen=True)
class Line:
    """One line of a bill.

    Attributes:
        resource: its name in the plan.
        what: what is paid for.
        least: US dollars a month, with the fewest servers.
        most: the same with the most that autoscaling starts.
        assumed: whether it rests on an assumption about use.
    """

    resource: str
    what: str
    least: float
    most: float
    assumed: bool = False


@dataclass(frozen=True)
class Bill:
    """What a list of resources costs a month.

    Attributes:
        lines: what has a price.
        unpriced: what costs something and has no price in the table; with the reason.
        used: names of the prices that the lines rest on.
    """

    lines: tuple[Line, ...]
    unpriced: tuple[str, ...]
    used: frozenset[str]

    @property
    def least(self) -> float:
        """US dollars a month, with the fewest servers."""
        return sum(line.least for line in self.lines)

    @property
    def most(self) -> float:
        """US dollars a month, with the most servers."""
        return sum(line.most for line in self.lines)


def table(found: Mapping[str, Any]) -> Table:
    """A table of prices from its file's content.

    Raises:
        ValueError: a part is missing, or a price is no number of 0 or more.
    """
    try:
        prices = {name: float(one["usd"]) for name, one in found["prices"].items()}
        made = Table(
            as_of=str(found["as_of"]),
            region=str(found["region"]),
            hours=float(found["hours"]),
            prices=prices,
            recalled=frozenset(
                n for n, one in found["prices"].items() if one["seen"] == "recalled"
            ),
            assumed={name: float(value) for name, value in found["assumed"].items()},
            managed={size: float(usd) for size, usd in found["managed"]["hourly"].items()},
            managed_name=str(found["managed"]["name"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"prices: {error} is missing, or of another form") from error
    if wrong := [name for name, usd in prices.items() if not usd >= 0]:
        raise ValueError(f"prices: must be 0 or more: {', '.join(wrong)}")
    return made


def bill(resources: Sequence[Resource], prices: Table) -> Bill:
    """What resources cost a month.

    Args:
        resources: of a plan.
        prices: the table.
    """
    clerk = _Clerk(resources, prices)
    lines = [line for one in resources for line in clerk.lines(one)]
    return Bill(tuple(lines), tuple(clerk.unpriced), frozenset(clerk.used))


_DECIDING = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("vpcEndpointType",),
    "aws:ecs/service:Service": ("launchType",),
    "aws:rds/clusterInstance:ClusterInstance": ("instanceClass",),
    "aws:rds/instance:Instance": ("instanceClass", "allocatedStorage", "storageType"),
    "aws:wafv2/webAcl:WebAcl": ("rules",),
}
"""Type → inputs without which nothing can be said of its price; a bill must not be lower for want of them."""


class _Clerk:
    """Writes the lines of a bill, and remembers what had no price."""

    def __init__(self, resources: Sequence[Resource], prices: Table) -> None:
        self.resources = resources
        self.table = prices
        self.unpriced: list[str] = []
        self.used: set[str] = set()
        self._by_type: dict[str, Callable[[Resource], Iterator[Line]]] = {
            "aws:acm/certificate:Certificate": _nothing,
            "aws:backup/plan:Plan": self._usage("backup-gb", "backup_gb", "copies"),
            "aws:cloudwatch/dashboard:Dashboard": self._flat("dashboard"),
            "aws:cloudwatch/logGroup:LogGroup": self._usage("logs-gb", "logs_gb", "logs"),
            "aws:cloudwatch/metricAlarm:MetricAlarm": self._flat("alarm"),
            "aws:ec2/eip:Eip": self._hourly("address", "public address"),
            "aws:ec2/natGateway:NatGateway": self._nat,
            "aws:ec2/vpcEndpoint:VpcEndpoint": self._endpoint,
            "aws:ecr/repository:Repository": self._usage("image-gb", "image_gb", "images"),
            "aws:ecs/service:Service": self._service,
            "aws:eks/cluster:Cluster": self._hourly("eks", "control plane"),
            "aws:kms/key:Key": self._flat("key"),
            "aws:kms/replicaKey:ReplicaKey": self._flat("key"),
            "aws:lb/loadBalancer:LoadBalancer": self._balancer,
            "aws:rds/cluster:Cluster": self._usage("aurora-gb", "aurora_gb", "storage"),
            "aws:rds/clusterInstance:ClusterInstance": self._aurora,
            "aws:rds/instance:Instance": self._instance,
            "aws:rds/proxy:Proxy": self._proxy,
            "aws:s3/bucket:Bucket": self._bucket,
            "aws:secretsmanager/secret:Secret": self._flat("secret"),
            "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": self._flat("zone"),
            "aws:wafv2/webAcl:WebAcl": self._firewall,
        }

    def lines(self, resource: Resource) -> Iterator[Line]:
        """What one resource costs."""
        if resource.type == "aws:eks/nodeGroup:NodeGroup":
            self.unpriced.append(f"{resource.name}: machines of EC2")
            return
        unknown = [key for key in _DECIDING.get(resource.type, ()) if resource.get(key) is UNKNOWN]
        self.unpriced += [f"{resource.name}: {key} is not known yet" for key in unknown]
        if unknown:
            return
        for line in self._by_type.get(resource.type, _nothing)(resource):
            if line.most:
                yield line

    def _price(self, name: str, resource: Resource) -> float:
        found = self.table.prices.get(name)
        if found is None:
            self.unpriced.append(f"{resource.name}: {name}")
            return 0
        self.used.add(name)
        return found

    def _line(
        self,
        resource: Resource,
        what: str,
        usd: float,
        most: float | None = None,
        *,
        assumed: bool = False,
    ) -> Line:
        return Line(resource.name, what, usd, usd if most is None else most, assumed)

    def _flat(self, name: str) -> Callable[[Resource], Iterator[Line]]:
        def made(resource: Resource) -> Iterator[Line]:
            yield self._line(resource, name, self._price(name, resource))

        return made

    def _hourly(self, name: str, what: str) -> Callable[[Resource], Iterator[Line]]:
        def made(resource: Resource) -> Iterator[Line]:
            usd = self._price(f"{name}-hour", resource) * self.table.hours
            yield self._line(resource, what, usd)

        return made

    def _usage(self, name: str, use: str, what: str) -> Callable[[Resource], Iterator[Line]]:
        def made(resource: Resource) -> Iterator[Line]:
            yield self._used(resource, name, use, what)

        return made

    def _used(self, resource: Resource, name: str, use: str, what: str) -> Line:
        amount = self.table.assumed.get(use, 0)
        usd = self._price(name, resource) * amount
        return self._line(resource, f"{what}, {amount:g} GB", usd, assumed=True)

    def _service(self, resource: Resource) -> Iterator[Line]:
        if resource.get("launchType") != "FARGATE":
            self.unpriced.append(f"{resource.name}: machines of EC2")
            return
        task = self._target(resource, "taskDefinition", "TaskDefinition")
        if task is None:
            self.unpriced.append(f"{resource.name}: its task definition is not in the plan")
            return
        arm = "arm-" if task.get("runtimePlatform", "cpuArchitecture") == "ARM64" else ""
        cpus, memory = _number(task.get("cpu")) / 1024, _number(task.get("memory")) / 1024
        disk = max(0.0, _number(task.get("ephemeralStorage", "sizeInGib")) - _FREE_DISK_GB)
        one = self.table.hours * (
            cpus * self._price(f"fargate-{arm}vcpu-hour", resource)
            + memory * self._price(f"fargate-{arm}gb-hour", resource)
            + disk * self._price("fargate-storage-gb-hour", resource)
        )
        least, most = self._replicas(resource)
        what = f"{_range(least, most)} x {cpus:g} vCPU, {memory:g} GB"
        yield self._line(resource, what, one * least, one * most)

    def _replicas(self, service: Resource) -> tuple[float, float]:
        wanted = _number(service.get("desiredCount")) or 1
        for one in self.resources:
            name = service.get("name")
            if one.type == "aws:appautoscaling/target:Target" and (
                service.identity in one.refers.get("resourceId", ())
                or (isinstance(name, str) and str(one.get("resourceId")).endswith(f"/{name}"))
            ):
                least = _number(one.get("minCapacity")) or wanted
                return least, max(least, _number(one.get("maxCapacity")))
        return wanted, wanted

    def _instance(self, resource: Resource) -> Iterator[Line]:
        made = resource.get("instanceClass")
        copies = 2 if resource.get("multiAz") is True else 1
        usd = self._price(f"rds-{made}-hour", resource) * self.table.hours * copies
        zones = " in two zones" if copies > 1 else ""
        yield self._line(resource, f"{made}{zones}", usd)
        disk = _number(resource.get("allocatedStorage"))
        if not disk and resource.get("replicateSourceDb") is not None:
            # A replica has as much as its source.
            sources = (_number(one.get("allocatedStorage")) for one in self.resources)
            disk = max(sources, default=0)
        if resource.get("storageType") == "gp3":
            storage = self._price("rds-gp3-gb", resource) * disk * copies
            yield self._line(resource, f"storage, {disk:g} GB{zones}", storage)
        elif disk:
            self.unpriced.append(f"{resource.name}: storage {resource.get('storageType')}")
        if resource.get("manageMasterUserPassword") is True:
            yield self._line(resource, "secret", self._price("secret", resource))

    def _aurora(self, resource: Resource) -> Iterator[Line]:
        made = resource.get("instanceClass")
        usd = self._price(f"aurora-{made}-hour", resource) * self.table.hours
        yield self._line(resource, str(made), usd)

    def _proxy(self, resource: Resource) -> Iterator[Line]:
        classes = [
            str(one.get("instanceClass")) for one in self.resources if one.get("instanceClass")
        ]
        cpus = max((vcpus(one) for one in classes), default=2)
        usd = self._price("rds-proxy-vcpu-hour", resource) * self.table.hours * cpus
        yield self._line(resource, f"proxy before {cpus} vCPU", usd)

    def _nat(self, resource: Resource) -> Iterator[Line]:
        usd = self._price("nat-hour", resource) * self.table.hours
        yield self._line(resource, "NAT gateway", usd)
        yield self._used(resource, "nat-gb", "nat_gb", "data")

    def _endpoint(self, resource: Resource) -> Iterator[Line]:
        if resource.get("vpcEndpointType") != "Interface":
            return
        zones = len(resource.get("subnetIds") or ()) or 1
        usd = self._price("endpoint-hour", resource) * self.table.hours * zones
        yield self._line(resource, f"endpoint in {zones} zones", usd)

    def _balancer(self, resource: Resource) -> Iterator[Line]:
        units = self.table.assumed.get("balancer_units", 0)
        yield self._line(
            resource,
            "load balancer",
            self._price("balancer-hour", resource) * self.table.hours,
        )
        yield self._line(
            resource,
            f"{units:g} capacity units",
            self._price("balancer-unit-hour", resource) * self.table.hours * units,
            assumed=True,
        )
        if resource.get("internal") is not True:
            zones = len(resource.get("subnets") or ()) or 2
            usd = self._price("address-hour", resource) * self.table.hours * zones
            yield self._line(resource, f"{zones} public addresses", usd)

    def _bucket(self, resource: Resource) -> Iterator[Line]:
        of_logs = any(
            one.type == "aws:s3/bucketLogging:BucketLogging"
            and resource.identity in one.refers.get("targetBucket", ())
            for one in self.resources
        )
        use = "access_logs_gb" if of_logs else "artifacts_gb"
        yield self._used(resource, "s3-gb", use, "access logs" if of_logs else "artifacts")

    def _firewall(self, resource: Resource) -> Iterator[Line]:
        rules = len(resource.get("rules") or ())
        usd = self._price("firewall", resource) + rules * self._price("firewall-rule", resource)
        yield self._line(resource, f"firewall with {rules} rules", usd)

    def _target(self, resource: Resource, key: str, kind: str) -> Resource | None:
        """The resource that an input comes from."""
        wanted = resource.refers.get(key, ())
        for one in self.resources:
            if one.type.endswith(f":{kind}") and one.identity in wanted:
                return one
        return None


def _nothing(_: Resource) -> Iterator[Line]:
    yield from ()


def _number(value: Any) -> float:
    """A number, or the number that a text is; 0 for all else."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return 0
    return float(value) if isinstance(value, (int, float)) else 0


def _range(least: float, most: float) -> str:
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def vcpus(instance_class: str) -> int:
    """Virtual CPUs of a class of RDS: two up to `large`, then as many as the name says, times four.

    Args:
        instance_class: such as `db.r7g.2xlarge`.
    """
    size = instance_class.rsplit(".", 1)[-1]
    if not size.endswith("xlarge"):
        return 2
    times = size.removesuffix("xlarge")
    return 4 * (int(times) if times.isdigit() else 1)


def monthly(prices: Table) -> dict[str, float]:
    """Size of the managed service → US dollars a month."""
    return {size: usd * prices.hours for size, usd in prices.managed.items()}


def dollars(usd: float) -> str:
    """US dollars, rounded up to whole ones: an estimate has no cents."""
    return f"{math.ceil(usd - 1e-9):,}"
