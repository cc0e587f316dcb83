"""The images of a Docker stack: official ones where a registry is reachable, else built from packages.

Two are built wherever they are used, since Docker's own registry has no official image of them: see `PROGRAMS`.

The server's image is always our own (MLflow with locked drivers). An image's tag carries a hash of all that goes into
it: stacks on one engine share it, and a change of it is seen at preview.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from ..component import MlflowComponent
from . import engine

OFFICIAL = {
    "debian": "debian:12.12-slim",
    "nginx": "nginx:1.28.0-bookworm",
    "python": "python:3.12.11-slim-bookworm",
    "versitygw": "versity/versitygw:v1.8.0",
}
"""Pinned tags of official images."""

PROGRAMS = ("minio", "oauth2-proxy")
"""Images that set-up makes the program of and that are never pulled."""

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

EXTRAS = ("gcs", "azure")
"""Sets of drivers that the server's image may have besides."""

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


_INGREDIENTS = {
    "base": ("rootfs.tar", "rootfs-*.tar"),
    "minio": ("bin/minio", "minio-*"),
    "mysql": ("mysql.tar.gz", "mysql-*.tar.gz"),
    "oauth2-proxy": ("bin/oauth2-proxy", "oauth2-proxy-*"),
    "versitygw": ("bin/versitygw", "versitygw-*"),
}
"""Kind of image → name in its build context, and pattern of the file that set-up makes for it."""


_ENTRYPOINTS = {
    **dict.fromkeys(("minio", "mlflow", "versitygw"), ("entrypoint.sh", "entrypoint.sh")),
    **dict.fromkeys(("mysql", "mariadb"), ("docker-entrypoint.sh", "mysql-entrypoint.sh")),
}
"""Kind of image → name in its build context, and file of `images/common/` that it shares with others."""


def _ingredients(kind: str, source: ImageSource) -> Mapping[str, str]:
    """Name in the build context → pattern, of what set-up makes for such an image."""
    made = source is ImageSource.BUILD or kind in PROGRAMS
    return dict([_INGREDIENTS[kind]]) if made and kind in _INGREDIENTS else {}


def missing_ingredients(kinds: Iterable[str], source: ImageSource) -> list[Path]:
    """Which files that set-up makes are not there.

    Args:
        kinds: images that a stack uses; what all those begin with that we build is counted as well.
        source: whether official images can be had.

    Returns:
        Their paths, with `*` where a version stands.
    """
    folder = cache_folder() / "images"
    patterns = [p for kind in ("base", *kinds) for p in _ingredients(kind, source).values()]
    return [folder / pattern for pattern in patterns if not any(folder.glob(pattern))]


def _ingredient(pattern: str) -> Path:
    found = sorted((cache_folder() / "images").glob(pattern))
    if not found:
        raise MissingIngredientError(
            f"{cache_folder() / 'images' / pattern}: missing, and an image is built from it; "
            "make setup STACK=<stack> makes it"
        )
    return found[-1]


def _extras(build_args: Mapping[str, str]) -> list[str]:
    return build_args.get("EXTRAS", "").split()


def context_files(kind: str, source: ImageSource, build_args: Mapping[str, str]) -> dict[str, Path]:
    """Files of an image's build context: name in the context → file of this machine.

    Args:
        kind: folder below `images/`.
        source: `build` adds what set-up made.
        build_args: `EXTRAS` says which sets of drivers the server's image has.

    Raises:
        MissingIngredientError: set-up has not made it.
    """
    folder = _recipes() / kind
    left_out = {
        f"requirements-{extra}.lock" for extra in EXTRAS if extra not in _extras(build_args)
    }
    files = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix != ".in" and path.name not in left_out
    }
    if kind in _ENTRYPOINTS:
        name, shared = _ENTRYPOINTS[kind]
        files[name] = _recipes() / "common" / shared
    for name, pattern in _ingredients(kind, source).items():
        files[name] = _ingredient(pattern)
    return files


def image_name(kind: str, source: ImageSource, build_args: dict[str, str]) -> str:
    """Name and tag of an image that we build: the tag is a hash of all that goes into it.

    Large ingredients count by name and size: set-up keys their names by content.
    """
    digest = hashlib.sha256()
    for name, path in sorted(context_files(kind, source, build_args).items()):
        large = path.parent == cache_folder() / "images"
        digest.update(f"{name}\0{path.name}:{path.stat().st_size}\0".encode())
        digest.update(b"" if large else path.read_bytes())
    for key, value in sorted(build_args.items()):
        digest.update(f"{key}={value}\0".encode())
    return f"pulumi-mlflow/{kind}:{digest.hexdigest()[:16]}"


def _assemble(kind: str, source: ImageSource, build_args: Mapping[str, str], folder: Path) -> None:
    for name, path in context_files(kind, source, build_args).items():
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
                source, build_args = ImageSource(props["source"]), props["build_args"]
                _assemble(props["kind"], source, build_args, Path(folder))
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
    """Further drivers in the server's image: `gcs`, `azure`."""
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
