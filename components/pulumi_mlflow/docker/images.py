"""The images of a Docker stack: official ones where a registry is reachable, else built from packages.

Two are built wherever they are used, since Docker's own registry has no official image of them: see `PROGRAMS`.

The server's image is always our own (MLflow with locked drivers). An image's tag carries a hash of all that goes into
it: stacks on one engine share it, and a change of it is seen at preview.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from ..component import MlflowComponent
from ..recipes import (
    EXTRAS,
    OFFICIAL,
    PROGRAMS,
    ImageSource,
    assemble,
    cache_folder,
    image_name,
    is_changed,
)
from . import engine

OFFICIAL_DATABASES = {
    "postgresql": {
        "14": "postgres:14.19-bookworm",
        "15": "postgres:15.14-bookworm",
        "16": "postgres:16.10-bookworm",
        "17": "postgres:17.6-bookworm",
    },
    "mysql": {"8.0": "mysql:8.0.43", "8.4": "mysql:8.4.6"},
    "mariadb": {"10.11": "mariadb:10.11.14"},
}
"""Engine → version → pinned tag of the official image."""

BUILT_DATABASES = {"postgresql": "15", "mysql": "8.0", "mariadb": "10.11"}
"""Engine → the version that can be built: what Debian 12, our own base, has, and for MySQL the Maven registry."""

STORES = ("versitygw", "minio")
"""Stores that have an image."""


class _BuildProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        client = engine.connect()
        image_id = engine.image_exists(client, props["image"])
        if not image_id:
            # On disk, not in a tmpfs: the base image's context is 200 MB.
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
                source, build_args = ImageSource(props["source"]), props["build_args"]
                assemble(props["kind"], source, build_args, Path(folder))
                image_id = engine.build_image(
                    client,
                    props["image"],
                    Path(folder),
                    props["build_args"],
                    {"pulumi-mlflow/managed-by": "pulumi"},
                )
        return CreateResult(id_=props["image"], outs={**props, "image_id": image_id})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = is_changed(olds["image"], news["image"])
        return DiffResult(changes=changed, replaces=["image"] if changed else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        image_id = engine.image_exists(engine.connect(), id_)
        if not image_id:
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs={**props, "image_id": image_id})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Other stacks of this engine may run it; `docker image prune` is the user's to call."""


class DockerImageBuild(Resource, module="pulumi-mlflow", name="DockerImageBuild"):
    """An image built on the stack's engine, unless an image of the same content is there.

    Args:
        name: logical name.
        kind: folder below `images/`.
        source: whether official images can be had.
        build_args: build arguments; no secrets.

    Attributes:
        image: name and tag.
        image_id: id.
    """

    image: pulumi.Output[str]
    image_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        kind: str,
        source: ImageSource,
        build_args: dict[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self.image_name = image_name(kind, source, build_args, preview=pulumi.runtime.is_dry_run())
        props = {
            "kind": kind,
            "source": source.value,
            "build_args": build_args,
            "image": self.image_name,
            "image_id": None,
        }
        super().__init__(_BuildProvider(), name, props, opts)


def _refuse_others(key: str, values: Iterable[str], offered: Iterable[str]) -> None:
    for value in values:
        if value not in offered:
            raise ValueError(f"{key}: {value!r} is none of {', '.join(offered)}")


class DockerImagesArgs(TypedDict):
    """Arguments of DockerImages."""

    source: str
    """`registry`: official images; `build`: all from packages, for machines that reach no image registry."""
    database_engine: NotRequired[str]
    """`postgresql`, `mysql` or `mariadb`; absent where the stack runs no database server."""
    database_version: NotRequired[str]
    """Its version; that of `BUILT_DATABASES` unless given."""
    store: NotRequired[str]
    """`versitygw` or `minio`; absent where the stack runs no store."""
    extras: NotRequired[list[str]]
    """What the server's image has besides: `gcs`, `azure`, `metrics`, `redis`."""
    pgbouncer: NotRequired[bool]
    """Whether PgBouncer is run; no unless given."""
    oidc: NotRequired[bool]
    """Whether oauth2-proxy is run; no unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerImages(MlflowComponent):
    """The images that the components of a Docker stack run. Attributes are image ids.

    Only what is asked for is pulled or built; the other attributes are not there.
    """

    _role = "images"

    tracking: pulumi.Output[str]
    proxy: pulumi.Output[str]
    database: pulumi.Output[str]
    artifacts: pulumi.Output[str]
    pooler: pulumi.Output[str]
    oidc: pulumi.Output[str]

    def __init__(
        self, name: str, args: DockerImagesArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        source = ImageSource(args["source"])
        engine = args.get("database_engine", "")
        version = args.get("database_version") or BUILT_DATABASES.get(engine, "")
        store = args.get("store", "")
        extras = " ".join(sorted(set(args.get("extras", []))))
        _refuse_others("extras", extras.split(), EXTRAS)
        _refuse_others("store", [store] if store else [], STORES)
        if engine:
            _refuse_others("database_engine", [engine], OFFICIAL_DATABASES)
            built = source is ImageSource.BUILD
            versions = [BUILT_DATABASES[engine]] if built else OFFICIAL_DATABASES[engine]
            _refuse_others("database_version", [version], versions)
        self._base: Optional[DockerImageBuild] = None
        if source is ImageSource.BUILD:
            self._base = DockerImageBuild(self._child("base"), "base", source, {}, self._opts())
        images = {
            "tracking": self._built("mlflow", "python", **({"EXTRAS": extras} if extras else {})),
            "proxy": self._image("proxy", "nginx", OFFICIAL["nginx"]),
        }
        if engine:
            official = OFFICIAL_DATABASES[engine][version]
            major = {"MAJOR": version} if engine == "postgresql" else {}
            images["database"] = self._image("database", engine, official, **major)
        if store:
            images["artifacts"] = self._built(store, "debian" if store in PROGRAMS else store)
        if args.get("pgbouncer"):
            images["pooler"] = self._built("pgbouncer", "debian")
        if args.get("oidc"):
            images["oidc"] = self._built("oauth2-proxy", "debian")
        vars(self).update(images)
        self.register_outputs(images)

    def _image(self, role: str, kind: str, official: str, **build_args: str) -> pulumi.Output[str]:
        """The official image, or one of the same contract."""
        if self._base:
            return self._built(kind, kind, **build_args)
        image = docker.RemoteImage(
            self._child(role), name=official, keep_locally=True, opts=self._opts()
        )
        return image.image_id

    def _built(self, kind: str, base: str, **build_args: str) -> pulumi.Output[str]:
        """An image of ours, from an official one or from our own base."""
        source = ImageSource.BUILD if self._base else ImageSource.REGISTRY
        below = self._base.image_name if self._base else OFFICIAL[base]
        image = DockerImageBuild(
            self._child(kind),
            kind,
            source,
            {"BASE": below, **build_args},
            self._opts(depends_on=[self._base] if self._base else []),
        )
        return image.image_id
