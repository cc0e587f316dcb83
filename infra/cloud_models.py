"""Sections of settings that cloud stacks have: the account, the cluster, images, monitoring, backup."""

from enum import StrEnum

from pydantic import Field

from pulumi_mlflow.core import alb, budgets
from sections import AWS, CLOUD, KUBERNETES, Section, only
from values import (
    AwsId,
    Block,
    Bucket,
    CertificateArn,
    Email,
    EndpointUrl,
    Flag,
    HostedZone,
    Image,
    KubernetesName,
    Namespace,
    Number,
    Prefix,
    Region,
    RoleArn,
    Schedule,
    StackName,
    Text,
    UserPool,
    VpcCidr,
    Whole,
    Zone,
)


class Size(StrEnum):
    """How large a cloud stack is, see core/profiles.py."""

    S = "S"
    M = "M"
    L = "L"


class Compute(StrEnum):
    """What runs the containers in AWS."""

    FARGATE = "fargate"
    KUBERNETES = "kubernetes"


class Nat(StrEnum):
    """How private subnets reach the Internet."""

    NONE = "none"
    SINGLE = "single"
    PER_ZONE = "per-zone"


class Login(StrEnum):
    """Who logs browsers in."""

    ALB = "alb"
    PROXY = "proxy"


class Controller(StrEnum):
    """Who fills an Ingress."""

    NGINX = "nginx"
    ALB = "alb"
    TRAEFIK = "traefik"
    OTHER = "other"


class IssuerKind(StrEnum):
    """Kinds of cert-manager's issuers."""

    CLUSTER = "ClusterIssuer"
    NAMESPACED = "Issuer"


class TestType(StrEnum):
    """What AWS Backup can restore for a test."""

    RDS = "RDS"
    AURORA = "Aurora"
    S3 = "S3"


class AwsNetworkSettings(Section):
    """A VPC that others made; nothing of it is changed. Its ids, or the stack that exports them."""

    stack: StackName | None = Field(
        None,
        description="Stack that exports an output `network`, such as `AwsNetwork.network`; in place of the ids.",
        examples=["acme/network/prod"],
        json_schema_extra=only(*AWS),
    )
    vpc_id: AwsId | None = Field(
        None,
        description="Id of the VPC.",
        examples=["vpc-0a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    cidr: VpcCidr | None = Field(
        None,
        description="Its block of addresses.",
        examples=["10.20.0.0/16"],
        json_schema_extra=only(*AWS),
    )
    private_subnets: list[AwsId] = Field(
        [],
        description="Ids of its private subnets, one a zone: databases and servers.",
        examples=["subnet-0a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    public_subnets: list[AwsId] = Field(
        [],
        description="Ids of its public subnets, one a zone: the load balancer; none with `aws.internal`.",
        examples=["subnet-1a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    endpoints: AwsId | None = Field(
        None,
        description="Id of the security group of its endpoints for ECR, Logs and Secrets Manager; a way by NAT "
        "unless given.",
        examples=["sg-0a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    s3_endpoint: AwsId | None = Field(
        None,
        description="Id of its gateway endpoint for S3, by which alone a bucket of ours is read and written.",
        examples=["vpce-0a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    s3_prefixes: AwsId | None = Field(
        None,
        description="Id of the prefix list of S3's addresses; with `s3_endpoint`.",
        examples=["pl-6ea54007"],
        json_schema_extra=only(*AWS),
    )
    internet: Flag = Field(
        False,
        description="Whether its private subnets reach the Internet by NAT.",
        examples=[False],
        json_schema_extra=only(*AWS),
    )


class Cognito(Section):
    """A Cognito user pool in place of `access.oidc`. Its client's secret is `mlflow:oidc_client_secret`."""

    user_pool: UserPool = Field(
        description="ARN of the pool.",
        examples=["arn:aws:cognito-idp:eu-central-1:111122223333:userpool/eu-central-1_Ab1Cd2Ef3"],
        json_schema_extra=only(*AWS),
    )
    client_id: Text = Field(
        min_length=1,
        description="Client of the pool, with a secret and the callback `https://<host>/oauth2/idpresponse`.",
        examples=["4ab5cd6ef7"],
        json_schema_extra=only(*AWS),
    )
    domain: Text = Field(
        min_length=1,
        description="Domain prefix of the pool, or its own domain.",
        examples=["acme-login"],
        json_schema_extra=only(*AWS),
    )


class Aws(Section):
    """The AWS account's part."""

    region: Region = Field(
        description="Region of all resources.",
        examples=["eu-central-1"],
        json_schema_extra=only(*AWS),
    )
    compute: Compute = Field(
        Compute.FARGATE,
        description="What runs the containers: `fargate`, or a cluster that is there (`kubernetes`).",
        examples=["fargate"],
        json_schema_extra=only(*AWS),
    )
    vpc_cidr: VpcCidr = Field(
        "10.42.0.0/16",
        description="Address block of the VPC that is made; another one is refused later, since the VPC is protected.",
        examples=["10.42.0.0/16"],
        json_schema_extra=only(*AWS),
    )
    zones: list[Zone] = Field(
        [],
        description="Two or three availability zones of the VPC that is made; the first two that AWS has for the "
        "account unless given.",
        examples=["eu-central-1a"],
        json_schema_extra=only(*AWS),
    )
    nat: Nat | None = Field(
        None,
        description="NAT gateways of the VPC that is made: `none`, `single`, `per-zone`. Unless given `single` "
        "where an identity provider logs users in, which must be reached, else `none`.",
        examples=["single"],
        json_schema_extra=only(*AWS),
    )
    network: AwsNetworkSettings | None = Field(
        None,
        description="A VPC that others made.",
        json_schema_extra=only(*AWS),
    )
    zone: HostedZone | None = Field(
        None,
        description="Id of the Route 53 zone of `access.hosts`: records, and the certificate, are made there.",
        examples=["Z0123456789ABCDEFGHIJ"],
        json_schema_extra=only(*AWS),
    )
    certificate: CertificateArn | None = Field(
        None,
        description="ARN of an ACM certificate for `access.hosts`; made in `aws.zone` unless given.",
        examples=[
            "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d-0000-4000-8000-000000000000"
        ],
        json_schema_extra=only(*AWS),
    )
    login: Login | None = Field(
        None,
        description="Who logs browsers in: `alb`, the load balancer, which lets in everybody that the provider "
        "knows, or `proxy`, oauth2-proxy, which heeds groups and domains. Unless given `alb` where "
        "the provider's endpoints or a user pool are given and nothing needs oauth2-proxy.",
        examples=["proxy"],
        json_schema_extra=only(*AWS),
    )
    cognito: Cognito | None = Field(
        None,
        description="A Cognito user pool that logs users in.",
        json_schema_extra=only(*AWS),
    )
    internal: Flag = Field(
        False,
        description="Whether only the VPC, and what is joined to it, reaches the load balancer.",
        examples=[False],
        json_schema_extra=only(*AWS),
    )
    clients: list[Block] = Field(
        [],
        description="Blocks of addresses that reach the load balancer; everybody unless given, or the VPC with "
        "`internal`.",
        examples=["203.0.113.0/24"],
        json_schema_extra=only(*AWS),
    )
    idle_timeout: Whole = Field(
        3600,
        ge=300,
        le=4000,
        description="Seconds for which a connection may be silent, as an upload is while the server sends it on "
        "to S3.",
        examples=[3600],
        json_schema_extra=only(*AWS),
    )
    firewall: Flag = Field(
        False,
        description="Whether WAF looks at requests.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    firewall_rate: Whole = Field(
        alb.FIREWALL_RATE,
        ge=100,
        le=2000000000,
        description="Requests that one address may make within five minutes, with `firewall`.",
        examples=[alb.FIREWALL_RATE],
        json_schema_extra=only(*AWS),
    )


class Identity(Section):
    """The cloud's identity of the server's pods, by which they use a bucket without keys."""

    role_arn: RoleArn | None = Field(
        None,
        description="IAM role that the service account takes on (IRSA).",
        examples=["arn:aws:iam::111122223333:role/mlflow"],
        json_schema_extra=only(*CLOUD),
    )
    pod_identity: Flag = Field(
        False,
        description="Whether EKS Pod Identity gives the service account a role, by an association of yours.",
        examples=[True],
        json_schema_extra=only(*CLOUD),
    )
    annotations: dict[str, Text] = Field(
        {},
        description="Annotations of the service account, for other clouds.",
        examples=["iam.gke.io/gcp-service-account: mlflow@team.iam.gserviceaccount.com"],
        json_schema_extra=only(*CLOUD),
    )
    pod_labels: dict[str, Text] = Field(
        {},
        description="Labels of the pods, for other clouds.",
        examples=["azure.workload.identity/use: true"],
        json_schema_extra=only(*CLOUD),
    )


class Ingress(Section):
    """An Ingress for `access.hosts`. One of `issuer`, `tls_secret` and `certificate_arn` gives it a certificate."""

    class_name: KubernetesName = Field(
        description="Name of the IngressClass.",
        examples=["nginx"],
        json_schema_extra=only(*CLOUD),
    )
    controller: Controller | None = Field(
        None,
        description="Who fills it, for the annotations that large artifacts need; what the class is called unless "
        "given.",
        examples=["nginx"],
        json_schema_extra=only(*CLOUD),
    )
    namespace: KubernetesName | None = Field(
        None,
        description="Namespace of the controller's own proxies, which are let in; `ingress-nginx` or `traefik` "
        "for these.",
        examples=["ingress-nginx"],
        json_schema_extra=only(*CLOUD),
    )
    cidrs: list[Block] = Field(
        [],
        description="Addresses of a load balancer that is no pod, such as the VPC's for an ALB.",
        examples=["10.20.0.0/16"],
        json_schema_extra=only(*CLOUD),
    )
    issuer: KubernetesName | None = Field(
        None,
        description="cert-manager's issuer of the certificate.",
        examples=["letsencrypt"],
        json_schema_extra=only(*CLOUD),
    )
    issuer_kind: IssuerKind = Field(
        IssuerKind.CLUSTER,
        description="`ClusterIssuer` or `Issuer`.",
        examples=["ClusterIssuer"],
        json_schema_extra=only(*CLOUD),
    )
    tls_secret: KubernetesName | None = Field(
        None,
        description="Secret of the namespace that holds the certificate.",
        examples=["mlflow-tls"],
        json_schema_extra=only(*CLOUD),
    )
    certificate_arn: CertificateArn | None = Field(
        None,
        description="Certificate in ACM, with the controller `alb`.",
        examples=[
            "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d-0000-4000-8000-000000000000"
        ],
        json_schema_extra=only(*CLOUD),
    )
    public: Flag = Field(
        False,
        description="Whether an ALB gets addresses of the Internet.",
        examples=[True],
        json_schema_extra=only(*CLOUD),
    )
    annotations: dict[str, Text] = Field(
        {},
        description="Further annotations; they take the place of ours.",
        examples=["pulumi.com/skipAwait: true"],
        json_schema_extra=only(*CLOUD),
    )


class Gateway(Section):
    """A Gateway that is there, which gets a route for `access.hosts`; its listener ends TLS."""

    name: KubernetesName = Field(
        description="Name of the Gateway.",
        examples=["public"],
        json_schema_extra=only(*CLOUD),
    )
    namespace: KubernetesName = Field(
        description="Its namespace.",
        examples=["gateway-system"],
        json_schema_extra=only(*CLOUD),
    )
    section: KubernetesName | None = Field(
        None,
        description="Name of its HTTPS listener; all that fit unless given.",
        examples=["https"],
        json_schema_extra=only(*CLOUD),
    )
    source_namespace: KubernetesName | None = Field(
        None,
        description="Namespace of the proxies that it sends requests from, which are let in; its own unless "
        "given.",
        examples=["envoy-gateway-system"],
        json_schema_extra=only(*CLOUD),
    )


class Kubernetes(Section):
    """The cluster's part."""

    context: Text | None = Field(
        None,
        min_length=1,
        description="Context of your kubeconfig. Never the current one by accident: this or `stack` must be "
        "given.",
        examples=["production"],
        json_schema_extra=only(*CLOUD),
    )
    stack: StackName | None = Field(
        None,
        description="Stack that exports the cluster's `kubeconfig`.",
        examples=["acme/cluster/prod"],
        json_schema_extra=only(*CLOUD),
    )
    namespace: Namespace | None = Field(
        None,
        description="Namespace that others made; one of the name `<project>-<stack>` is made unless given.",
        examples=["mlflow"],
        json_schema_extra=only(*CLOUD),
    )
    cluster: Text | None = Field(
        None,
        min_length=1,
        description="Name of the EKS cluster, which gives the server's pods a role for the bucket (Pod Identity).",
        examples=["acme-prod"],
        json_schema_extra=only(*AWS),
    )
    security_group: AwsId | None = Field(
        None,
        description="Security group of the cluster's nodes or pods, which RDS lets in.",
        examples=["sg-0a1b2c3d4e5f60718"],
        json_schema_extra=only(*AWS),
    )
    secret_store: KubernetesName | None = Field(
        None,
        description="ClusterSecretStore of the External Secrets operator that opens AWS Secrets Manager, where "
        "RDS keeps its administrator's password; the migration alone gets it.",
        examples=["aws"],
        json_schema_extra=only(*AWS),
    )
    identity: Identity | None = Field(
        None,
        description="The cloud's identity of the server's pods.",
        json_schema_extra=only(*CLOUD),
    )
    ingress: Ingress | None = Field(
        None,
        description="An Ingress.",
        json_schema_extra=only(*CLOUD),
    )
    gateway: Gateway | None = Field(
        None,
        description="A Gateway that is there.",
        json_schema_extra=only(*CLOUD),
    )
    pull_secrets: list[KubernetesName] = Field(
        [],
        description="Secrets of the namespace that open the registry of the images.",
        examples=["registry"],
        json_schema_extra=only(*CLOUD),
    )
    scratch_class: KubernetesName | None = Field(
        None,
        description="Storage class of a disk of its own for each pod's artifacts on their way; the node's disk "
        "unless given.",
        examples=["gp3"],
        json_schema_extra=only(*CLOUD),
    )


class Registry(Section):
    """Images that are in a registry already. In AWS by their digest; those not given are built and pushed to ECR."""

    server: Image | None = Field(
        None,
        description="The server's image.",
        examples=["registry.example.com/mlflow:3.17.2"],
        json_schema_extra=only(*CLOUD),
    )
    nginx: Image | None = Field(
        None,
        description="nginx; in Kubernetes the official one unless given.",
        examples=["registry.example.com/nginx:1.28.0"],
        json_schema_extra=only(*CLOUD),
    )
    oauth2_proxy: Image | None = Field(
        None,
        description="oauth2-proxy, where an identity provider logs users in.",
        examples=["registry.example.com/oauth2-proxy:7.8.1"],
        json_schema_extra=only(*CLOUD),
    )
    database: Image | None = Field(
        None,
        description="CloudNativePG's image of PostgreSQL.",
        examples=["registry.example.com/postgresql:15.14"],
        json_schema_extra=only(*KUBERNETES),
    )
    store: Image | None = Field(
        None,
        description="The artifact store's image.",
        examples=["registry.example.com/versitygw:1.8.0"],
        json_schema_extra=only(*KUBERNETES),
    )


class Monitoring(Section):
    """Who is told when something is wrong."""

    emails: list[Email] = Field(
        [],
        description="Addresses that alarms are sent to; each must confirm a mail of AWS's.",
        examples=["ml-platform@example.com"],
        json_schema_extra=only(*AWS),
    )
    budget_usd: Number | None = Field(
        None,
        gt=0,
        description="What the stack may cost a month, in US dollars; no budget unless given.",
        examples=[900],
        json_schema_extra=only(*AWS),
    )
    namespace: KubernetesName | None = Field(
        None,
        description="Namespace of Prometheus, whose operator must be there; nothing is watched unless given.",
        examples=["monitoring"],
        json_schema_extra=only(*CLOUD),
    )
    labels: dict[str, Text] = Field(
        {},
        description="Labels by which Prometheus finds what it is told.",
        examples=["release: kube-prometheus-stack"],
        json_schema_extra=only(*CLOUD),
    )


class Archive(Section):
    """Base backups and the write-ahead log of a database in a cluster, outside of it: one can go back to any second."""

    bucket: Bucket = Field(
        description="Bucket of S3 that is there.",
        examples=["team-mlflow-archive"],
        json_schema_extra=only(*KUBERNETES),
    )
    prefix: Prefix = Field(
        "",
        description="Path in the bucket below which everything is kept.",
        examples=["production"],
        json_schema_extra=only(*KUBERNETES),
    )
    role_arn: RoleArn = Field(
        description="IAM role that the database's service account takes on (IRSA) to write there.",
        examples=["arn:aws:iam::111122223333:role/mlflow-archive"],
        json_schema_extra=only(*KUBERNETES),
    )
    keep_days: Whole = Field(
        30,
        ge=1,
        le=365,
        description="Days that one can go back to.",
        examples=[30],
        json_schema_extra=only(*KUBERNETES),
    )


class Jobs(Section):
    """One server beside the others that runs MLflow's jobs: evaluations, and scorers on a schedule."""

    memory_mb: Whole | None = Field(
        None,
        ge=budgets.LEAST_JOBS_MB,
        le=1_048_576,
        description="Its memory limit, in MiB; for idle job processes and small jobs "
        f"({budgets.jobs_memory_mb()}) unless given.",
        examples=[4096],
        json_schema_extra=only(*CLOUD),
    )
    cpus: Number = Field(
        2,
        ge=0.1,
        le=256,
        description="Its CPU limit, in cores.",
        examples=[4],
        json_schema_extra=only(*CLOUD),
    )


class Addressing(StrEnum):
    """How requests name a bucket."""

    AUTO = "auto"
    PATH = "path"
    VIRTUAL = "virtual"

    @property
    def style(self) -> str | None:
        """What the endpoint has; None where boto3 decides."""
        return None if self is Addressing.AUTO else self.value


class Dump(Section):
    """Copies of every row of the database, each to a folder of its time in a bucket outside of the cluster.

    What is old is for the bucket's lifecycle rules to delete.
    """

    bucket: Bucket = Field(
        description="Bucket that is there.",
        examples=["team-mlflow-dumps"],
        json_schema_extra=only(*CLOUD),
    )
    prefix: Prefix = Field(
        "",
        description="Path in the bucket below which everything is kept.",
        examples=["production"],
        json_schema_extra=only(*CLOUD),
    )
    region: Text = Field(
        "us-east-1",
        min_length=1,
        description="Region that requests are signed for.",
        examples=["eu-central-1"],
        json_schema_extra=only(*CLOUD),
    )
    endpoint_url: EndpointUrl | None = Field(
        None,
        description="URL of an S3-compatible store; AWS's own S3 unless given.",
        examples=["https://s3.example.com"],
        json_schema_extra=only(*CLOUD),
    )
    addressing: Addressing = Field(
        Addressing.AUTO,
        description="How requests name the bucket: in the `path`, in the host (`virtual`), or as boto3 decides.",
        examples=["virtual"],
        json_schema_extra=only(*CLOUD),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the store's; relative to the project.",
        examples=["store-ca.pem"],
        json_schema_extra=only(*CLOUD),
    )
    role_arn: RoleArn | None = Field(
        None,
        description="IAM role that the copying pod's service account takes on (IRSA) to write there; the secrets "
        "`mlflow:dump_access_key` and `mlflow:dump_secret_key` unless given.",
        examples=["arn:aws:iam::111122223333:role/mlflow-dumps"],
        json_schema_extra=only(*CLOUD),
    )
    schedule: Schedule = Field(
        "0 3 * * *",
        description="When a copy is made, as five fields of cron, in UTC.",
        examples=["0 3 * * *"],
        json_schema_extra=only(*CLOUD),
    )
    scratch_mb: Whole = Field(
        10240,
        ge=64,
        le=10_485_760,
        description="Disk for a copy on its way, in MiB.",
        examples=[20480],
        json_schema_extra=only(*CLOUD),
    )


class Backup(Section):
    """Copies of what the stack has made."""

    keep_days: Whole = Field(
        35,
        ge=7,
        le=400,
        description="Days that daily copies are kept; monthly ones are kept for a year.",
        examples=[35],
        json_schema_extra=only(*AWS),
    )
    copy_region: Region | None = Field(
        None,
        description="Another region that every copy is copied to.",
        examples=["eu-west-1"],
        json_schema_extra=only(*AWS),
    )
    immutable_after_days: Whole | None = Field(
        None,
        ge=3,
        le=36500,
        description="Days after which nobody can take the lock off the copies, AWS included: not to be undone.",
        examples=[7],
        json_schema_extra=only(*AWS),
    )
    test_types: list[TestType] = Field(
        [],
        description="What is restored for a test each week: `RDS`, `Aurora`, `S3`; the database unless given.",
        examples=["RDS"],
        json_schema_extra=only(*AWS),
    )
    gc_days: Whole | None = Field(
        None,
        ge=1,
        le=36500,
        description="Days after which what users deleted is deleted for good; never unless given.",
        examples=[30],
        json_schema_extra=only(*CLOUD),
    )
    dump: Dump | None = Field(
        None,
        description="Copies of the database's rows by schedule, with servers in a cluster; none unless given. They go "
        "into a database of any engine.",
        json_schema_extra=only(*CLOUD),
    )
