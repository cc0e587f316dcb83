"""A dump is whole, private and goes back; what does not fit is refused before anything is changed."""

import io
import json
import stat
import subprocess

import pytest

from pulumi_mlflow.ops import dump as module
from pulumi_mlflow.ops import state
from pulumi_mlflow.ops.cli import main
from pulumi_mlflow.ops.errors import OpsError
from pulumi_mlflow.ops.stack import Stack

SIGNATURE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def secret(name, value):
    return {
        "urn": f"urn:pulumi:s::mlflow::x${state.GENERATED_SECRET}::{name}",
        "type": state.GENERATED_SECRET,
        "protect": True,
        "id": name,
        "outputs": {"value": {**SIGNATURE, "plaintext": json.dumps(value)}},
    }


def secrets_of(project, name):
    return state.generated_secrets({"deployment": {"resources": project.read()[name]["resources"]}})


class FakeBackup:
    """A runtime whose data is a dict: stack's folder name → content."""

    def __init__(self) -> None:
        self.data = {"dev": b"runs of dev", "dev2": b"runs of dev2"}
        self.fail = False

    def dump(self, ops, folder, progress):
        progress("database")
        (folder / "database.sql").write_bytes(self.data[ops["name"]])
        (folder / "artifacts" / "1").mkdir(parents=True)
        (folder / "artifacts" / "1" / "model").write_bytes(b"weights")
        if self.fail:
            raise OpsError("the disk is full")

    def version(self, ops):
        return "3.17.2"

    def restore(self, ops, folder, progress, handover):
        self.data[ops["name"]] = (folder / "database.sql").read_bytes()
        handover.carry()
        handover.up()


@pytest.fixture
def backup(monkeypatch):
    fake = FakeBackup()
    monkeypatch.setattr(module, "_backup", lambda runtime: fake)
    return fake


@pytest.fixture
def stacks(project, version_server, backup):
    def stack(name, **outputs):
        return {
            "outputs": {
                "tracking_uri": version_server,
                "auth_mode": "none",
                "runtime": "docker",
                "ops": {"engine": "postgresql", "name": name},
                **outputs,
            },
            "resources": [
                secret("tracking-kek", f"kek of {name} \"'\\"),
                secret("proxy-login", f"login of {name}"),
                secret("database-password", f"access of {name}"),
                {
                    "urn": "urn:pulumi:s::mlflow::t::server",
                    "type": "t",
                    "custom": True,
                    "outputs": {"value": 1},
                },
            ],
        }

    project.write({name: stack(name) for name in ("dev", "dev2")})
    return project


def make(stacks, name="dev", folder=None):
    folder = folder or stacks.folder / "d"
    module.dump(Stack(stacks.folder, name), folder, lambda step: None)
    return folder


def prepare(stacks, folder, name="dev2"):
    return module.prepare_restore(Stack(stacks.folder, name), folder, lambda step: None)


def test_a_dump_is_private_and_lists_every_file(stacks):
    folder = make(stacks)
    manifest = module.read_manifest(folder)
    assert set(manifest.files) == {"database.sql", "artifacts/1/model", "secrets.json"}
    assert manifest.files["artifacts/1/model"].size == 7
    assert (manifest.stack, manifest.runtime, manifest.mlflow_version) == (
        "dev",
        "docker",
        "3.17.2",
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets.json").stat().st_mode) == 0o600
    assert json.loads((folder / "secrets.json").read_text()) == secrets_of(stacks, "dev")


def test_restore_into_another_stack_carries_data_and_its_secrets_only(stacks, backup):
    folder = make(stacks)
    restore = prepare(stacks, folder)
    assert backup.data["dev2"] == b"runs of dev2"
    restore.run(lambda step: None)
    assert backup.data["dev2"] == b"runs of dev"
    assert secrets_of(stacks, "dev2") == {
        "tracking-kek": "kek of dev \"'\\",
        "proxy-login": "login of dev",
        "database-password": "access of dev2",
    }
    server = stacks.read()["dev2"]["resources"][-1]
    assert server["outputs"] == {"value": 1}
    assert stacks.calls()[-2:] == ["dev2: stack import", "dev2: up --yes --skip-preview"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "database.sql").write_text("x"), "database.sql: changed"),
        (lambda d: (d / "artifacts/1/model").unlink(), "artifacts/1/model: missing"),
        (lambda d: (d / "artifacts/more").touch(), "artifacts/more: not in the manifest"),
        (lambda d: (d / "artifacts/link").symlink_to("/etc/passwd"), "neither a file nor a folder"),
        (lambda d: (d / "manifest.json").unlink(), "no dump"),
        (lambda d: (d / "manifest.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "manifest.json").write_text("[]"), "cannot be read"),
        (lambda d: (d / "manifest.json").write_text('{"format": 2}'), "format 2; .* format 1"),
    ],
)
def test_a_damaged_dump_is_refused(stacks, damage, message):
    folder = make(stacks)
    damage(folder)
    before = stacks.read()
    with pytest.raises(OpsError, match=message):
        prepare(stacks, folder)
    assert stacks.read() == before


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"runtime": "local"}, "runtime: the dump is of 'docker', the stack runs 'local'"),
        ({"ops": {"engine": "mysql"}}, "database engine: .*'postgresql'.*'mysql'"),
        ({"ops": {}}, "no 'engine'"),
    ],
)
def test_a_stack_that_does_not_fit_is_refused(stacks, outputs, message):
    folder = make(stacks)
    found = stacks.read()
    found["dev2"]["outputs"] |= outputs
    stacks.write(found)
    with pytest.raises(OpsError, match=message):
        prepare(stacks, folder)


@pytest.mark.parametrize(
    ("version", "fits"), [("3.9.1", True), ("3.17.2", True), ("3.18.0", False), ("4.0", False)]
)
def test_a_dump_of_a_newer_mlflow_is_refused(stacks, version, fits):
    folder = make(stacks)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"mlflow_version": version}))
    if fits:
        assert prepare(stacks, folder)
        return
    with pytest.raises(OpsError, match=f"mlflow: the dump is of {version}, the stack runs 3.17.2"):
        prepare(stacks, folder)


def test_data_whose_key_has_no_place_is_refused(stacks):
    folder = make(stacks)
    found = stacks.read()
    found["dev2"]["resources"] = found["dev2"]["resources"][1:]
    stacks.write(found)
    with pytest.raises(OpsError, match="encrypted with tracking-kek"):
        prepare(stacks, folder)


def test_a_stack_whose_server_does_not_answer_is_restored(stacks, backup):
    """As it does not after a restore that was ended half way."""
    folder = make(stacks)
    found = stacks.read()
    found["dev2"]["outputs"]["tracking_uri"] = "http://127.0.0.1:9"
    stacks.write(found)
    prepare(stacks, folder).run(lambda step: None)
    assert backup.data["dev2"] == b"runs of dev"


def test_what_finishes_a_restore_is_a_command_of_this_project(stacks):
    folder = make(stacks, folder=stacks.folder / "a dump")
    restore = prepare(stacks, folder)
    assert restore.again == f"pulumi-mlflow restore --stack dev2 --from '{folder}' --yes"
    (stacks.folder / "Makefile").touch()
    assert restore.again == f"make restore STACK=dev2 'FROM={folder}' YES=1"


def test_a_restore_whose_up_fails_says_that_the_data_is_there(stacks, backup):
    folder = make(stacks)
    found = stacks.read()
    found["dev2"]["broken"] = "up"
    stacks.write(found)
    with pytest.raises(OpsError, match="All data is restored; only the server is not up with it: "):
        prepare(stacks, folder).run(lambda step: None)
    assert backup.data["dev2"] == b"runs of dev"


def test_a_folder_in_use_is_refused_and_left_alone(stacks):
    folder = stacks.folder / "d"
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(OpsError, match="not empty"):
        make(stacks, folder=folder)
    assert [p.name for p in folder.iterdir()] == ["mine"]


def test_a_folder_that_git_would_take_up_is_refused(stacks):
    subprocess.run(["git", "init", "-q", str(stacks.folder)], check=True)
    with pytest.raises(OpsError, match="git would take it up"):
        make(stacks, folder=stacks.folder / "data" / "d")
    assert not (stacks.folder / "data").exists()
    (stacks.folder / ".gitignore").write_text("dump/\n")
    assert make(stacks, folder=stacks.folder / "dump" / "d").is_dir()


def test_a_target_that_cannot_be_written_is_refused_in_one_line(stacks, monkeypatch, capsys):
    file = stacks.folder / "file"
    file.touch()
    stacks.folder.joinpath("loop").symlink_to("loop")
    for target in (file, file / "below", stacks.folder / "loop" / "d", "/proc/d", "/sys/kernel/d"):
        with pytest.raises(SystemExit) as ended:
            main(["dump", "--stack", "dev", "--to", str(target)])
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert "Traceback" not in said
        assert f"pulumi-mlflow: {target}: " in said


def test_a_dump_that_cannot_be_read_is_told_in_one_line(stacks, capsys):
    folder = make(stacks)
    (folder / "database.sql").unlink()
    (folder / "database.sql").symlink_to("database.sql")
    for source in (folder, folder / "secrets.json", folder / "no", stacks.folder / ("x" * 300)):
        with pytest.raises(SystemExit) as ended:
            main(["restore", "--stack", "dev2", "--from", str(source), "--yes"])
        assert ended.value.code == 1
        assert "pulumi-mlflow: " in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a megabyte, as a mount point."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("below", ["", "mlflow"])
def test_a_full_disk_is_told_at_once_and_nothing_is_left_on_it(stacks, backup, small_disk, below):
    """Whether it is the mount point itself, or a folder in it."""
    backup.data["dev"] = b"x" * (2 << 20)
    folder = small_disk / below
    with pytest.raises(OpsError, match=rf"dump: {folder}: its disk is full \(No space left"):
        make(stacks, folder=folder)
    assert not list(small_disk.iterdir())
    backup.data["dev"] = b"x"
    assert make(stacks, folder=folder) == folder


def test_a_disk_that_is_full_at_the_last_file_is_told_too(stacks, backup, small_disk):
    backup.data["dev"] = b"x" * ((1 << 20) - 9000)
    with pytest.raises(OpsError, match="its disk is full"):
        make(stacks, folder=small_disk)
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("existed", [True, False])
def test_nothing_is_left_of_a_dump_that_failed(stacks, backup, existed):
    folder = stacks.folder / "d"
    if existed:
        folder.mkdir()
    backup.fail = True
    with pytest.raises(OpsError, match="the disk is full"):
        make(stacks, folder=folder)
    assert folder.exists() == existed
    assert not existed or not list(folder.iterdir())


def test_command_line_from_dev_to_dev2(stacks, backup, capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        main(["dump", "--stack", "dev"])
    assert not ended.value.code
    (folder,) = (stacks.folder / "dump").iterdir()
    assert str(folder) in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        # No --yes and nobody to ask.
        main(["restore", "--stack", "dev2", "--from", str(folder)])
    assert ended.value.code == 1
    assert backup.data["dev2"] == b"runs of dev2"
    with pytest.raises(SystemExit) as ended:
        main(["restore", "--stack", "dev2", "--from", str(folder), "--yes"])
    assert not ended.value.code
    assert backup.data["dev2"] == b"runs of dev"
    printed = "".join(capsys.readouterr())
    assert not any(value in printed for value in secrets_of(stacks, "dev").values())


def test_a_runtime_without_backup(stacks, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(OpsError, match="not available"):
        module._backup("nowhere")
