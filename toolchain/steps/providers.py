"""A stack in a cloud: the real plugins where they and an account are there, else, for previews, the test provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steps.console import Console, SetupError
from steps.places import TOOLCHAIN, Places, go_platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from steps.environment import Environment

ATTACH: Final = "PULUMI_DEBUG_PROVIDERS"
"""Pulumi's variable that names programs which answer for a plugin: package:port,package:port."""

_AWS_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_AWS_FILES: Final = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}
_POD_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - where it is


def packages_of(settings: Mapping[str, Any]) -> list[str]:
    """List the packages of Pulumi that a stack wants a cloud's account for."""
    runtime = settings.get("mlflow:runtime")
    if runtime == "aws":
        aws = settings.get("mlflow:aws")
        compute = aws.get("compute") if isinstance(aws, dict) else None
        return ["aws", "kubernetes"] if compute == "kubernetes" else ["aws"]
    return ["kubernetes"] if runtime == "kubernetes" else []


def version_of(places: Places, package: str) -> str:
    """Read which version of a plugin its Python package wants."""
    pattern = f"lib/python*/site-packages/pulumi_{package}/pulumi-plugin.json"
    [file] = places.venv.glob(pattern)
    return str(json.loads(file.read_text())["version"])


def plugin_ready(environment: Environment, package: str, version: str) -> bool:
    """Tell whether Pulumi has a plugin."""
    program = f"pulumi-resource-{package}"
    folder = environment.pulumi_home / "plugins" / f"resource-{package}-v{version}"
    path = environment.full().get("PATH")
    return os.access(folder / program, os.X_OK) or shutil.which(program, path=path) is not None


def plugin_url(package: str, version: str) -> str:
    """Name the official release of a plugin, to see whether such can be had."""
    releases = f"https://github.com/pulumi/pulumi-{package}/releases/download"
    return f"{releases}/v{version}/pulumi-resource-{package}-v{version}-{go_platform()}.tar.gz"


def no_account(package: str, environment: Environment, settings: Mapping[str, Any]) -> str | None:
    """Say which credentials of a cloud are missing; None where there are some, right or wrong.

    An EC2 instance's own role is not looked for, which takes seconds elsewhere: `--providers real` is for that.
    """
    given = environment.given
    if package == "aws":
        if any(given.get(name) for name in _AWS_VARIABLES) or settings.get("aws:profile"):
            return None
        files = [Path(given.get(name) or path).expanduser() for name, path in _AWS_FILES.items()]
        found = any(file.is_file() and file.stat().st_size for file in files)
        return None if found else "no AWS credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws)"
    section = settings.get("mlflow:kubernetes")
    if isinstance(section, dict) and section.get("stack"):
        return None  # another stack's output is the kubeconfig
    paths = (given.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
    found = any(Path(path).expanduser().is_file() for path in (*paths, _POD_TOKEN) if path)
    return None if found else "no kubeconfig (KUBECONFIG, ~/.kube/config)"


@contextmanager
def test_provider(
    places: Places, environment: Environment, packages: list[str]
) -> Iterator[dict[str, str]]:
    """Run the test provider, which ends with us; yields the environment for `pulumi preview`."""
    path = os.pathsep.join(filter(None, [str(TOOLCHAIN), environment.given.get("PYTHONPATH")]))
    env = environment.full()
    process = subprocess.Popen(
        [places.venv / "bin" / "python", "-m", "test_provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**env, "PYTHONPATH": path},
        text=True,
    )
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        if not port:
            raise SetupError("the test provider did not start; its message is above")
        yield {**env, ATTACH: ",".join(f"{package}:{port}" for package in packages)}
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(timeout=10)


def install_plugin(console: Console, environment: Environment, package: str, version: str) -> None:
    """Let Pulumi install an official plugin."""
    command = ["pulumi", "plugin", "install", "resource", package, version]
    console.run(command, log=f"{package}-plugin", env=environment.full())
