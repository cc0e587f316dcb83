"""How the stores that we run are started: the same in every runtime that runs containers."""

import base64
from typing import NamedTuple

from . import server

PORT = 9000
CONSOLE_PORT = 9001

REGION = "us-east-1"
"""What our stores sign for; MLflow and boto3 need some region."""


class StoreProgram(NamedTuple):
    """How a store's container is run."""

    command: list[str]
    check: list[str]
    """Asks it whether it lives."""
    data_path: str
    """Where it keeps the objects."""
    environment: dict[str, str]
    """Without secrets; those come by files."""
    health_path: str
    """Answers 200 while it lives, without keys."""


def store_program(store: str, expire_multipart_days: int | None = None) -> StoreProgram:
    """How the container of a store is run.

    Args:
        store: `versitygw` or `minio`.
        expire_multipart_days: days after which unfinished uploads are removed; the store's own unless given.

    Raises:
        ValueError: not a store that we run.
    """
    if store == "versitygw":
        return StoreProgram(
            command=[
                "versitygw",
                "--port",
                f":{PORT}",
                "--region",
                REGION,
                "--health",
                "/health",
                "posix",
                "/data",
            ],
            check=["wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}/health"],
            data_path="/data",
            environment={},
            health_path="/health",
        )
    if store == "minio":
        data_path = "/var/lib/minio"
        stale = {"MINIO_API_STALE_UPLOADS_EXPIRY": f"{24 * (expire_multipart_days or 1)}h"}
        return StoreProgram(
            command=[
                "minio",
                "server",
                "--address",
                f":{PORT}",
                "--console-address",
                f":{CONSOLE_PORT}",
                data_path,
            ],
            check=["curl", "-fsS", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/minio/health/live"],
            data_path=data_path,
            environment={
                "HOME": "/tmp",  # noqa: S108 - in the container; looks for certificates there
                "MINIO_REGION": REGION,
                **(stale if expire_multipart_days else {}),
            },
            health_path="/minio/health/live",
        )
    raise ValueError(f"store: must be versitygw or minio (got {store!r})")


def store_files(store: str, access: str, secret: str, kms: str = "") -> dict[str, str]:
    """Secrets of a store's container, and of the job that makes its bucket: path below `FILES_PATH` → content.

    Args:
        store: `versitygw` or `minio`.
        access: access key.
        secret: secret key.
        kms: 32 characters that MinIO encrypts objects with; empty for none.
    """
    names = {
        "versitygw": ("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"),
        "minio": ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    }[store]
    files = {
        f"env/{names[0]}": access,
        f"env/{names[1]}": secret,
        # The same for the job: boto3 knows only these names.
        "env/AWS_ACCESS_KEY_ID": access,
        "env/AWS_SECRET_ACCESS_KEY": secret,
    }
    if kms:
        encoded = base64.b64encode(kms.encode()).decode()
        files["env/MINIO_KMS_SECRET_KEY"] = f"pulumi-mlflow:{encoded}"
    return files


def store_environment(
    uri: str, endpoint_url: str = "", region: str = "", ca_path: str = "", addressing: str = ""
) -> dict[str, str]:
    """Variables by which the server image's `server_image.ARTIFACTS` finds a store, keys aside.

    Args:
        uri: where artifacts are kept.
        endpoint_url: URL of an S3-compatible store; empty for S3 itself and for folders.
        region: region that requests are signed for.
        ca_path: file with the certificate of the store's authority.
        addressing: `path` or `virtual`; empty where boto3 decides.
    """
    s3 = server.s3_environment(endpoint_url, region, ca_path, addressing)
    return {"ARTIFACTS_URI": uri, "TMPDIR": "/tmp", **s3}  # noqa: S108 - in the container
