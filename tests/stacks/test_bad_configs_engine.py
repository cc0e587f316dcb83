"""The same settings and the real `pulumi`: every printed mend is run as printed, and some rows are previewed.

Each worker has a copy of the project with a backend and a passphrase of its own, so that two rows run at once.
"""

import functools
import json
import queue
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from tests.stacks import pems
from tests.support import ROOT, Workspace, free_port

from settings import SettingsError, load

TABLE = yaml.safe_load(Path(__file__).with_name("bad_configs.yaml").read_text())
ROWS = [*TABLE["rules"], *TABLE["more"]]
WORKERS = 2
PREVIEWED = (
    "missing",
    "not-a-choice",
    "sqlite-replicas",
    "auth-none",
    "secret-plain",
    "file-missing",
    "tls-pair",
)
"""Rules whose row is refused by a real preview too; what others print is the same code."""

pytestmark = pytest.mark.engine


class Project(Workspace):
    """Our project with the stack `dev`."""

    def __init__(self, folder):
        super().__init__(folder, "dev", {"runtime": "local"})

    def refused(self, *arguments, **environment):
        """The diagnostics of a run that must fail."""
        output = self.pulumi(*(arguments or ("preview",)), ok=False, **environment)
        assert "Traceback" not in output
        assert "Diagnostics:" in output, output
        return output.partition("Diagnostics:")[2]

    def mend(self, diagnostics):
        """Run the printed commands, as printed, in the project's folder; they may ask for a secret."""
        lines = [line for line in diagnostics.splitlines() if "Pulumi.dev.yaml: " in line]
        script = "\n".join(line.rpartition("; ")[2] for line in lines)
        self.run("bash", "-euxc", script, typed="typed by a person\n")

    def write(self, row):
        """The row's stack file, its secrets encrypted, and the files that it names."""
        secrets = dict.fromkeys(row.get("secrets", []), self.encrypted)
        self.configure({**row["config"], **secrets})
        pems.write(self.folder, row.get("files", {}))

    @functools.cached_property
    def encrypted(self):
        """A value that this stack's passphrase opens."""
        self.configure({"runtime": "docker"})
        self.pulumi("config", "set", "--secret", "mlflow:database_password", "of a test")
        return yaml.safe_load(self.file.read_text())["config"]["mlflow:database_password"]

    def load(self):
        """What the stack's file gives now."""
        config = yaml.safe_load(self.file.read_text())["config"]
        tree = {key.removeprefix("mlflow:"): value for key, value in config.items()}
        secret = {k for k, v in tree.items() if isinstance(v, dict) and list(v) == ["secure"]}
        raw = {k: v if isinstance(v, str) else json.dumps(v) for k, v in tree.items()}
        return load("dev", raw, root=self.folder, secret_keys=secret)

    def registered(self):
        """Types of all resources in the state."""
        file = self.folder / "state" / ".pulumi" / "stacks" / "mlflow" / "dev.json"
        return set(re.findall(r'"type": "(\w+:[^"]+)"', file.read_text()))

    def use_free_port(self):
        self.pulumi("config", "set", "--path", "mlflow:access.port", str(free_port()))


def try_row(projects, row):
    """Refused with all that the row says, and right after the printed command."""
    project = projects.get()
    try:
        project.write(row)
        with pytest.raises(SettingsError) as refused:
            project.load()
        assert row["mend"] in str(refused.value)
        if row in TABLE["rules"] and row["rule"] in PREVIEWED:
            diagnostics = project.refused()
            assert diagnostics.count("Pulumi.dev.yaml: ") == 1, diagnostics
            assert f"error: {refused.value}" in diagnostics
            assert project.registered() == set()
        project.mend(str(refused.value))
        project.load()
    finally:
        projects.put(project)


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    free = queue.Queue()
    for number in range(WORKERS):
        free.put(Project(tmp_path_factory.mktemp(f"project-{number}") / "mlflow"))
    return free


@pytest.fixture
def project(projects):
    taken = projects.get()
    yield taken
    projects.put(taken)


@pytest.fixture(scope="module")
def outcomes(request, projects):
    """The rows that were selected, tried side by side."""
    selected = [i.callspec.params["row"] for i in request.session.items if "row" in _parameters(i)]
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {id(row): pool.submit(try_row, projects, row) for row in selected if row in ROWS}


def _parameters(item):
    return getattr(getattr(item, "callspec", None), "params", {})


def name(row):
    return f"{row['rule']}-{row['key'].removeprefix('mlflow:')}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_the_printed_command_mends(row, outcomes):
    outcomes[id(row)].result()


def test_up_registers_nothing_and_destroy_works_with_wrong_settings(project):
    project.configure({"runtime": "local", "tracking": {"workers": 0}})

    diagnostics = project.refused("up", "--yes", "--skip-preview")

    assert diagnostics.count("mlflow:tracking.workers: must be ≥ 1 (got 0)") == 1
    assert project.registered() <= {"pulumi:pulumi:Stack"}
    project.pulumi("refresh", "--yes", "--skip-preview")
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert project.registered() == set()


def test_all_problems_are_printed_and_all_mends_together_mend(project):
    project.configure(
        {
            "runtime": "locale",
            "traking": {"workers": 2},
            "tracking": {"workers": "many", "replicas": 3, "nonsense": 1},
            "access": {"bind": "::", "hosts": "me"},
        }
    )

    diagnostics = project.refused()

    assert diagnostics.count("Pulumi.dev.yaml: ") > 5
    project.mend(diagnostics)
    project.use_free_port()
    project.pulumi("preview")


def test_an_encrypted_value_is_not_shown(project):
    project.configure({"runtime": "docker"})
    sentinel = "sentinel with spaces"
    project.pulumi("config", "set", "--secret", "--path", "mlflow:access.username", sentinel)
    project.pulumi("config", "set", "--secret", "--path", "mlflow:database.password", sentinel)

    output = project.refused()

    assert "sentinel" not in output
    assert "mlflow:access.username: " in output
    assert "mlflow:database.password: unknown key" in output


def test_a_port_of_somebody_else_is_refused_and_mended(project):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        project.configure({"runtime": "local", "access": {"port": port}})

        diagnostics = project.refused()

        assert diagnostics.count(f"mlflow:access.port: {port} on 127.0.0.1 is taken by ") == 1
        assert project.registered() == set()
        project.mend(diagnostics)
        project.pulumi("preview")


def test_an_engine_out_of_reach_is_refused(project):
    project.configure({"runtime": "docker"})

    diagnostics = project.refused(DOCKER_HOST=f"unix://{project.folder}/none.sock")

    assert "Docker Engine: cannot be reached at unix://" in diagnostics
    assert "none.sock: No such file or directory; unset DOCKER_HOST\n" in diagnostics
    assert project.registered() == set()


def test_the_file_of_prod_wants_its_one_secret_and_nothing_else(project):
    config = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    project.configure({key.removeprefix("mlflow:"): value for key, value in config.items()})

    diagnostics = project.refused()

    assert diagnostics.count("must be given") == 1
    assert "mlflow:oidc_client_secret: must be given" in diagnostics
    assert "pulumi config set --secret 'mlflow:oidc_client_secret'" in diagnostics
    assert project.registered() == set()
