"""Every command of the README, in an order in which they can be typed, and what of them is not typed as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support import ROOT

PAGES = ("README.md",)
"""Pages whose commands a person types first."""

_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(make|pulumi|pulumi-mlflow|python3?|eval|cp) \S")
_COMMENT = re.compile(r"\s+# .*$")


class Step(NamedTuple):
    """A command of the README.

    Attributes:
        written: as it stands there.
        typed: what is typed for it; the same unless given.
        before: what a person does first, who is told so beside it.
    """

    written: str
    typed: str = ""
    before: str = ""

    @property
    def command(self) -> str:
        """What a shell gets."""
        return "\n".join(filter(None, (self.before, self.typed or self.written)))


STEPS = (
    Step("make help"),
    # On this machine, with nothing there.
    Step("make up"),
    Step('eval "$(make env)"'),
    Step("make verify"),
    # In whatever Python has the person's MLflow.
    Step(
        """python -c 'import mlflow; mlflow.log_metric("loss", 0.1)'""",
        """.venv/bin/python -c 'import mlflow; mlflow.log_metric("loss", 0.1)'""",
    ),
    # In a cloud, without an account.
    Step("make preview STACK=prod"),
    Step("make preview STACK=prod JSON=plan.json"),
    Step('eval "$(python3 toolchain/setup.py env)"'),
    Step("pulumi-mlflow cost --plan plan.json"),
    # On Docker.
    Step("make up STACK=dev"),
    Step('eval "$(make env STACK=dev)"'),
    Step("make verify STACK=dev"),
    Step("make preview STACK=dev"),
    Step("make info STACK=dev"),
    Step("make ps STACK=dev"),
    Step("make logs STACK=dev ROLE=tracking"),
    Step("make shell STACK=dev ROLE=database", "echo exit | make shell STACK=dev ROLE=database"),
    Step("make users STACK=dev DO='add ada'"),
    Step("pulumi config set --path 'mlflow:tracking.workers' 4 -s dev"),
    Step("make dump STACK=dev", "make dump STACK=dev TO=dump/journey"),
    # The path is the one that `make dump` has named, and YES is the answer to what it asks.
    Step("make restore STACK=dev FROM=dump/…", "make restore STACK=dev FROM=dump/journey YES=1"),
    Step("pulumi-mlflow gc --stack dev --dry-run"),
    Step("pulumi config set --path 'mlflow:access.bind' 0.0.0.0 -s dev"),
    Step("pulumi config set --path 'mlflow:access.hosts[0]' mlflow.example.com -s dev"),
    Step("pulumi config set --path 'mlflow:access.tls' self-signed -s dev"),
    # Each of the four commands that the line stands for.
    Step(
        "pulumi preview|up|refresh|destroy -s dev",
        "pulumi preview -s dev && pulumi up --yes --skip-preview -s dev && "
        "pulumi refresh --yes --skip-preview -s dev && ! pulumi destroy --yes --skip-preview -s dev",
    ),
    Step("pulumi destroy", "! pulumi destroy --yes --skip-preview -s dev"),
    Step(
        "pulumi destroy --exclude-protected",
        "pulumi destroy --exclude-protected --yes --skip-preview -s dev",
    ),
    Step("make down STACK=dev", "make up STACK=dev && make down STACK=dev"),
    Step("cp Pulumi.dev.yaml Pulumi.dev2.yaml"),
    Step("make up STACK=dev2", before="sed -i 's/port: .*/port: 5003/' Pulumi.dev2.yaml"),
    Step(
        "pulumi-mlflow import-compose docker-compose.yml",
        "pulumi-mlflow import-compose docker-compose.yml || [ $? -eq 3 ]",  # 3: something is to be read
        before="printf 'services:\\n  mlflow:\\n    image: ghcr.io/mlflow/mlflow:v2.9.2\\n"
        "    command: mlflow server --backend-store-uri sqlite:///mlflow.db\\n' > docker-compose.yml",
    ),
    Step(
        "make down STACK=dev PURGE=1",
        "make down STACK=dev PURGE=1 && make down STACK=dev2 PURGE=1 && make down PURGE=1",
    ),
)

LEFT = {
    "make test": "the tests themselves, of which this is one",
    "make images-update STACK=prod": "asks registries of images: tests/ops/test_images_update.py",
    "pulumi-mlflow migrate-database --stack dev": "takes minutes after a change of engine: "
    "tests/docker/test_databases.py",
    "pulumi up": "named only; typed as `pulumi preview|up|refresh|destroy -s dev`",
    "pulumi login": "a backend of one's own: tests/toolchain/test_setup.py",
}
"""Commands that are not typed, and who proves them."""


def written() -> Iterator[str]:
    """Every command of the pages, once."""
    seen = set()
    for page in PAGES:
        text = (ROOT / page).read_text()
        blocks = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
        for found in (*blocks, *_INLINE.findall(_BLOCK.sub("", text))):
            command = _COMMENT.sub("", found.replace("\\|", "|")).strip()
            if _COMMAND.match(command) and command not in seen:
                seen.add(command)
                yield command


def forgotten() -> list[str]:
    """Commands of the pages that are neither typed nor left; the mere name of one that is typed counts as it."""
    known = {step.written for step in STEPS} | LEFT.keys()
    return [
        command
        for command in written()
        if command not in known and not any(k.startswith(f"{command} ") for k in known)
    ]


def in_stack(command: str, name: str, port: int, other: int) -> str:
    """The command for a machine that others use too: another name for `dev`, other ports.

    Args:
        command: of a step.
        name: of the stack.
        port: instead of 5001.
        other: instead of 5003, the second stack's.
    """
    command = re.sub(r"(?<!/)\bdev(2?)\b(?!/)", rf"{name}\1", command)
    return command.replace("5001", str(port)).replace("5003", str(other))


def stack_file(folder: Path, stack: str, name: str, port: int) -> None:
    """Write a stack's file under another name and with another port."""
    text = (folder / f"Pulumi.{stack}.yaml").read_text()
    changed = re.sub(r"^(    port:) .*$", rf"\1 {port}", text, flags=re.MULTILINE)
    if changed == text:
        key = "  mlflow:access:\n"
        changed = (
            text.replace(key, f"{key}    port: {port}\n")
            if key in text
            else f"{text}{key}    port: {port}\n"
        )
    (folder / f"Pulumi.{name}.yaml").write_text(changed)
