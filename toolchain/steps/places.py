"""Where things lie, which versions we pin, and what kind of machine this is."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

TOOLCHAIN: Final = Path(__file__).resolve().parent.parent
VERSIONS: Final[dict[str, str]] = json.loads((TOOLCHAIN / "versions.json").read_text())

# The names that Go, and Pulumi's release files, have for what Python calls the machine.
_GO_ARCH: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_PULUMI_ARCH: Final = {"amd64": "x64", "arm64": "arm64"}


@dataclass(frozen=True)
class Places:
    """Every path that set-up reads or writes.

    The cache is shared by all clones of one user and can be deleted at any time; `.state` belongs
    to one clone and holds what cannot be made again (state, passphrase).
    """

    root: Path
    cache: Path

    @classmethod
    def of(cls, environ: dict[str, str]) -> Places:
        """Find the clone this file lies in, and the cache that the user chose or the default."""
        chosen = environ.get("PULUMI_MLFLOW_CACHE") or "~/.cache/pulumi-mlflow"
        return cls(root=TOOLCHAIN.parent, cache=Path(chosen).expanduser().absolute())

    @property
    def venv(self) -> Path:
        """The Python environment of our own stacks."""
        return self.root / ".venv"

    @property
    def policy_venv(self) -> Path:
        """The policy pack's own Python environment; PulumiPolicy.yaml names it."""
        return self.policy_lock.parent / ".venv"

    @property
    def policy_lock(self) -> Path:
        """What the policy pack's environment holds."""
        return self.root / "policy" / "requirements.lock"

    @property
    def state(self) -> Path:
        """What this clone must not lose; mode 0700, never in git."""
        return self.root / ".state"

    @property
    def logs(self) -> Path:
        """Full output of every tool that set-up ran."""
        return self.cache / "logs"

    @property
    def uv_folder(self) -> Path:
        """A folder with nothing but our uv, so that PATH gets no second python with it."""
        return self.cache / f"uv-{VERSIONS['uv']}" / "path"

    @cached_property
    def tools(self) -> Path:
        """The folder of Pulumi's own programs; a new version or recipe is a new folder."""
        recipe = digest(*recipe_files("pulumi"), *recipe_files("python-host"))
        return (
            self.cache / "tools" / f"pulumi-{VERSIONS['pulumi']}-{go_platform()}-{recipe}" / "bin"
        )

    @cached_property
    def docker_plugin(self) -> Path:
        """The Docker plugin as we build it, before Pulumi installs its copy."""
        name = f"docker-{VERSIONS['docker-plugin']}-{go_platform()}-{docker_plugin_recipe()}"
        return self.cache / "plugins" / name / "pulumi-resource-docker"

    def tool(self, recipe: str) -> Path:
        """The folder of a Go program that tests want; a new version or recipe is a new folder."""
        name = f"{recipe}-{VERSIONS[recipe]}-{go_platform()}"
        return self.cache / "tools" / f"{name}-{digest(*recipe_files(recipe))}"

    @cached_property
    def iam_simulate(self) -> Path:
        """The folder of the evaluator of AWS's policies; another lock is a new folder."""
        return self.cache / "tools" / f"iam-simulate-{digest(*recipe_files('iam-simulate'))}"

    def image_ingredient(self, recipe: str, suffix: str = "") -> Path:
        """Name what set-up makes for an image that is built from packages, by its version."""
        return self.cache / "images" / f"{recipe}-{VERSIONS[recipe]}{suffix}"

    def make_state_folder(self) -> None:
        """Create `.state` so that only its owner can look inside."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.state.chmod(0o700)


def recipe_files(name: str) -> list[Path]:
    """List what decides the outcome of a Go build, so that a cached result is keyed by it."""
    return sorted(p for p in (TOOLCHAIN / name).iterdir() if p.is_file())


def docker_plugin_recipe() -> str:
    """Tell one build of the Docker plugin from another of the same version."""
    return digest(*recipe_files("docker-plugin"))


def digest(*files: Path) -> str:
    """Hash file contents (and names) into a short key."""
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return sha.hexdigest()[:10]


def go_platform() -> str:
    """Name this machine as Go does, for example linux-amd64."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{_GO_ARCH.get(machine, machine)}"


def pulumi_platform() -> str:
    """Name this machine as Pulumi's release files do, for example linux-x64."""
    system, arch = go_platform().split("-", 1)
    return f"{system}-{_PULUMI_ARCH.get(arch, arch)}"


def version_tuple(text: str) -> tuple[int, ...]:
    """Read 'v3.256.0' or '1.26.8' as numbers that compare; whatever follows them is dropped."""
    numbers: list[int] = []
    for part in text.strip().lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    temporary.replace(path)


def os_release() -> dict[str, str]:
    """Read /etc/os-release; empty where there is none."""
    file = Path("/etc/os-release")
    if not file.exists():
        return {}
    pairs = (line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def is_debian_like() -> bool:
    """Tell whether apt and debootstrap are at home on this machine."""
    release = os_release()
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    return bool(family & {"debian", "ubuntu"}) and shutil.which("apt-get") is not None


def base_python() -> str:
    """Name this Python outside of any venv: after the eval line `python3` is the venv's own."""
    return str(getattr(sys, "_base_executable", sys.executable))


def is_root() -> bool:
    """Tell whether we may install packages and start an engine."""
    return os.geteuid() == 0
