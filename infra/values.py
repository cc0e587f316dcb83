"""What one value of a setting must be: types with checks, each error with the rule that it breaks."""

import ipaddress
import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from problems import Rule
from pulumi_mlflow.core import alb, aws_database, cron, proxy, uris, urls

MLFLOW_VERSION = "3.17.2"
"""The version that this release is made for: options, migrations and memory differ from version to version."""

EXAMPLE_HOST = "mlflow.example.com"
EXAMPLE_ISSUER = "https://login.example.com/realms/team"
EXAMPLE_CERTIFICATE = (
    "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d-0000-4000-8000-000000000000"
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1
_LOGIN = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
_OBJECT_URI = re.compile(
    r"gs://[a-z0-9][a-z0-9._-]{1,220}(/[\w!.*'()-]+)*/?"
    r"|wasbs://[a-z0-9-]+@[a-z0-9]+\.blob\.core\.windows\.net(/[\w!.*'()-]+)*/?"
    r"|abfss://[a-z0-9-]+@[a-z0-9]+\.dfs\.core\.windows\.net(/[\w!.*'()-]+)*/?",
    re.ASCII,
)
_WHOLE = re.compile(r"-?\d{1,18}")

_SYSTEM_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr")
_SHARED_FOLDERS = (
    "/",
    "/home",
    "/root",
    "/tmp",  # noqa: S108 - refused, not used
    "/var",
    "/opt",
    "/srv",
    "/mnt",
    "/media",
    "/Users",
)


def _refuse(rule: Rule, message: str, mend: str | int | None = None) -> PydanticCustomError:
    """The error of one of our rules.

    Args:
        rule: the rule.
        message: what the value must be.
        mend: a right value made from the wrong one; without it the mend is the key's example.
    """
    return PydanticCustomError(rule.value, "{message}", {"message": message, "mend": mend})


def _whole(value: Any) -> Any:
    """`pulumi config set` writes digits of a nested key as a number and of a top-level key as text."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(Rule.WRONG_TYPE, "must be a whole number")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refuse(Rule.WRONG_TYPE, "must be a number")
    return value


def _text(value: Any) -> Any:
    """Digits are text too: `pulumi config set --path` writes them as a number, and nobody quotes a version."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _refuse(Rule.WRONG_TYPE, "must be text, in quotes if it looks like a number")
    return value


def _pinned(value: str) -> str:
    if value.strip().lower() == "latest":
        raise _refuse(Rule.LATEST, "must be a version, and 'latest' is another one tomorrow")
    return value


def _this_release(value: str) -> str:
    if value != MLFLOW_VERSION:
        raise _refuse(
            Rule.TRACKING_VERSION, f"must be {MLFLOW_VERSION}, which this release is made for"
        )
    return value


def _is_host(text: str) -> bool:
    labels = text.lower().split(".")
    return urls.is_address(text) or (
        len(text) <= 253  # noqa: PLR2004 - RFC 1035, 2.3.4, without length bytes
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()  # what ends in a number is an address, and no right one
    )


def _check_host(rule: Rule, value: str) -> str:
    if _is_host(value):
        return value
    bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://|[:/].*$", "", value.strip())
    raise _refuse(
        rule,
        "must be a host name or address alone, such as mlflow.example.com, "
        + ("and '*' would be every one" if "*" in value else "without scheme, port or path"),
        bare if _is_host(bare) else EXAMPLE_HOST,
    )


def _allowed_host(value: str) -> str:
    return _check_host(Rule.ALLOWED_HOST, value)


def _public_host(value: str) -> str:
    return _check_host(Rule.PUBLIC_HOST, value)


def _bind(value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"  # Docker publishes on addresses, not on names
    if not urls.is_address(value) or ipaddress.ip_address(value).is_multicast or "%" in value:
        raise _refuse(Rule.BIND, "must be an IP address of the machine that publishes the port")
    return value


def _port(value: int) -> int:
    if not 1 <= value <= 65535:  # noqa: PLR2004 - 16 bits
        raise _refuse(Rule.PORT, "must be a port, 1-65535")
    return value


def _login_name(value: str) -> str:
    if not _LOGIN.fullmatch(value):
        raise _refuse(
            Rule.LOGIN_NAME,
            "must be 1-64 letters, digits or . _ @ + - (':' ends a name in htpasswd)",
        )
    return value


def _database_name(value: str) -> str:
    return _as_it_is(Rule.DATABASE_NAME, value)


def _database_user(value: str) -> str:
    return _as_it_is(Rule.DATABASE_USER, value)


def _as_it_is(rule: Rule, value: str) -> str:
    """A name that may exist already; what we may make is judged in rules/database.py, which knows."""
    if not value.isprintable() or not value or value != value.strip():
        raise _refuse(rule, "must be printable characters, with none that is blank at either end")
    return value


def _search_path(value: str) -> str:
    try:
        return uris.check_search_path(value)
    except ValueError:
        raise _refuse(
            Rule.SEARCH_PATH,
            "must be names of schemas between commas, in double quotes where they are not plain",
            "mlflow",
        ) from None


def _overflow(value: int) -> int:
    if value < 1:
        raise _refuse(
            Rule.MAX_OVERFLOW_ZERO, "must be ≥ 1, since MLflow ignores 0 and takes its default, 10"
        )
    return value


def _bucket(value: str) -> str:
    problem = uris.check_bucket(value)
    if problem:
        raise _refuse(Rule.BUCKET_NAME, problem)
    return value


def _data_dir(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or "\0" in value:
        raise _refuse(
            Rule.DATA_DIR_RELATIVE, "must be an absolute path without '..' ('~' is not expanded)"
        )
    mine = len(path.parts) == 3 and path.parts[1] in ("home", "Users")  # noqa: PLR2004 - /home/ada
    if mine or str(path) in _SHARED_FOLDERS or str(path).startswith("//"):
        raise _refuse(Rule.DATA_DIR_UNSAFE, "must be a folder of its own: a purge deletes it")
    if any(path.is_relative_to(tree) for tree in _SYSTEM_TREES):
        raise _refuse(Rule.DATA_DIR_UNSAFE, "must not lie in a folder of the system")
    if re.search(r"[%?]", value):
        raise _refuse(
            Rule.DATA_DIR_UNSAFE, "must not hold % or ?, which MLflow takes for a part of a URI"
        )
    return value


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise _refuse(Rule.REGION, "must be an AWS region, such as eu-central-1")
    return value


def _vpc_cidr(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        network = ipaddress.IPv4Network("0.0.0.0/0")
    if not network.is_private or not 16 <= network.prefixlen <= 24:  # noqa: PLR2004 - see the message
        raise _refuse(
            Rule.VPC_CIDR,
            "must be a private IPv4 block from /16 (AWS's largest) to /24 (room for our subnets)",
        )
    return value


def _namespace(value: str) -> str:
    if not _LABEL.fullmatch(value) or value == "default" or value.startswith("kube-"):
        raise _refuse(
            Rule.NAMESPACE,
            "must be a DNS label (a-z, 0-9, -, at most 63 characters), and none of Kubernetes' own",
        )
    return value


def _database_host(value: str) -> str:
    return _check_host(Rule.DATABASE_HOST, value)


def _nfs_server(value: str) -> str:
    return _check_host(Rule.NFS, value)


def _nfs_path(value: str) -> str:
    if not value.startswith("/") or re.search(r"[\s,:]", value):
        raise _refuse(Rule.NFS, "must be an absolute path without spaces, commas and colons")
    return value


def _nfs_options(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+(=[\w.:-]+)?(,[a-z0-9_]+(=[\w.:-]+)?)*", value):
        raise _refuse(Rule.NFS, "must be mount options between commas, such as rw,nfsvers=4.2")
    return value


def _email_domain(value: str) -> str:
    return _check_host(Rule.EMAIL_DOMAIN, value)


def _url(rule: Rule, value: str, *, path: bool, mend: str) -> str:
    """An http(s) URL with a host, and nothing that a log should not show."""
    parts = urlsplit(value)
    try:
        good = (
            parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
        )
    except ValueError:
        good = False
    rest = parts.query or parts.fragment or parts.username or parts.password
    if not good or rest or (parts.path.strip("/") and not path):
        raise _refuse(
            rule,
            "must be a URL with http:// or https:// and a host"
            + (", without login and query" if path else ", without login, path and query"),
            mend,
        )
    return value.rstrip("/") if not path else value


def _endpoint_url(value: str) -> str:
    return _url(Rule.ENDPOINT_URL, value, path=False, mend="https://s3.example.com")


def _public_url(value: str) -> str:
    return _url(Rule.PUBLIC_URL, value, path=False, mend="http://172.17.0.1:9000")


def _front_url(value: str) -> str:
    return _url(Rule.FRONT_URL, value, path=False, mend=f"https://{EXAMPLE_HOST}")


def _html_source(value: str) -> str:
    if proxy.check_html_source(value):
        raise _refuse(
            Rule.HTML_SOURCE,
            "must be https:// and a host's full name, without path and wildcards",
            "https://cdn.jsdelivr.net",
        )
    return value


def _https_url(value: str) -> str:
    if alb.check_endpoint(value):
        raise _refuse(Rule.PROVIDER_URL, "must be a URL with https://")
    return _url(Rule.PROVIDER_URL, value, path=True, mend=EXAMPLE_ISSUER)


def _issuer(value: str) -> str:
    url = _url(Rule.OIDC_ISSUER, value, path=True, mend=EXAMPLE_ISSUER)
    host = urlsplit(url).hostname or ""
    private = urls.is_address(host) and not ipaddress.ip_address(host).is_global
    if url.startswith("http://") and not (private or "." not in host):
        raise _refuse(
            Rule.OIDC_ISSUER,
            "must be https:// unless the provider is in a private network",
            "https://" + url.removeprefix("http://"),
        )
    return url


def _prefix(value: str) -> str:
    try:
        uris.artifact_uri("s3", "mlflow", value)
    except ValueError:
        raise _refuse(
            Rule.PREFIX, "must be letters, digits and !-_.*'() between slashes", "mlflow"
        ) from None
    return value.strip("/")


def _artifact_uri(value: str) -> str:
    if not _OBJECT_URI.fullmatch(value):
        raise _refuse(
            Rule.ARTIFACT_URI,
            "must be gs://bucket/path, wasbs://container@account.blob.core.windows.net/path or "
            "abfss://container@account.dfs.core.windows.net/path",
        )
    return value


def _docker_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,127}", value, re.ASCII):
        raise _refuse(
            Rule.NETWORK_NAME, "must be the name of a Docker network (letters, digits, _.-)"
        )
    if value in ("host", "none", "bridge", "default"):
        raise _refuse(
            Rule.NETWORK_NAME,
            "must be a network of its own, since Docker's built-in ones have no DNS",
        )
    return value


def _encrypted(value: Any) -> Any:
    """What `pulumi config set --secret` wrote comes as a SecretStr, anything else stands there in plain."""
    if not isinstance(value, SecretStr):
        raise _refuse(Rule.SECRET_PLAIN, "stands unencrypted in the file")
    if not value.get_secret_value():
        raise _refuse(Rule.SECRET_PLAIN, "must not be empty")
    return value


def _flag(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise _refuse(Rule.WRONG_TYPE, "must be true or false")


_AWS_ID = re.compile(r"(vpc|subnet|sg|vpce|pl)-[0-9a-f]{8,17}")
_HOSTED_ZONE = re.compile(r"Z[A-Z0-9]{5,31}")
_CERTIFICATE = re.compile(
    r"arn:aws[a-z-]*:(acm|iam):[a-z0-9-]*:\d{12}:(server-)?certificate/[\w/.-]+", re.ASCII
)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_ZONE = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}[a-z]")
_EMAIL = re.compile(r"[\w.+-]{1,64}@([A-Za-z0-9-]+\.)+[A-Za-z]{2,63}", re.ASCII)
_STACK = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # RFC 1123, names of objects
_IMAGE = re.compile(
    r"[a-z0-9][\w.:/-]*?(:[\w][\w.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})", re.ASCII
)


def _aws_name(kind: str, value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise _refuse(Rule.AWS_ID, f"must be {kind}")
    return value


def _aws_id(value: str) -> str:
    return _aws_name(
        "an id of AWS, such as vpc-, subnet-, sg-, vpce- or pl-0a1b2c3d", value, _AWS_ID
    )


def _hosted_zone(value: str) -> str:
    return _aws_name("the id of a hosted zone, such as Z0123456789ABCDEFGHIJ", value, _HOSTED_ZONE)


def _certificate_arn(value: str) -> str:
    return _aws_name("the ARN of a certificate, arn:aws:acm:…", value, _CERTIFICATE)


def _role_arn(value: str) -> str:
    return _aws_name("the ARN of a role, arn:aws:iam::…:role/…", value, _ROLE)


def _user_pool(value: str) -> str:
    try:
        alb.cognito_issuer(value)
    except ValueError:
        raise _refuse(Rule.AWS_ID, "must be the ARN of a Cognito user pool") from None
    return value


def _zone(value: str) -> str:
    return _aws_name("an availability zone, such as eu-central-1a", value, _ZONE)


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise _refuse(Rule.EMAIL, "must be a mail address")
    return value


def _stack_name(value: str) -> str:
    if not _STACK.fullmatch(value):
        raise _refuse(
            Rule.STACK_NAME,
            "must be organization/project/stack (the organization is 'organization' in a backend of your own)",
        )
    return value


def _kubernetes_name(value: str) -> str:
    if not _SUBDOMAIN.fullmatch(value):
        raise _refuse(Rule.KUBERNETES_NAME, "must be a-z, 0-9, - and ., as names of objects are")
    return value


def _image(value: str) -> str:
    if not _IMAGE.fullmatch(value) or re.search(r":latest(@|$)", value):
        raise _refuse(
            Rule.IMAGE,
            "must end in a tag that is not latest, or in a digest, or tomorrow it is another one",
        )
    return value


def _block(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError:
        raise _refuse(
            Rule.BLOCK, "must be a block of IPv4 addresses, such as 203.0.113.0/24"
        ) from None


def _schedule(value: str) -> str:
    if reason := cron.check(value):
        raise _refuse(Rule.SCHEDULE, reason.removesuffix(f" (got {value!r})"))
    return value


def _instance_class(value: str) -> str:
    try:
        aws_database.memory_mb(value)
    except ValueError:
        raise _refuse(
            Rule.INSTANCE_CLASS, "must be a class of RDS, such as db.t4g.large or db.r7g.xlarge"
        ) from None
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Secret = Annotated[SecretStr, BeforeValidator(_encrypted)]
Number = Annotated[float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
Version = Annotated[Text, AfterValidator(_pinned)]
AllowedHost = Annotated[Text, AfterValidator(_allowed_host)]
ArtifactUri = Annotated[Text, AfterValidator(_artifact_uri)]
Bind = Annotated[Text, AfterValidator(_bind)]
Bucket = Annotated[Text, AfterValidator(_bucket)]
DataDir = Annotated[Text, AfterValidator(_data_dir)]
DatabaseHost = Annotated[Text, AfterValidator(_database_host)]
DatabaseName = Annotated[Text, AfterValidator(_database_name)]
DatabaseUser = Annotated[Text, AfterValidator(_database_user)]
DockerName = Annotated[Text, AfterValidator(_docker_name)]
EmailDomain = Annotated[Text, AfterValidator(_email_domain)]
EndpointUrl = Annotated[Text, AfterValidator(_endpoint_url)]
FrontUrl = Annotated[Text, AfterValidator(_front_url)]
Issuer = Annotated[Text, AfterValidator(_issuer)]
LoginName = Annotated[Text, AfterValidator(_login_name)]
Namespace = Annotated[Text, AfterValidator(_namespace)]
NfsOptions = Annotated[Text, AfterValidator(_nfs_options)]
NfsPath = Annotated[Text, AfterValidator(_nfs_path)]
NfsServer = Annotated[Text, AfterValidator(_nfs_server)]
Overflow = Annotated[Whole, AfterValidator(_overflow)]
Port = Annotated[Whole, AfterValidator(_port)]
Prefix = Annotated[Text, AfterValidator(_prefix)]
PublicHost = Annotated[Text, AfterValidator(_public_host)]
PublicUrl = Annotated[Text, AfterValidator(_public_url)]
Region = Annotated[Text, AfterValidator(_region)]
ThisRelease = Annotated[Version, AfterValidator(_this_release)]
VpcCidr = Annotated[Text, AfterValidator(_vpc_cidr)]
AwsId = Annotated[Text, AfterValidator(_aws_id)]
HostedZone = Annotated[Text, AfterValidator(_hosted_zone)]
CertificateArn = Annotated[Text, AfterValidator(_certificate_arn)]
RoleArn = Annotated[Text, AfterValidator(_role_arn)]
UserPool = Annotated[Text, AfterValidator(_user_pool)]
Zone = Annotated[Text, AfterValidator(_zone)]
Email = Annotated[Text, AfterValidator(_email)]
SearchPath = Annotated[Text, AfterValidator(_search_path)]
Schedule = Annotated[Text, AfterValidator(_schedule)]
StackName = Annotated[Text, AfterValidator(_stack_name)]
KubernetesName = Annotated[Text, AfterValidator(_kubernetes_name)]
Image = Annotated[Text, AfterValidator(_image)]
Block = Annotated[Text, AfterValidator(_block)]
InstanceClass = Annotated[Text, AfterValidator(_instance_class)]
HtmlSource = Annotated[Text, AfterValidator(_html_source)]
HttpsUrl = Annotated[Text, AfterValidator(_https_url)]
