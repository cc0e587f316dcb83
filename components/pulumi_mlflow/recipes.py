"""Recipes of the images that stacks run: what goes into a build, and the name that it gives the image.

An image's tag carries a hash of all that goes into it: a change of it is seen at preview, and the same image is never
built twice on one engine, or pushed twice to one registry.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from .core import base_images

OFFICIAL = {
    "debian": "debian:12.12-slim",
    "nginx": "nginx:1.28.0-bookworm",
    "python": "python:3.12.11-slim-bookworm",
    "versitygw": "versity/versitygw:v1.8.0",
}
"""Pinned tags of official images."""

PROGRAMS = ("minio", "oauth2-proxy")
"""Images that set-up makes the program of and that are never pulled."""

NOT_MADE = "not-made-yet"
"""Tag, in a preview alone, of an image whose ingredients set-up has not made on this machine."""

EXTRAS = ("gcs", "azure", "metrics", "redis")
"""What the server's image may have besides: drivers of stores, metrics for Prometheus, a queue of jobs in Redis."""

CA_FOLDER = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps certificates of the machine's own network: builds behind such a network need them."""


class ImageSource(str, Enum):
    """Where images come from."""

    REGISTRY = "registry"
    BUILD = "build"


def cache_folder() -> Path:
    """Where set-up keeps what it downloaded or built: `$PULUMI_MLFLOW_CACHE`, else `~/.cache/pulumi-mlflow`."""
    return Path(os.environ.get("PULUMI_MLFLOW_CACHE") or Path.home() / ".cache" / "pulumi-mlflow")


def folder() -> Path:
    """The `images/` folder: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "images"
    return inside if inside.is_dir() else package.parents[1] / "images"


def bases_file() -> Path:
    """The lock file of official images: what `pulumi-mlflow images-update` writes, and is committed."""
    return folder() / "bases.json"


def locked_bases() -> dict[str, base_images.Base]:
    """Digests that official tags are locked to; none without a lock file.

    Raises:
        LockError: the file is broken.
    """
    file = bases_file()
    return base_images.parse(file.read_text(), file) if file.is_file() else {}


def official(name: str) -> str:
    """Reference of an official image: by its digest where that is locked, else by its tag.

    Args:
        name: key of `OFFICIAL`.

    Raises:
        LockError: the lock file is broken.
    """
    return base_images.pinned(OFFICIAL[name], locked_bases())


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
    every = [path for kind in ("base", *kinds) for path in _missing(kind, source)]
    return list(dict.fromkeys(every))


def _missing(kind: str, source: ImageSource) -> list[Path]:
    made = cache_folder() / "images"
    patterns = _ingredients(kind, source).values()
    return [made / pattern for pattern in patterns if not any(made.glob(pattern))]


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
    recipe = folder() / kind
    left_out = {
        f"requirements-{extra}.lock" for extra in EXTRAS if extra not in _extras(build_args)
    }
    files = {
        path.name: path
        for path in sorted(recipe.iterdir())
        if path.is_file() and path.suffix != ".in" and path.name not in left_out
    }
    if kind in _ENTRYPOINTS:
        name, shared = _ENTRYPOINTS[kind]
        files[name] = folder() / "common" / shared
    for name, pattern in _ingredients(kind, source).items():
        files[name] = _ingredient(pattern)
    return files


def image_name(
    kind: str, source: ImageSource, build_args: dict[str, str], *, preview: bool = False
) -> str:
    """Name and tag of an image that we build: the tag is a hash of all that goes into it.

    Large ingredients count by name and size: set-up keys their names by content.

    Args:
        kind: folder below `images/`.
        source: whether official images can be had.
        build_args: build arguments.
        preview: whether nothing will be built: then an ingredient may be missing, of this image or of the one below it,
            and the tag is `NOT_MADE`.

    Raises:
        MissingIngredientError: set-up has not made an ingredient, and this is no preview.
    """
    if preview and (any(map(is_not_made, build_args.values())) or _missing(kind, source)):
        return f"pulumi-mlflow/{kind}:{NOT_MADE}"
    digest = hashlib.sha256()
    for name, path in sorted(context_files(kind, source, build_args).items()):
        large = path.parent == cache_folder() / "images"
        digest.update(f"{name}\0{path.name}:{path.stat().st_size}\0".encode())
        digest.update(b"" if large else path.read_bytes())
    for key, value in sorted(build_args.items()):
        digest.update(f"{key}={value}\0".encode())
    return f"pulumi-mlflow/{kind}:{digest.hexdigest()[:16]}"


def is_changed(before: str, now: str) -> bool:
    """Whether another image is wanted, by its name or tag; of one that is `NOT_MADE` here nobody can say, so not.

    Args:
        before: what the state has.
        now: what the program wants.
    """
    return before != now and not is_not_made(now)


def is_not_made(name: str) -> bool:
    """Whether a name or tag stands for an image whose ingredients are missing here."""
    return name == NOT_MADE or name.endswith(f":{NOT_MADE}")


def assemble(kind: str, source: ImageSource, build_args: Mapping[str, str], target: Path) -> None:
    """Write a build context into an empty folder; arguments as of `context_files`."""
    for name, path in context_files(kind, source, build_args).items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, file)
        # Whatever the umask of the clone: the image's unprivileged user reads and runs them.
        with file.open("rb") as content:
            program = file.parent.name == "bin" or content.read(2) == b"#!"
        file.chmod(0o755 if program else 0o644)
    (target / "bin").mkdir(exist_ok=True)
    (target / "ca").mkdir()
    for certificate in sorted(CA_FOLDER.glob("*.crt")) if CA_FOLDER.is_dir() else []:
        shutil.copy2(certificate, target / "ca")
