"""The MLflow server's command line and environment.

The server is uvicorn, MLflow's default: it serves the FastAPI routes (OTLP traces, artifact streams) natively, which
gunicorn either lacks or sends through Flask.

Names of options and variables are those of MLflow 3.17.2 (`mlflow/cli`, `mlflow/environment_variables.py`); a test
compares them with the installed MLflow.
"""

import glob
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import outgoing

HEALTH_PATH = "/health"
"""Answers 200 while the process lives. Touches no database, needs no login, takes any Host."""

READY_PATH = "/api/2.0/mlflow/experiments/search?max_results=1"
"""Answers 200 while the server can read its database, and an error soon after it cannot.

Not `/api/3.0/mlflow/server-info`: in 3.17.2 it reports settings without a query. Goes through Flask's threads, so
that it also fails while they are all taken; checks the Host header.
"""

_POOL_RECYCLE_SECONDS = 1800
"""Oldest connection that is used again. MLflow pings each one before use, which finds closed ones; this also leaves a
server that a failover demoted, and stays under MySQL's `wait_timeout` (8 h)."""

_FALLBACK_REGION = "us-east-1"
"""Signatures need some region; this is the default of S3-compatible stores."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


ADDRESSING = "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"
"""MLflow's variable for how requests name the bucket; our own programs in the image read it too."""

ADDRESSINGS = ("path", "virtual")


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with, secrets aside.

    Attributes:
        host: address to listen on.
        port: TCP port to listen on.
        workers: processes that serve requests.
        allowed_hosts: Host headers that are answered, from `allowed_hosts`.
        artifacts_destination: where the server keeps artifacts, from `uris.artifact_uri`.
        pool_size: database connections that each pool of a worker keeps open.
        max_overflow: connections that it may open beyond those; at least 1, since MLflow ignores 0.
        scratch_dir: folder on disk that whole artifacts are spooled to on their way to and from S3.
        s3_endpoint_url: URL of an S3-compatible store; empty for S3 itself and for folders.
        s3_region: region that requests are signed for; empty for the store's default.
        s3_addressing: `path` or `virtual`, how requests name the bucket; empty where boto3 decides.
        s3_ca_path: file with the certificate authority of the store; empty for the usual ones.
        prometheus_dir: folder that workers share metrics through; empty for no `/metrics`.
        artifact_mode: `proxied`: clients send artifacts through the server; `direct`: clients use the store themselves,
            and the server only shows artifacts in its pages.
        own_users: whether MLflow itself asks who is there, see `auth.files`.
        jobs: whether it runs jobs (evaluations, scorers on a schedule); at most one server of a database may.
        app: MLflow's name of the app that is run; its own unless given.
    """

    host: str
    port: int
    workers: int
    allowed_hosts: tuple[str, ...]
    artifacts_destination: str
    pool_size: int
    max_overflow: int
    scratch_dir: str
    s3_endpoint_url: str = ""
    s3_region: str = ""
    s3_addressing: str = ""
    s3_ca_path: str = ""
    prometheus_dir: str = ""
    artifact_mode: str = "proxied"
    own_users: bool = False
    jobs: bool = False
    app: str = ""


def server_argv(settings: ServerSettings, mlflow: str = "mlflow") -> list[str]:
    """The command that runs the server; holds no secret and no database URI.

    Args:
        settings: what to run.
        mlflow: the `mlflow` program, a name on PATH or a path.
    """
    argv = [
        mlflow,
        "server",
        "--host",
        settings.host,
        "--port",
        str(settings.port),
        "--workers",
        str(settings.workers),
        *_artifact_argv(settings),
    ]
    if settings.prometheus_dir:
        argv += ["--expose-prometheus", settings.prometheus_dir]
    if app := "basic-auth" if settings.own_users else settings.app:
        argv += ["--app-name", app]
    return argv


def _artifact_argv(settings: ServerSettings) -> list[str]:
    """Where artifacts go.

    Raises:
        ValueError: unknown mode.
    """
    if settings.artifact_mode not in ("proxied", "direct"):
        raise ValueError(
            f"artifact_mode: must be proxied or direct (got {settings.artifact_mode!r})"
        )
    if settings.artifact_mode == "direct":
        return ["--no-serve-artifacts", "--default-artifact-root", settings.artifacts_destination]
    return ["--artifacts-destination", settings.artifacts_destination]


def server_environment(settings: ServerSettings) -> dict[str, str]:
    """Variables of the server that are no secrets.

    Raises:
        ValueError: `max_overflow` is one that MLflow ignores.
    """
    if settings.max_overflow < 1:
        # mlflow.store.db.utils.create_sqlalchemy_engine skips a 0; SQLAlchemy's default is then 10.
        raise ValueError(f"max_overflow: must be ≥ 1 (got {settings.max_overflow})")
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Eight more processes (0.9 GB) that evaluate traces and the like, and fit for one replica only.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true" if settings.jobs else "false",
        **outgoing.VARIABLES,
        # Each of a worker's threads would get an arena of its own, of which glibc gives nothing back: four uploads at
        # once took 150 MB and kept 135 of them; now it is 75, given back.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        # uvicorn ends a worker that has not answered for 5 s. On a busy machine its imports alone take longer: workers
        # were started and ended for ever (seen at a load of 20 on 2 cores).
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "30",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(settings.pool_size),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(settings.max_overflow),
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": str(_POOL_RECYCLE_SECONDS),
        "TMPDIR": settings.scratch_dir,
    }
    environment |= s3_environment(
        settings.s3_endpoint_url, settings.s3_region, settings.s3_ca_path, settings.s3_addressing
    )
    return environment


def s3_environment(
    endpoint_url: str, region: str, ca_path: str = "", addressing: str = ""
) -> dict[str, str]:
    """Variables by which MLflow and boto3 find a store that speaks S3, keys aside.

    Args:
        endpoint_url: URL of an S3-compatible store; empty for S3 itself and for other kinds of store.
        region: region that requests are signed for; empty for the default.
        ca_path: file with the certificate authority of the store; empty for the usual ones.
        addressing: `path` or `virtual`, how requests name the bucket; empty where boto3 decides.

    Raises:
        ValueError: an addressing that is none.
    """
    if addressing not in ("", *ADDRESSINGS):
        raise ValueError(f"addressing: must be {' or '.join(ADDRESSINGS)} (got {addressing!r})")
    environment = {"AWS_CA_BUNDLE": ca_path} if ca_path else {}
    if addressing:
        environment[ADDRESSING] = addressing
    if not endpoint_url:
        return {**environment, **({"AWS_DEFAULT_REGION": region} if region else {})}
    return {
        **environment,
        "MLFLOW_S3_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": region or _FALLBACK_REGION,
        # boto3 from 1.36 on adds checksums that other stores refuse or mangle.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        # The keys of such a store are static: never wait for, or use, those of the machine.
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def secret_environment(
    database_uri: str, kek: str, access_key: str = "", secret_key: str = "", read_uri: str = ""
) -> dict[str, str]:
    """Variables of the server that are secrets.

    Args:
        database_uri: from `uris.database_uri`.
        kek: passphrase that encrypts the secrets in MLflow's database. Without one MLflow takes a default that
            everybody knows.
        access_key: static key of the artifact store; empty with workload identity and for folders.
        secret_key: its secret half.
        read_uri: as `database_uri`, of a replica that searches are sent to; empty for none. It lags behind.

    Raises:
        ValueError: no passphrase, or half a key.
    """
    if not kek:
        raise ValueError("kek: must not be empty, or MLflow uses its public default")
    if bool(access_key) != bool(secret_key):
        raise ValueError("access_key, secret_key: must be given together")
    environment = {"MLFLOW_BACKEND_STORE_URI": database_uri, "MLFLOW_CRYPTO_KEK_PASSPHRASE": kek}
    if access_key:
        environment |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    if read_uri:
        environment["MLFLOW_READ_REPLICA_BACKEND_STORE_URI"] = read_uri
    return environment


def allowed_hosts(names: Iterable[str]) -> tuple[str, ...]:
    """Host headers to answer: each name with and without a port, and this machine's own names.

    MLflow compares the whole header, port included, and the port that clients see may be a proxy's.

    Args:
        names: host names, addresses (IPv6 with or without brackets) and patterns such as `*.example.com`.

    Returns:
        Entries of `MLFLOW_SERVER_ALLOWED_HOSTS`, sorted and unique.

    Raises:
        ValueError: a name would allow every host, or is none.
    """
    hosts = {_host(name) for name in (*_LOOPBACK, *names)}
    # An entry with a `*` is an fnmatch pattern, where the brackets of IPv6 would be a set of characters.
    return tuple(sorted({*hosts, *(f"{_escaped(host)}:*" for host in hosts)}))


def _host(name: str) -> str:
    """A name as clients write it in the Host header."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        host = name.lower()
        if not re.fullmatch(r"[a-z0-9*_.-]*[a-z0-9][a-z0-9*_.-]*", host):
            raise ValueError(
                f"allowed host: must be a host name, an address or a pattern such as *.example.com (got {name!r})"
            ) from None
        return host
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6


def _escaped(host: str) -> str:
    return glob.escape(host) if host.startswith("[") else host
