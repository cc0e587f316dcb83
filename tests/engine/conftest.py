"""A real stack of the local runtime, driven by the real `pulumi`."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from tests.kubernetes.apiserver import server
from tests.support import ROOT, free_port, toolchain_environment

__all__ = ["server"]

PROGRAM = Path(__file__).parent / "program"
SENTINEL = "S3nt/inel+ke&y=%41 ä"


@dataclass
class Stack:
    """A stack in a folder of its own: program, backend, passphrase and data."""

    folder: Path
    data_dir: Path
    port: int
    environment: dict[str, str]

    def pulumi(self, *arguments: str, ok: bool = True) -> str:
        """Run the CLI; its output, standard error included. `ok=False` demands a failure."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder / "program",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout
        with (self.folder / "output.log").open("a") as log:
            log.write(done.stdout)
        return done.stdout

    def up(self, *arguments: str, ok: bool = True) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, ok=ok)

    def unchanged(self) -> None:
        """`preview`, which refreshes first as `up` does, proposes nothing."""
        self.pulumi("preview", "--expect-no-changes")

    def down(self) -> str:
        return self.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected")

    def purge(self) -> None:
        self.pulumi("state", "unprotect", "--all", "--yes")
        self.pulumi("destroy", "--yes", "--skip-preview")

    def set(self, **settings: Any) -> None:
        """Change the stack's file, as `pulumi config set` does in a second for each."""
        file = self.folder / "program" / "Pulumi.test.yaml"
        content = yaml.safe_load(file.read_text())
        content.setdefault("config", {})
        content["config"] |= {f"enginetest:{key}": str(value) for key, value in settings.items()}
        file.write_text(yaml.safe_dump(content))

    def outputs(self) -> dict[str, Any]:
        """Stack outputs, without what the CLI says on standard error."""
        return json.loads(self._stdout("stack", "output", "--json"))

    def secrets(self) -> list[str]:
        """The sentinel and every generated secret of the stack."""
        exported = json.loads(self._stdout("stack", "export", "--show-secrets"))
        values = [r.get("outputs", {}).get("value") for r in exported["deployment"]["resources"]]
        return [SENTINEL, *(json.loads(v["plaintext"]) for v in values if isinstance(v, dict))]

    def _stdout(self, *arguments: str) -> str:
        return subprocess.run(
            ["pulumi", *arguments],
            cwd=self.folder / "program",
            env=self.environment,
            text=True,
            capture_output=True,
            check=True,
        ).stdout

    def processes(self) -> list[psutil.Process]:
        """All processes that say in their environment that they belong to this stack, whoever counts them."""
        ours = []
        for process in psutil.process_iter():
            try:
                if str(self.data_dir) in process.environ().get("PULUMI_MLFLOW_SERVER_FOLDER", ""):
                    ours.append(process)
            except psutil.Error:
                continue
        return ours

    def process(self, *words: str) -> psutil.Process:
        """The one process of ours with these words among its arguments."""
        (found,) = [p for p in self.processes() if set(words) <= set(p.cmdline())]
        return found

    def server(self) -> psutil.Process:
        return self.process("server", "--port")

    def supervisor(self) -> psutil.Process:
        return self.process("supervisor.supervisord")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self, method: str, path: str, **json_body: Any) -> dict[str, Any]:
        answer = requests.request(
            method, f"{self.url}/api/2.0/mlflow/{path}", json=json_body, timeout=10
        )
        answer.raise_for_status()
        return answer.json()

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack that is up. A test may break it, and leaves it up, with its run, when it ends."""
    folder = tmp_path_factory.mktemp("local")
    shutil.copytree(PROGRAM, folder / "program", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "backend").mkdir()
    (folder / "passphrase").write_text("engine-test")
    tools = toolchain_environment()
    stack = Stack(
        folder,
        # Longer than a unix socket's path may be, and with all that needs quoting.
        folder / f"data of jörg's {'x' * 100}",
        free_port(),
        {
            **os.environ,
            **tools,
            "PATH": f"{Path(sys.executable).parent}:{tools['PATH']}",
            "PYTHONPATH": str(ROOT / "components"),
            "PULUMI_BACKEND_URL": (folder / "backend").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(folder / "passphrase"),
        },
    )
    stack.pulumi("stack", "init", "test")
    stack.set(data_dir=stack.data_dir, port=stack.port, workers=1)
    stack.pulumi("config", "set", "--secret", "sentinel", SENTINEL)
    try:
        stack.up()
        yield stack
    finally:
        stack.purge()
    assert not stack.processes()
    assert not stack.data_dir.exists()
