"""A stack in a cloud: the real plugins where they and an account are there, else, for previews, the test provider."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steps.console import Console, SetupError, capture
from steps.places import TOOLCHAIN, Places, go_platform, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


def needed_secrets(settings: Mapping[str, Any]) -> dict[str, str]:
    """List the stack's secrets, given or needed, with values that are none: a trial must not open the real ones."""

    def section(name: str) -> dict[str, Any]:
        found = settings.get(f"mlflow:{name}")
        return found if isinstance(found, dict) else {}

    names = [
        key for key, value in settings.items() if isinstance(value, dict) and "secure" in value
    ]
    if str(section("access").get("auth")).startswith("oidc"):
        names.append("mlflow:oidc_client_secret")
    if section("database").get("existing"):
        names.append("mlflow:database_password")
    return {name: f"trial-{name.rsplit(':', 1)[-1].replace('_', '-')}" for name in names}


def trial(
    places: Places, environment: Environment, stack: str, settings: Mapping[str, Any]
) -> tuple[Path, dict[str, str]]:
    """Make a stack of the same settings with a state and a passphrase of its own, once for each version of them.

    So a preview needs neither the stack's backend nor its passphrase or KMS key, and touches none of them.

    Returns:
        The file with its settings, and the environment for `pulumi`.

    Raises:
        SetupError: Pulumi cannot make it.
    """
    folder = places.state / "trial" / stack
    file, passphrase, backend = (
        folder / name for name in (f"Pulumi.{stack}.yaml", "passphrase", "state")
    )
    env = {
        key: value
        for key, value in environment.full().items()
        if key not in {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN"}
    } | {"PULUMI_BACKEND_URL": backend.as_uri(), "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)}
    secret = needed_secrets(settings)
    plain = {key: value for key, value in settings.items() if key not in secret}
    project = (places.root / "Pulumi.yaml").read_text()
    wanted = json.dumps({"config": plain, "secret": secret, "project": project}, sort_keys=True)
    made = folder / "made-of.json"
    if made.is_file() and made.read_text() == wanted:
        return file, env
    shutil.rmtree(folder, ignore_errors=True)
    backend.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text(project)
    file.write_text(json.dumps({"config": plain}))
    write_private(passphrase, secrets.token_urlsafe())
    given = [word for pair in secret.items() for word in ("--secret", "=".join(pair))]
    for command in (
        ["stack", "init", stack, "--no-select"],
        ["config", "set-all", "-s", stack, *given],
    ):
        said = capture(["pulumi", *command, "--non-interactive"], seconds=120, cwd=folder, env=env)
        if said.returncode != 0:
            raise SetupError(f"pulumi {' '.join(command[:2])} failed:\n{said.stderr.strip()}")
    made.write_text(wanted)
    return file, env


@contextmanager
def stand_in(
    places: Places, env: Mapping[str, str], packages: list[str], words: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Run the test provider, which ends with this; yields the environment for `pulumi preview`.

    Args:
        places: whose venv has Pulumi's SDK.
        env: its environment.
        packages: what it stands in for.
        words: its arguments.

    Raises:
        SetupError: it did not start.
    """
    path = os.pathsep.join(filter(None, [str(TOOLCHAIN), env.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [places.venv / "bin" / "python", "-m", "test_provider", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**env, "PYTHONPATH": path},
        text=True,
        start_new_session=True,  # Ctrl-C is Pulumi's to answer first; this ends with its standard input
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
