"""The MLflow server as a supervised process of this machine."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired, Optional, TypedDict

import pulumi

from .. import endpoints
from ..component import MlflowComponent
from ..contracts import (
    ArtifactEndpoint,
    AuthMode,
    DatabaseEndpoint,
    Engine,
    Scope,
    TrackingEndpoint,
    require_reach,
)
from ..core import budgets, server, urls
from ..generated import GeneratedSecret
from . import app
from .process import ServerProcess
from .processes import SERVER_FOLDER

_DEFAULTS = {
    "bind": "127.0.0.1",
    "port": 5000,
    "workers": 2,
    "allowed_hosts": [],
    "pool_size": budgets.POOL_SIZE,
    "max_overflow": budgets.MAX_OVERFLOW,
}


class LocalTrackingServerArgs(TypedDict):
    """Arguments of LocalTrackingServer."""

    data_dir: pulumi.Input[str]
    """Absolute folder of the stack's data; configuration, logs and scratch are kept in its `server/`."""
    database: DatabaseEndpoint
    """Any database that this machine reaches."""
    artifacts: ArtifactEndpoint
    """Any artifact store that this machine reaches."""
    bind: NotRequired[pulumi.Input[str]]
    """Address to listen on; 127.0.0.1 unless told."""
    port: NotRequired[pulumi.Input[int]]
    """TCP port to listen on; 5000 unless told."""
    workers: NotRequired[pulumi.Input[int]]
    """Worker processes, about 200 MB each; 2 unless told."""
    allowed_hosts: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Names besides localhost under which users reach the server."""
    pool_size: NotRequired[pulumi.Input[int]]
    """Database connections that each worker keeps; 5 unless told."""
    max_overflow: NotRequired[pulumi.Input[int]]
    """Database connections that each worker opens besides under load; 35 unless told."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless told."""


class LocalTrackingServer(MlflowComponent):
    """MLflow under supervisord: restarted when it crashes, healed by `up`, without authentication.

    Attributes:
        endpoint: the server, reachable from this machine only.
        ops: what `local.backup` needs; no secrets.

    Raises:
        UnreachableEndpointError: this machine does not reach the database or the artifact store.
    """

    endpoint: TrackingEndpoint
    ops: pulumi.Output[dict[str, str]]

    _role = "tracking"

    def __init__(
        self,
        name: str,
        args: LocalTrackingServerArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        for given in (args["database"], args["artifacts"]):
            require_reach(name, Scope.HOST.place(), given["component"], given["reach"])
        kek = GeneratedSecret(self._child("kek"), opts=self._opts())
        process = ServerProcess(
            self._child("server"), _spec(args, self._deployment, kek.value), self._opts()
        )
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[Scope.HOST.place()],
            internal_url=process.url,
            public_url=process.url,
            health_path=server.HEALTH_PATH,
            ready_path=server.READY_PATH,
            auth_mode=AuthMode.NONE.value,
        )
        self.ops = _ops(args, process)
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})


def _spec(
    args: LocalTrackingServerArgs, deployment: str, kek: pulumi.Input[str]
) -> dict[str, pulumi.Input[Any]]:
    """The fields of `supervision.Spec`."""
    database, artifacts = args["database"], args["artifacts"]
    plain = pulumi.Output.all(
        data_dir=args["data_dir"],
        destination=artifacts["uri"],
        s3_endpoint_url=artifacts.get("endpoint_url", ""),
        s3_region=artifacts.get("region", ""),
        s3_addressing=artifacts.get("addressing", ""),
        artifacts_ca=artifacts.get("ca", ""),
        **{key: args.get(key, default) for key, default in _DEFAULTS.items()},
    ).apply(_plain)
    folder = plain["folder"]
    secrets = endpoints.server_secrets(database, artifacts, kek, folder)
    return {
        **{key: plain[key] for key in ("folder", "argv", "environment", "bind", "port", "url")},
        "deployment": deployment,
        "version": version("mlflow"),
        "secrets": secrets,
        "certificates": endpoints.certificates(database, artifacts),
        "health_path": server.HEALTH_PATH,
        "ready_path": server.READY_PATH,
        "database_file": database["database"] if database["engine"] == Engine.SQLITE.value else "",
    }


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """Everything about the server that is no secret."""
    folder = Path(given["data_dir"]).resolve() / SERVER_FOLDER
    bind, port = given["bind"], int(given["port"])
    host = urls.url_host(bind)
    settings = server.ServerSettings(
        host=bind,
        port=port,
        workers=int(given["workers"]),
        allowed_hosts=server.allowed_hosts([host, *given["allowed_hosts"]]),
        artifacts_destination=given["destination"],
        pool_size=int(given["pool_size"]),
        max_overflow=int(given["max_overflow"]),
        scratch_dir=str(folder / "tmp"),
        s3_endpoint_url=given["s3_endpoint_url"],
        s3_region=given["s3_region"],
        s3_addressing=given["s3_addressing"],
        s3_ca_path=str(folder / endpoints.ARTIFACTS_CA) if given["artifacts_ca"] else "",
        app=app.NAME,
    )
    return {
        "folder": str(folder),
        # Beside the interpreter that runs the program: the environment that the lock file made.
        "argv": server.server_argv(settings, str(Path(sys.executable).with_name("mlflow"))),
        "environment": server.server_environment(settings),
        "bind": bind,
        "port": port,
        "url": f"http://{host}:{port}",
    }


def _ops(args: LocalTrackingServerArgs, process: ServerProcess) -> pulumi.Output[dict[str, str]]:
    database = args["database"]
    return pulumi.Output.all(
        server_folder=process.id,
        url=process.url,
        ready_path=server.READY_PATH,
        engine=database["engine"],
        database=database["database"],
        artifacts=args["artifacts"]["uri"],
    )
