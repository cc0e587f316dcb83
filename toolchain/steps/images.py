"""Where container images come from on this machine, and what building them needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steps.console import Console, SetupError, capture
from steps.packages import apt_install
from steps.places import Places, go_platform, is_debian_like, is_root, os_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from steps.environment import Environment

_PROBE_IMAGE: Final = "hello-world"
_ANSWER_SECONDS: Final = 5.0
_PULL_SECONDS: Final = 60.0
_RECIPE: Final = "1"  # part of the root file system's key: raise it when its making changes


# ---------------------------------------------------------------- pull or build


def registry_answers(environment: Environment) -> bool:
    """Let the engine itself pull the smallest official image: it, not we, will pull later.

    An answer must come within five seconds; a registry that answered may then take its time.
    """
    env = environment.full()
    present = capture(["docker", "image", "inspect", _PROBE_IMAGE], env=env).returncode == 0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["docker", "pull", _PROBE_IMAGE],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        started = time.monotonic()
        while process.poll() is None:
            output.seek(0)
            answered = b"Pulling from" in output.read()
            limit = _PULL_SECONDS if answered else _ANSWER_SECONDS
            if time.monotonic() - started > limit:
                process.kill()
                process.wait()
            time.sleep(0.1)
    if process.returncode != 0:
        return False
    if not present:
        capture(["docker", "image", "rm", _PROBE_IMAGE], env=env)
    return True


# ---------------------------------------------------------------- the root file system


@dataclass(frozen=True)
class AptSource:
    """One line of apt sources: a mirror, a suite, and the parts of it."""

    mirror: str
    suite: str
    components: tuple[str, ...]

    def line(self) -> str:
        """Write it in the one-line format, which every apt reads."""
        return f"deb {self.mirror} {self.suite} {' '.join(self.components)}"


def distribution_sources(codename: str, folder: Path = Path("/etc/apt")) -> list[AptSource]:
    """Find the distribution's own suites (release, updates, security) among this machine's sources.

    Third-party sources that use the same code name are told apart by their signing key.
    """
    wanted = {codename, f"{codename}-updates", f"{codename}-security", f"{codename}/updates"}
    found: list[AptSource] = []
    for source in _all_sources(folder):
        if source.suite in wanted and "main" in source.components and source not in found:
            found.append(source)
    return found


def rootfs_file(places: Places) -> Path:
    """Name the archive of this machine's suite; the key changes when the recipe does."""
    codename = os_release().get("VERSION_CODENAME", "unknown")
    machine = go_platform().removeprefix("linux-")
    return places.cache / "images" / f"rootfs-{codename}-{machine}-{_RECIPE}.tar"


def build_rootfs(places: Places, console: Console) -> None:
    """Make a minimal system with debootstrap from the mirrors that this machine uses itself."""
    if not (is_debian_like() and is_root()):
        raise SetupError(
            "No image registry can be reached, and images can only be built from packages as root"
            " on Debian or Ubuntu. Reach a registry, or run this there."
        )
    codename = os_release().get("VERSION_CODENAME", "")
    sources = distribution_sources(codename)
    first = next((source for source in sources if source.suite == codename), None)
    if first is None:
        raise SetupError(f"no apt source of {codename} is found under /etc/apt")
    if shutil.which("debootstrap") is None:
        apt_install(console, ["debootstrap"], "debootstrap")
    target = rootfs_file(places)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".rootfs-*"):
        _remove_system(left)
    system = Path(tempfile.mkdtemp(prefix=".rootfs-", dir=target.parent))
    try:
        system.chmod(0o755)
        console.run(
            ["debootstrap", "--variant=minbase", first.suite, system, first.mirror], log="rootfs"
        )
        lines = "".join(f"{source.line()}\n" for source in sources)
        (system / "etc/apt/sources.list").write_text(lines)
        _upgrade(console, system)
        _strip(system)
        _pack(console, system, target)
    finally:
        _remove_system(system)


def _all_sources(folder: Path) -> Iterator[AptSource]:
    """Read both formats of apt sources."""
    one_line = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]
    for file in one_line:
        if file.exists():
            yield from _read_one_line(file.read_text())
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        yield from _read_deb822(file.read_text())


def _read_one_line(text: str) -> Iterator[AptSource]:
    pattern = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>\S.*)$")
    for line in text.splitlines():
        match = pattern.match(line.split("#", 1)[0].strip())
        if match is None:
            continue
        options = dict(o.split("=", 1) for o in (match["options"] or "").split() if "=" in o)
        words = match["rest"].split()
        if len(words) > 1 and _signed_by_distribution(options.get("signed-by")):
            yield AptSource(words[0], words[1], tuple(words[2:]))


def _read_deb822(text: str) -> Iterator[AptSource]:
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        pairs = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, flags=re.MULTILINE)
        fields = {key.lower(): value.strip() for key, value in pairs}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        if not _signed_by_distribution(fields.get("signed-by")):
            continue
        components = tuple(fields.get("components", "").split())
        for mirror in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptSource(mirror, suite, components)


def _signed_by_distribution(keyring: str | None) -> bool:
    """Tell Debian's and Ubuntu's own archives by their keyring; apt's default is theirs, too."""
    if keyring is None:
        return True
    file = Path(keyring)
    known = file.name.startswith(("debian-archive-keyring", "ubuntu-archive-keyring"))
    return known and file.parent == Path("/usr/share/keyrings")


def _upgrade(console: Console, system: Path) -> None:
    """Bring the system to the newest packages, security ones included."""
    options = _apt_options()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    inside: list[str | Path] = ["chroot", system, "apt-get", *options]
    console.run([*inside, "update"], log="rootfs", env=env)
    console.run([*inside, "dist-upgrade", "-y"], log="rootfs", env=env)
    console.run([*inside, "clean"], log="rootfs", env=env)


def _apt_options() -> list[str]:
    """Repeat inside what this machine's apt needs to reach its mirrors (proxy, dates)."""
    options: list[str] = []
    for line in capture(["apt-config", "dump"]).stdout.splitlines():
        match = re.match(r'(Acquire::(?:https?::Proxy|Check-[\w-]+)\S*) "(.+)";$', line)
        if match:
            options += ["-o", f"{match[1]}={match[2]}"]
    return options


def _strip(system: Path) -> None:
    """Remove what belongs to this machine or this moment, and what apt can fetch again."""
    for pattern in ("var/lib/apt/lists/*", "var/log/*", "var/cache/*", "tmp/*", "dev/*"):
        for path in system.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in ("etc/hostname", "etc/resolv.conf"):
        (system / name).unlink(missing_ok=True)
    (system / "etc/machine-id").write_text("")
    (system / "var/log/apt").mkdir()
    (system / "var/cache/apt/archives/partial").mkdir(parents=True)


def _pack(console: Console, system: Path, target: Path) -> None:
    """Write the archive in a fixed order and with a fixed time, then put it into place."""
    temporary = target.with_name(f".{target.name}.half-made")
    fixed = ["--sort=name", "--mtime=@0", "--numeric-owner", "--one-file-system"]
    console.run(["tar", *fixed, "-C", system, "-cf", temporary, "."], log="rootfs")
    temporary.replace(target)


def _remove_system(system: Path) -> None:
    """Remove a half-made system, but never through something that is still mounted in it."""
    if not system.is_dir():
        system.unlink(missing_ok=True)
        return
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    inside = sorted((m for m in mounts if m.startswith(f"{system}/")), reverse=True)
    for mount in inside:
        capture(["umount", mount])
    if any(os.path.ismount(mount) for mount in inside):
        raise SetupError(
            f"{system} is half-made and has mounts that cannot be taken away: {inside}"
        )
    shutil.rmtree(system)
