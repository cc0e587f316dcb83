"""`pulumi-mlflow users` where users are settings and passwords are state, with the real `pulumi`."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.support import Workspace

pytestmark = pytest.mark.engine

PROGRAM = Path(__file__).parent / "users_program"


class Stack(Workspace):
    """A stack with nothing but passwords."""

    def users(self, *arguments: str, ok: bool = True) -> tuple[str, str]:
        """Standard output and standard error of a command."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pulumi_mlflow.ops.cli",
                "users",
                *arguments,
                "--stack",
                self.stack,
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout, done.stderr

    def passwords(self) -> dict[str, str]:
        found = self.read("stack", "output", "--json", "--show-secrets")
        return {found["username"]: found["password"], **found.get("users", {})}

    def setting(self) -> dict:
        return yaml.safe_load(self.file.read_text())["config"]["mlflow:access"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    access = {"auth": "basic", "username": "mlflow", "users": ["ada"], "port": 5000}
    workspace = Stack(tmp_path_factory.mktemp("users") / "w", "users", {"access": access}, PROGRAM)
    workspace.pulumi("up", "--yes", "--skip-preview")
    return workspace


def test_basic_users_come_go_and_get_new_passwords(stack, tmp_path):
    before = stack.passwords()
    assert set(before) == {"mlflow", "ada"}

    # 007 is a name, not the number 7.
    stack.users("add", "007", "--show")
    assert stack.setting()["users"] == ["ada", "007"]
    assert stack.passwords() == before

    file = tmp_path / "password"
    stack.users("rotate", "ada", "--output", str(file))
    after = stack.passwords()
    assert after == {
        "mlflow": before["mlflow"],
        "ada": file.read_text().strip(),
        "007": after["007"],
    }
    assert after["ada"] != before["ada"]

    stack.users("remove", "ada")
    assert stack.setting() == {
        "auth": "basic",
        "username": "mlflow",
        "users": ["007"],
        "port": 5000,
    }
    assert "goes with pulumi up -s users" in stack.users("list")[0]
