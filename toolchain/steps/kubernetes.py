"""Kubernetes' API server and its etcd, for tests: there are official downloads of both, but in no package registry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from steps.console import Console, SetupError
from steps.packages import on_path
from steps.places import VERSIONS, Places, is_debian_like
from steps.programs import go_build, half_made

_VERSION: Final = "k8s.io/component-base/version"


def apiserver_ready(places: Places) -> bool:
    """Tell whether both programs are there."""
    folder = places.tool("kube-apiserver")
    return (folder / "kube-apiserver").exists() and (folder / "etcd").exists()


def build_apiserver(places: Places, console: Console, go: str) -> None:
    """Build the server from its Go module, and put etcd beside it.

    Raises:
        SetupError: there is no etcd, or building failed.
    """
    version = VERSIONS["kube-apiserver"]
    major, minor, _ = version.split(".")
    numbers = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w", *(f"-X {_VERSION}.{name}={value}" for name, value in numbers.items())]
    with half_made(places.tool("kube-apiserver")) as folder:
        _get_etcd(places, console, folder / "etcd")  # seconds, before what takes minutes
        program = "k8s.io/kubernetes/cmd/kube-apiserver"
        output = folder / "kube-apiserver"
        go_build(console, go, "kube-apiserver", program, output, "-ldflags", " ".join(flags))


def _get_etcd(places: Places, console: Console, target: Path) -> None:
    """Take etcd from PATH, or out of Debian's package, which is not installed: it would start a server of its own."""
    found = on_path("etcd")
    if found:
        target.symlink_to(found)
        return
    if not is_debian_like():
        raise SetupError("etcd is missing. Install it with your system's package manager.")
    places.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.cache, prefix=".etcd-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt downloads as a user of its own
        console.run(["apt-get", "download", "etcd-server"], log="etcd", cwd=folder)
        (package,) = folder.glob("*.deb")
        console.run(["dpkg-deb", "--extract", package, folder / "content"], log="etcd")
        shutil.copy2(folder / "content" / "usr" / "bin" / "etcd", target)
