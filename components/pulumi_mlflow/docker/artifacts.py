"""An S3-compatible store (versitygw) in a container."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..contracts import ArtifactEndpoint
from ..core import uris
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import container
from .files import FILES_PATH
from .job import DockerJob
from .network import place

PORT = 9000
UID = 10001
REGION = "us-east-1"
"""What versitygw signs for unless told; MLflow and boto3 need some region."""


class DockerArtifactStoreArgs(TypedDict):
    """Arguments of DockerArtifactStore."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the versitygw image."""
    job_image: pulumi.Input[str]
    """Id of the server's image: it makes the bucket."""
    bucket: NotRequired[str]
    """Name of the bucket; `mlflow` unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 256 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerArtifactStore(container.DockerComponent):
    """versitygw over a protected volume, with generated keys in protected state and its bucket made."""

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """For consumers in the same network; known once the bucket is there."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` needs; no secrets."""

    def __init__(
        self,
        name: str,
        args: DockerArtifactStoreArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        bucket = args.get("bucket", "mlflow")
        guard = DataGuard(
            self._child("guard"),
            {"mlflow:artifacts.bucket": bucket},
            "artifacts are in the old bucket. Dump first (`make dump`), remove the stack with its data "
            "(`make down PURGE=1`), change the setting, `make up`, `make restore`",
            self._opts(),
        )
        access = GeneratedSecret(self._child("access-key"), 20, self._opts())
        secret = GeneratedSecret(self._child("secret-key"), 40, self._opts())
        data = self._volume(
            "data",
            self._physical("versitygw"),
            protect=True,
            opts=pulumi.ResourceOptions(depends_on=[guard]),
        )
        files = self._files(
            {
                "env/ROOT_ACCESS_KEY": access.value,
                "env/ROOT_SECRET_KEY": secret.value,
                # The same for the job that makes the bucket: boto3 knows only these names.
                "env/AWS_ACCESS_KEY_ID": access.value,
                "env/AWS_SECRET_ACCESS_KEY": secret.value,
            },
            args["image"],
            UID,
        )
        host = self._physical()
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
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
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                health=container.Health(
                    ["wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}/health"]
                ),
                memory_mb=args.get("memory_mb", 256),
                volumes=[docker.ContainerVolumeArgs(volume_name=data.name, container_path="/data")],
            ),
        )
        job = {
            "name": self._physical("bucket"),
            "image": args["job_image"],
            "command": ["python", "/opt/pulumi-mlflow/boot.py", "bucket"],
            "environment": {
                "BUCKET": bucket,
                "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{PORT}",
                "AWS_DEFAULT_REGION": REGION,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            "volumes": files.volume.apply(lambda held: {held: f"{FILES_PATH}:ro"}),
            "network": args["network"],
            "labels": self._labels(),
            "timeout": 120,
        }
        made = DockerJob(
            self._child("bucket"),
            job,
            {"volume": data.name},
            self._opts(depends_on=[healthy]),
        )
        self.endpoint = ArtifactEndpoint(
            component=name,
            reach=[place(self._deployment)],
            uri=container.once(made, uris.artifact_uri("versitygw", bucket)),
            endpoint_url=container.once(healthy, f"http://{host}:{PORT}"),
            region=REGION,
            access_key=access.value,
            secret_key=secret.value,
        )
        self.ops = pulumi.Output.all(
            bucket=bucket,
            endpoint_url=self.endpoint["endpoint_url"],
            region=REGION,
            volume=data.name,
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})
