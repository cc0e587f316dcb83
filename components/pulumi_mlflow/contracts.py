"""The endpoints that runtimes hand to one another.

A runtime's database, artifact store and tracking server each produce one of these, and every runtime accepts any of
them: "Docker server + my own PostgreSQL" is no special case. They are plain TypedDicts *of* Outputs, never an
`Output[TypedDict]`: wrapped, one secret field would make even the host name secret.
"""

from collections.abc import Iterable
from enum import Enum
from typing import TypedDict

import pulumi


class UnreachableEndpointError(ValueError):
    """A consumer was given an endpoint that cannot be reached from where the consumer runs."""


class Engine(str, Enum):
    """Database engines of MLflow's tracking store."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    MARIADB = "mariadb"
    SQLITE = "sqlite"


class AuthMode(str, Enum):
    """How users log in at the front door."""

    NONE = "none"
    BASIC = "basic"
    OIDC = "oidc"
    MLFLOW = "mlflow"
    OIDC_MLFLOW = "oidc-mlflow"
    """MLflow's permissions for users whom the identity provider has logged in."""

    @property
    def by_provider(self) -> bool:
        """Whether an identity provider logs users in."""
        return self in (AuthMode.OIDC, AuthMode.OIDC_MLFLOW)

    @property
    def by_server(self) -> bool:
        """Whether MLflow knows its users, and checks what they may do."""
        return self in (AuthMode.MLFLOW, AuthMode.OIDC_MLFLOW)


class Scope(str, Enum):
    """Kinds of places from which an endpoint can be reached."""

    HOST = "host"
    NETWORK = "network"
    CLUSTER = "cluster"
    VPC = "vpc"
    PUBLIC = "public"

    def place(self, name: str = "") -> str:
        """This kind of place with its name, such as `network:mlflow-dev`; the form that `reach` lists."""
        return f"{self.value}:{name}" if name else self.value


class DatabaseEndpoint(TypedDict, total=False):
    """A database and how to log in to it."""

    component: str
    """Name of the component (or `existing` setting) that produced it; used in error messages."""
    reach: list[str]
    """Places it can be reached from, see `Scope.place`; `public` means from anywhere."""
    engine: str
    """One of `Engine`."""
    host: pulumi.Input[str]
    """Host name or address; absent for SQLite."""
    port: pulumi.Input[int]
    """TCP port; absent for SQLite."""
    database: pulumi.Input[str]
    """Name of the database; for SQLite the absolute path of its file."""
    username: pulumi.Input[str]
    """User to log in as; absent for SQLite."""
    password: pulumi.Input[str]
    """Password (secret); absent for SQLite."""
    tls_mode: pulumi.Input[str]
    """libpq's sslmode vocabulary (`disable`, `require`, `verify-ca`, `verify-full`); absent means `disable`."""
    ca: pulumi.Input[str]
    """PEM of the certificate authority that signed the server's certificate."""
    search_path: pulumi.Input[str]
    """PostgreSQL's schemas, the first of which holds MLflow's tables; absent with the server's default."""
    volume: pulumi.Input[str]
    """Docker volume that holds a SQLite file, mounted at the file's folder; absent for servers."""
    data: pulumi.Input[str]
    """Names what holds the data: another one at the same address is another database, to be migrated anew."""
    security_group: pulumi.Input[str]
    """Id of the AWS security group before it, to which a consumer adds a rule for itself; absent elsewhere."""
    admin_secret: pulumi.Input[str]
    """ARN of the Secrets Manager secret, or key in the vault of a cluster, with its administrator's name and password
    (JSON: `username`, `password`), by which a migration makes `username` before it begins; absent where that user is
    there already."""
    admin_key: pulumi.Input[str]
    """ARN of the KMS key that `admin_secret` is encrypted with; absent with AWS's own."""


class ArtifactEndpoint(TypedDict, total=False):
    """Where artifacts are kept, and the keys to it."""

    component: str
    """Name of the component (or `existing` setting) that produced it; used in error messages."""
    reach: list[str]
    """Places it can be reached from, see `Scope.place`; `public` means from anywhere."""
    uri: pulumi.Input[str]
    """`s3://bucket/prefix`, another store's URI (`gs://`, `wasbs://`, `abfss://`), or an absolute folder."""
    endpoint_url: pulumi.Input[str]
    """URL of an S3-compatible store; absent for S3 itself and for folders."""
    public_endpoint_url: pulumi.Input[str]
    """URL under which clients reach the store; absent where only the server does."""
    region: pulumi.Input[str]
    """Region that requests are signed for."""
    addressing: pulumi.Input[str]
    """`path` or `virtual`: whether requests name the bucket in the path or the host; absent where boto3 decides."""
    access_key: pulumi.Input[str]
    """Static access key (secret); absent with workload identity and for folders."""
    secret_key: pulumi.Input[str]
    """Static secret key (secret); absent with workload identity and for folders."""
    ca: pulumi.Input[str]
    """PEM of the certificate authority that signed the store's certificate."""
    volume: pulumi.Input[str]
    """Docker volume that holds a folder store, mounted at the folder; absent for others."""
    kms_key: pulumi.Input[str]
    """ARN of the KMS key that objects are encrypted with, which a server in AWS must be allowed; absent elsewhere."""


class TrackingEndpoint(TypedDict, total=False):
    """A tracking server."""

    component: str
    """Name of the component that produced it; used in error messages."""
    reach: list[str]
    """Places its `internal_url` can be reached from, see `Scope.place`."""
    internal_url: pulumi.Input[str]
    """URL inside the stack's own network."""
    public_url: pulumi.Input[str]
    """URL that people and training scripts use."""
    health_path: pulumi.Input[str]
    """Answers 200 while the process lives."""
    ready_path: pulumi.Input[str]
    """Answers 200 while the server can use its database."""
    metrics_path: pulumi.Input[str]
    """Prometheus metrics; absent when they are off."""
    jobs_url: pulumi.Input[str]
    """URL inside the stack's own network of the one server that runs jobs; absent where none does."""
    auth_mode: str
    """One of `AuthMode`: what this endpoint itself demands."""
    proxy_secret: pulumi.Input[str]
    """What a proxy must send for its identity headers to be believed (secret); only with `oidc-mlflow`."""
    security_group: pulumi.Input[str]
    """Id of the AWS security group before it, to which a consumer adds a rule for itself; absent elsewhere."""


def require_reach(consumer: str, place: str, component: str, reach: Iterable[str]) -> None:
    """Refuse an endpoint that `consumer` cannot reach.

    Args:
        consumer: name of the component that was given the endpoint.
        place: where the consumer runs, in the form of `Scope.place`.
        component: name of the component that produced the endpoint.
        reach: the endpoint's `reach`.

    Raises:
        UnreachableEndpointError: names both components, the place and the reach.
    """
    places = list(reach)
    if Scope.PUBLIC.value in places or place in places:
        return
    mend = f"run both in the same place, or give {consumer} an endpoint that '{place}' reaches"
    if places == [Scope.HOST.place()] and place.startswith(Scope.NETWORK.value):
        mend += "; containers know what listens on the machine itself as 'host.docker.internal'"
    raise UnreachableEndpointError(
        f"{consumer} runs in '{place}' and cannot reach {component}, which is reachable from "
        f"{', '.join(repr(p) for p in places) or 'nowhere'}; {mend}"
    )
