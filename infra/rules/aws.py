"""Rules over what an AWS account needs."""

from cloud_models import Login, Nat, TestType
from models import Settings
from pulumi_mlflow.contracts import AuthMode


def login(settings: Settings) -> Login | None:
    """Who logs browsers in; None where no provider does."""
    aws, access = settings.aws, settings.access
    if aws is None or not access.auth.by_provider:
        return None
    if aws.login:
        return aws.login
    if access.auth is not AuthMode.OIDC:
        return Login.PROXY
    if aws.cognito:
        return Login.ALB
    oidc = access.oidc
    if oidc is None or oidc.allowed_groups or oidc.email_domains or oidc.ca_file:
        return Login.PROXY
    known = oidc.authorization_endpoint and oidc.token_endpoint and oidc.user_info_endpoint
    return Login.ALB if known else Login.PROXY


def nat(settings: Settings) -> Nat:
    """How a new VPC's private subnets reach the Internet: an identity provider must be reached."""
    if settings.aws and settings.aws.nat:
        return settings.aws.nat
    return Nat.SINGLE if settings.access.auth.by_provider else Nat.NONE


def backed_up(settings: Settings) -> list[TestType]:
    """Kinds of what the stack makes and backs up."""
    found = []
    if settings.database.existing is None:
        found.append(TestType.AURORA if settings.database.aurora else TestType.RDS)
    if settings.artifacts.existing is None:
        found.append(TestType.S3)
    return found


def tested(settings: Settings) -> list[str]:
    """Kinds that are restored for a test each week: as told, else the database, else the bucket."""
    chosen = settings.backup.test_types if settings.backup else []
    return [kind.value for kind in chosen or backed_up(settings)[:1]]
