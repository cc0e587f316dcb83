"""The images of a Docker stack: official ones where a registry is reachable, else built from packages.

The server's image is always our own (MLflow with locked drivers). An image's tag carries a hash of all that goes into
it: stacks on one engine share it, and a change of it is seen at preview.
"""

import hashlib
import os
import shutil
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from ..component import MlflowComponent
from . import engine

OFFICIAL = {
    "python": "python:3.12.11-slim-bookworm",
    "nginx": "nginx:1.28.0-bookworm",
    "versitygw": "versity/versitygw:v1.8.0",
    "postgresql-14": "postgres:14.19-bookworm",
    "postgresql-15": "postgres:15.14-bookworm",
    "postgresql-16": "postgres:16.10-bookworm",
    "postgresql-17": "postgres:17.6-bookworm",
}
"""Pinned tags of official images."""

BUILT_POSTGRESQL = "15"
"""The major that Debian 12, our own base, has."""

CA_FOLDER = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps certificates of the machine's own network: builds behind such a network need them."""


class ImageSource(str, Enum):
    """Where images come from."""

    REGISTRY = "registry"
    BUILD = "build"


def cache_folder() -> Path:
    """Where set-up keeps what it downloaded or built: `$PULUMI_MLFLOW_CACHE`, else `~/.cache/pulumi-mlflow`."""
    return Path(os.environ.get("PULUMI_MLFLOW_CACHE") or Path.home() / ".cache" / "pulumi-mlflow")


def _recipes() -> Path:
    """The `images/` folder: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "images"
    return inside if inside.is_dir() else package.parents[1] / "images"


class MissingIngredientError(RuntimeError):
    """A file that set-up makes for `images: build` is not there."""


def _ingredient(pattern: str) -> Path:
    found = sorted((cache_folder() / "images").glob(pattern))
    if not found:
        raise MissingIngredientError(
            f"{cache_folder() / 'images' / pattern}: missing, and images are built from packages; "
            "make setup STACK=<stack> makes it, or set mlflow:images to registry"
        )
    return found[-1]


def context_files(kind: str, source: ImageSource) -> dict[str, Path]:
    """Files of an image's build context: name in the context → file of this machine.

    Args:
        kind: folder below `images/`.
        source: `build` adds what set-up made.

    Raises:
        MissingIngredientError: set-up has not made it.
    """
    folder = _recipes() / kind
    files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix != ".in"}
    if kind in ("mlflow", "versitygw"):
        files["entrypoint.sh"] = _recipes() / "common" / "entrypoint.sh"
    if kind == "base":
        files["rootfs.tar"] = _ingredient("rootfs-*.tar")
    if kind == "versitygw" and source is ImageSource.BUILD:
        files["bin/versitygw"] = _ingredient("versitygw-*")
    return files


def image_name(kind: str, source: ImageSource, build_args: dict[str, str]) -> str:
    """Name and tag of an image that we build: the tag is a hash of all that goes into it.

    Large ingredients count by name and size: set-up keys their names by content.
    """
    digest = hashlib.sha256()
    for name, path in sorted(context_files(kind, source).items()):
        large = path.parent == cache_folder() / "images"
        digest.update(f"{name}\0{path.name}:{path.stat().st_size}\0".encode())
        digest.update(b"" if large else path.read_bytes())
    for key, value in sorted(build_args.items()):
        digest.update(f"{key}={value}\0".encode())
    return f"pulumi-mlflow/{kind}:{digest.hexdigest()[:16]}"


def _assemble(kind: str, source: ImageSource, folder: Path) -> None:
    for name, path in context_files(kind, source).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        # Whatever the umask of the clone: the image's unprivileged user reads and runs them.
        target.chmod(0o755 if path.suffix == ".sh" or target.parent.name == "bin" else 0o644)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "ca").mkdir()
    for certificate in sorted(CA_FOLDER.glob("*.crt")) if CA_FOLDER.is_dir() else []:
        shutil.copy2(certificate, folder / "ca")


class _BuildProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        client = engine.connect()
        image_id = engine.image_exists(client, props["image"])
        if not image_id:
            # On disk, not in a tmpfs: the base image's context is 200 MB.
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
                _assemble(props["kind"], ImageSource(props["source"]), Path(folder))
                image_id = engine.build_image(
                    client,
                    props["image"],
                    Path(folder),
                    props["build_args"],
                    {"pulumi-mlflow/managed-by": "pulumi"},
                )
        return CreateResult(id_=props["image"], outs={**props, "image_id": image_id})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = olds["image"] != news["image"]
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
        self.image_name = image_name(kind, source, build_args)
        props = {
            "kind": kind,
            "source": source.value,
            "build_args": build_args,
            "image": self.image_name,
            "image_id": None,
        }
        super().__init__(_BuildProvider(), name, props, opts)


class DockerImagesArgs(TypedDict):
    """Arguments of DockerImages."""

    source: str
    """`registry`: official images; `build`: all from packages, for machines that reach no image registry."""
    database_version: str
    """Major of PostgreSQL."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerImages(MlflowComponent):
    """The images that the components of a Docker stack run. Attributes are image ids."""

    _role = "images"

    tracking: pulumi.Output[str]
    database: pulumi.Output[str]
    artifacts: pulumi.Output[str]
    proxy: pulumi.Output[str]

    def __init__(
        self, name: str, args: DockerImagesArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        source = ImageSource(args["source"])
        major = args["database_version"]
        if source is ImageSource.REGISTRY:
            self.tracking = self._built("mlflow", source, OFFICIAL["python"])
            self.artifacts = self._built("versitygw", source, OFFICIAL["versitygw"])
            self.database = self._official("database", OFFICIAL[f"postgresql-{major}"])
            self.proxy = self._official("proxy", OFFICIAL["nginx"])
        else:
            base = DockerImageBuild(self._child("base"), "base", source, {}, self._opts())
            self.tracking = self._built("mlflow", source, base.image_name, base)
            self.artifacts = self._built("versitygw", source, base.image_name, base)
            self.database = self._built("postgresql", source, base.image_name, base, MAJOR=major)
            self.proxy = self._built("nginx", source, base.image_name, base)
        self.register_outputs(
            {
                "tracking": self.tracking,
                "database": self.database,
                "artifacts": self.artifacts,
                "proxy": self.proxy,
            }
        )

    def _built(
        self,
        kind: str,
        source: ImageSource,
        base: str,
        after: Optional[pulumi.Resource] = None,
        **build_args: str,
    ) -> pulumi.Output[str]:
        image = DockerImageBuild(
            self._child(kind),
            kind,
            source,
            {"BASE": base, **build_args},
            self._opts(depends_on=[after] if after else []),
        )
        return image.image_id

    def _official(self, role: str, name: str) -> pulumi.Output[str]:
        image = docker.RemoteImage(
            self._child(role), name=name, keep_locally=True, opts=self._opts()
        )
        return image.image_id
