"""What folders ./mlruns that are years old hold: every good run arrives, and what does not is named."""

import os
import shutil
import socket
from pathlib import Path

import mlflow
import pytest
import yaml
from tests.ops.file_store import FileStore, contents

from pulumi_mlflow.ops import cli
from pulumi_mlflow.ops.errors import OpsError
from pulumi_mlflow.ops.import_mlruns import SOURCE_TAG, import_mlruns
from pulumi_mlflow.ops.stack import FrontDoor


class Imported:
    """A folder, and what becomes of it on the server."""

    def __init__(self, store: FileStore, server: str) -> None:
        self.store, self.server = store, server
        self.client = mlflow.MlflowClient(server, server)

    def again(self):
        """Import, and see that the folder is only read."""
        before = contents(self.store.root)
        report = import_mlruns(
            self.store.root, FrontDoor(tracking_uri=self.server), {}, lambda *step: None
        )
        assert contents(self.store.root) == before
        return report

    def run(self, folder, experiment="Default"):
        """The run on the server that a run's folder has become."""
        found = self.client.get_experiment_by_name(experiment)
        runs = self.client.search_runs(
            [found.experiment_id], filter_string=f"tags.`{SOURCE_TAG}` LIKE '{folder.name}%'"
        )
        assert len(runs) == 1, (folder.name, runs)
        return runs[0]

    def history(self, folder, metric):
        found = self.client.get_metric_history(self.run(folder).info.run_id, metric)
        return [(point.timestamp, point.value, point.step) for point in found]

    def artifacts(self, run, path=None):
        found = []
        for entry in self.client.list_artifacts(run.info.run_id, path):
            found += self.artifacts(run, entry.path) if entry.is_dir else [entry.path]
        return sorted(found)


def named(report, *texts):
    """Whether one line has all of these texts."""
    return any(all(str(text) in line for text in texts) for line in report.left)


@pytest.fixture
def odd(tmp_path, server):
    return Imported(FileStore(tmp_path), server)


def test_a_value_that_stands_twice_is_taken_once(odd):
    fine, twice = odd.store.run("0", "fine"), odd.store.run("0", "logged twice")
    lines = "1600000000000 0.5 1\n1600000000000 0.5 1\n1600000000001 nan 2\n1600000000001 nan 2\n"
    (twice / "metrics" / "acc").write_text(lines)
    report = odd.again()
    assert report.taken["runs"] == 2
    assert odd.run(fine).data.metrics["loss"] == 0.25
    assert len(odd.history(twice, "acc")) == 2
    assert named(report, f"0/{twice.name}/metrics/acc", "2 values stand there twice")


@pytest.mark.parametrize(
    ("lines", "whole", "broken"),
    [
        ("1600000000000 0.5 1\n\n16000000\n", 1, ["line 2 is empty", "line 3 '16000000'"]),
        ("1600000000000 0.5 1\r\n1600000000001 0.5 2\r\n", 2, []),
        ("1600000000 0.5\n1600000001 0.25\n", 2, []),
        ("1600000000000 0.5 1\n1600000000100 0.2", 1, ["line 2 '1600000000100 0.2' is cut"]),
        ("\ufeff1600000000000 0.5 1\n", 1, []),
        ("1600000000000 inf 1\n1600000000000 -inf 2\n1600000000000 NaN 3\n", 3, []),
        (f"1600000000000 0.5 {2**63}\n{2**64} 0.5 1\n-5 0.5 1\n1600000000000 0.5 {2**62}\n", 1,
         ["line 1", "a step that", "line 2", "a time that", "line 3"]),
        ("hello\n1600000000000 one 1\n<html>\x00\n", 0, ["line 1", "line 2", "line 3 is no text"]),
        ("", 0, ["is empty"]),
    ],
)  # fmt: skip
def test_lines_of_metrics_that_are_no_value_are_named(odd, lines, whole, broken):
    fine, died = odd.store.run("0", "fine"), odd.store.run("0", "died")
    (died / "metrics" / "val_loss").write_bytes(lines.encode())
    report = odd.again()
    assert report.taken["runs"] == 2
    assert odd.run(fine).info.status == "FINISHED"
    assert len(odd.history(died, "val_loss")) == whole
    for text in broken:
        assert named(report, f"0/{died.name}/metrics/val_loss", text), report.left
    assert len(report.left) == 0 or broken


def test_what_desktops_and_notebooks_leave_is_no_data(odd):
    fine, seen = odd.store.run("0", "fine"), odd.store.run("0", "looked at with Finder")
    for part in ("metrics", "params", "tags"):
        (seen / part / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1\x00\x80\xff\xfe" + bytes(64))
    (seen / "params" / "._lr").write_bytes(b"\x00\x05\x16\x07")
    (seen / ".DS_Store").write_bytes(b"\x00")
    (odd.store.root / ".DS_Store").write_bytes(b"\x00")
    (odd.store.root / "0" / "Thumbs.db").write_bytes(b"\x00")
    (seen / "params" / ".ipynb_checkpoints").mkdir()
    (seen / "params" / ".ipynb_checkpoints" / "lr-checkpoint").write_text("0.1")
    report = odd.again()
    assert report.taken["runs"] == 2
    assert odd.run(fine).data.params == odd.run(seen).data.params == {"lr": "0.1"}
    assert set(odd.run(seen).data.metrics) == {"loss"}
    for place in (
        "metrics/.DS_Store", "params/.DS_Store", "tags/.DS_Store", "params/._lr", ".DS_Store",
        "params/.ipynb_checkpoints",
    ):  # fmt: skip
        assert named(report, f"0/{seen.name}/{place}:"), place
    assert named(report, ".DS_Store: is no part")
    assert named(report, "0/Thumbs.db: is no part")


def test_long_values_are_named_and_kept_whole(odd, tmp_path):
    run = odd.store.run("0", "long values")
    (run / "params" / "config").write_text("c" * 9000)
    (run / "tags" / "mlflow.note.content").write_text("# Notes\n" + "ü" * 12000)
    (run / "tags" / "mlflow.loggedArtifacts").write_text("[" + "1," * 6000 + "1]")
    # Together more than a request may have.
    for number in range(150):
        (run / "params" / f"long{number}").write_text("ä" * 6000)
    name = f"long note {run.name}"
    tags = odd.store.experiment("1", name, experiment_id="1") / "tags"
    tags.mkdir()
    (tags / "mlflow.note.content").write_text("e" * 25000)
    other = odd.store.run("1", "fine")
    report = odd.again()
    there = odd.run(run)
    assert there.data.params["config"] == "c" * 6000
    assert there.data.params["long149"] == "ä" * 6000
    assert len(there.data.tags["mlflow.note.content"]) == 8000
    assert "mlflow.loggedArtifacts" not in there.data.tags  # a part of JSON is none
    for place in ("params/config", "tags/mlflow.note.content", "tags/mlflow.loggedArtifacts"):
        assert named(report, f"0/{run.name}/{place}", f"pulumi-mlflow.import/{place}")
    kept = odd.client.download_artifacts(
        there.info.run_id, "pulumi-mlflow.import/params/config", tmp_path
    )
    assert open(kept).read() == "c" * 9000  # noqa: PTH123, SIM115
    assert odd.run(other, name).data.params == {"lr": "0.1"}
    note = odd.client.get_experiment_by_name(name).tags["mlflow.note.content"]
    assert note == "e" * 20000
    assert named(report, "1/tags/mlflow.note.content", "25000 characters")


def test_links_are_followed_and_dangling_ones_named(odd, tmp_path):
    run = odd.store.run("0", "links")
    artifacts = run / "artifacts"
    (artifacts / "best.ckpt").write_bytes(b"weights")
    (artifacts / "last.ckpt").symlink_to("best.ckpt")
    (artifacts / "gone.ckpt").symlink_to("/data/old/checkpoints/epoch=3.ckpt")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "inside-link.txt").write_text("reached by a linked folder\n")
    (artifacts / "linked").symlink_to(outside, target_is_directory=True)
    (artifacts / "round").symlink_to(artifacts, target_is_directory=True)
    (artifacts / "self").symlink_to("self")
    os.mkfifo(artifacts / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.open(artifacts, os.O_RDONLY)
        unix.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    (run / "params" / "gone").symlink_to("/data/param")
    after = odd.store.run("0", "after them", start_time=1600000002000)
    report = odd.again()
    assert odd.artifacts(odd.run(run)) == [
        "best.ckpt", "last.ckpt", "linked/inside-link.txt", "notes.txt",
    ]  # fmt: skip
    assert odd.artifacts(odd.run(after)) == ["notes.txt"]
    place = f"0/{run.name}"
    assert named(report, f"{place}/artifacts/gone.ckpt", "/data/old/checkpoints/epoch=3.ckpt")
    assert named(report, f"{place}/artifacts/round", "a folder that it is in")
    for name in ("artifacts/self", "artifacts/pipe", "artifacts/socket", "params/gone"):
        assert named(report, f"{place}/{name}:")


def test_names_of_artifacts_are_the_right_objects(odd, server_folder):
    run = odd.store.run("0", "names")
    images = run / "artifacts" / "images"
    images.mkdir()
    for step in (0, 1, 2):
        (images / f"val#sample+step+{step}.png").write_bytes(b"png %d" % step)
    kept = [
        "what?.txt", "100%.txt", "a%step%1.txt", "blank and +.txt", "größe ä.txt", "semi;colon.txt", "quo'te\".txt",
        "a&b=c.txt", "[1](2){3}.txt", "de?ep/er%/x.txt", "日本.txt", "back\\slash", "...dots",
    ]  # fmt: skip
    renamed = {
        "code%41.txt": "code~41.txt", "tab\there": "tab~here", "why?": "why~", "end;": "end~", "deep?/x": "deep~/x", "same~x": "same~x",
        "same#x": "same~x~2",
    }  # fmt: skip
    for name in (*kept, *renamed):
        path = images / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)
    (images / os.fsdecode(b"latin-\xe4")).write_text("x")
    after = odd.store.run("0", "after them", start_time=1600000002000)
    report = odd.again()
    there = odd.run(run)
    wanted = {f"images/{name}" for name in (*kept, *renamed.values(), "latin-~")}
    wanted |= {f"images/val~sample+step+{step}.png" for step in (0, 1, 2)} | {"notes.txt"}
    # As the server has them, not as MLflow's client reads them.
    root = next((server_folder / "artifacts").glob(f"*/{there.info.run_id}/artifacts"))
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    assert set(files) == wanted
    for name, now in [(name, name) for name in kept] + list(renamed.items()):
        if name not in ("same~x", "same#x"):
            assert files[f"images/{now}"].read_text() == name
        if name not in (now, "same#x"):
            assert named(report, f"'images/{now}'"), name
    assert files["images/same~x"].read_text() == "same~x"
    assert files["images/same~x~2"].read_text() == "same#x"
    assert odd.artifacts(odd.run(after)) == ["notes.txt"]
    assert not named(report, "does not list"), report.left


def test_runs_that_are_none_are_named_and_the_others_arrive(odd):
    fine = odd.store.run("0", "fine")
    lost = odd.store.run("0", "no meta")
    (lost / "meta.yaml").unlink()
    empty = odd.store.run("0", "empty meta")
    (empty / "meta.yaml").write_text("")
    cut = odd.store.run("0", "cut meta")
    (cut / "meta.yaml").write_text("artifact_uri: file:///x\nend_time: 16\nentry_point_name: '")
    words = odd.store.run("0", "no meta but words")
    (words / "meta.yaml").write_text("hello")
    binary = odd.store.run("0", "binary meta")
    (binary / "meta.yaml").write_bytes(bytes(100))
    nameless = odd.store.run("0", "without id")
    (nameless / "meta.yaml").write_text("status: 3\n")
    folder = odd.store.run("0", "meta is a folder")
    (folder / "meta.yaml").unlink()
    (folder / "meta.yaml").mkdir()
    dangling = odd.store.run("0", "meta is a link")
    (dangling / "meta.yaml").unlink()
    (dangling / "meta.yaml").symlink_to("/data/meta.yaml")
    deleted = odd.store.run("0", "deleted", lifecycle_stage="deleted")
    report = odd.again()
    assert report.taken["runs"] == 1
    assert odd.run(fine).info.run_name == "fine"
    for bad in (lost, empty, cut, words, binary, nameless, folder, dangling, deleted):
        assert named(report, f"0/{bad.name}"), bad
    assert named(report, f"0/{lost.name}: is no run: it has no meta.yaml")
    assert named(report, f"0/{deleted.name}: is deleted")


def test_odd_words_in_meta_are_taken_as_they_are(odd):
    windows = odd.store.run("0", "2020-01-01", run_id="0" * 31 + "1")
    text = (windows / "meta.yaml").read_text().replace("'2020-01-01'", "2020-01-01")
    (windows / "meta.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    old = odd.store.run("0", "ünï", user_id="bob", source_name="train.py", start_time=0, status=9)
    text = (old / "meta.yaml").read_text().replace("name: ", "name: !!python/unicode ", 1)
    (old / "meta.yaml").write_text(text)
    (old / "tags" / "mlflow.user").unlink()
    endless = odd.store.run("0", "n" * 300, end_time=None, status="FAILED")
    report = odd.again()
    assert odd.run(windows).info.run_name == "2020-01-01"
    there = odd.run(old)
    assert (there.data.tags["mlflow.user"], there.data.tags["mlflow.source.name"]) == (
        "bob",
        "train.py",
    )
    assert there.info.status == "RUNNING"
    assert named(report, f"0/{old.name}/meta.yaml", "no start_time")
    assert named(report, f"0/{old.name}/meta.yaml", "'9'")
    there = odd.run(endless)
    assert (there.info.status, there.info.end_time) == ("FAILED", None)
    assert there.info.run_name == "n" * 250
    assert named(report, f"0/{endless.name}/meta.yaml", "300 characters")


def test_texts_of_any_encoding_and_kind_arrive_or_are_named(odd):
    run = odd.store.run("0", "texts")
    params = run / "params"
    (params / "latin").write_bytes("größe".encode("latin-1"))
    (params / "utf16").write_bytes("größe".encode("utf-16"))
    (params / "lines").write_bytes(b"a\r\nb\n")
    (params / "empty").touch()
    (params / "sub").mkdir()
    (params / "sub" / "key").write_text("nested")
    (params / "bad@name").write_text("x")
    (params / ("k" * 251)).write_text("x")
    (params / "zero").write_bytes(b"a\0b")
    report = odd.again()
    assert odd.run(run).data.params == {
        "lr": "0.1", "latin": "größe", "utf16": "größe", "lines": "a\r\nb\n", "empty": "", "sub/key": "nested",
    }  # fmt: skip
    for name in ("latin", "utf16", "bad@name", "k" * 251, "zero"):
        assert named(report, f"0/{run.name}/params/{name}:"), name
    assert len(report.left) == 5


def test_a_run_without_a_name_gets_none_that_is_made_up(odd):
    unnamed, tagged = odd.store.run("0", ""), odd.store.run("0", "")
    (tagged / "tags" / "mlflow.runName").write_text("from its tag")
    report = odd.again()
    there = odd.run(unnamed)
    assert there.info.run_name == unnamed.name  # the server has no run without any
    assert "mlflow.runName" not in there.data.tags
    assert odd.run(tagged).info.run_name == "from its tag"
    assert report.left == []
    assert any("1 runs have no name" in line for line in report.notes)


def test_the_same_id_and_the_same_name_twice_arrive_both(odd):
    first = odd.store.run("0", "first")
    name = f"train {first.name}"
    odd.store.experiment("1", name)
    odd.store.experiment("2", name)
    shutil.copytree(first, odd.store.root / "1" / first.name)
    (odd.store.root / "1" / first.name / "params" / "lr").write_text("0.2")
    copy = odd.store.root / "2" / f"{first.name} copy"
    shutil.copytree(first, copy)
    report = odd.again()
    assert report.taken["runs"] == 3
    assert named(report, f"1/{first.name}", f"run_id of 0/{first.name}")
    assert named(report, "2/meta.yaml", name, f"{name} (2)")
    assert odd.run(first, name).data.params == {"lr": "0.2"}
    assert odd.run(first, f"{name} (2)").data.params == {"lr": "0.1"}
    again = odd.again()
    assert (again.taken["runs"], again.known["runs"], again.taken["experiments"]) == (0, 3, 0)
    assert again.left == report.left


def test_experiments_without_a_name_or_meta_keep_their_runs(odd):
    nameless = odd.store.experiment("7", "")
    run = odd.store.run("7", "in a nameless one")
    (nameless / "meta.yaml").unlink()
    gone = odd.store.experiment("8", "gone", lifecycle_stage="deleted")
    (odd.store.root / "9").mkdir()
    (odd.store.root / ".trash" / "5").mkdir(parents=True)
    (odd.store.root / "0" / "traces" / "tr-1").mkdir(parents=True)
    report = odd.again()
    assert odd.run(run, "experiment 7").info.run_name == "in a nameless one"
    for place in ("7: has no meta.yaml", "7/meta.yaml: has no name", f"{gone.name}: is deleted",
                  "9: is no experiment", ".trash/5: is deleted", "0/traces: 1 traces"):  # fmt: skip
        assert named(report, place), place


def test_artifacts_that_lie_elsewhere_are_found_or_named(odd, tmp_path):
    elsewhere = tmp_path / "elsewhere ä"
    elsewhere.mkdir()
    (elsewhere / "model.bin").write_bytes(b"x")
    there = odd.store.run("0", "there", artifact_uri=elsewhere.as_uri())
    store = odd.store.run("0", "store", artifact_uri="s3://bucket/0/store/artifacts")
    lost = odd.store.run("0", "lost", artifact_uri="file:///old/place")
    beside = odd.store.run("0", "beside")
    for run in (there, store, lost, beside):
        (run / "artifacts" / "notes.txt").unlink()
    (lost / "artifacts").rmdir()
    linked = odd.store.run("0", "a link that leads nowhere")
    shutil.rmtree(linked / "artifacts")
    (linked / "artifacts").symlink_to("/data/artifacts")
    git = odd.store.run("0", "from git, which knows no empty folder")
    shutil.rmtree(git / "artifacts")
    meta = yaml.safe_load((beside / "meta.yaml").read_text())
    meta["artifact_uri"] = f"mlflow-artifacts:/0/{beside.name}/artifacts"
    (beside / "meta.yaml").write_text(yaml.safe_dump(meta))
    kept = tmp_path / "mlartifacts" / "0" / beside.name / "artifacts"
    kept.mkdir(parents=True)
    (kept / "of a server.txt").touch()
    report = odd.again()
    assert report.taken["runs"] == 6
    assert odd.artifacts(odd.run(there)) == ["model.bin"]
    assert odd.artifacts(odd.run(beside)) == ["of a server.txt"]
    assert named(report, f"0/{store.name}", "s3://bucket/0/store/artifacts")
    assert named(report, f"0/{lost.name}", "file:///old/place")
    assert named(report, f"0/{linked.name}/artifacts", "leads nowhere")
    assert len(report.left) == 3


def test_registered_models_with_gaps_are_told(odd):
    run = odd.store.run("0", "model", run_id="b" * 31 + "5")
    (run / "artifacts" / "m").mkdir()
    (run / "artifacts" / "m" / "MLmodel").write_text(f"run_id: {run.name}\n")
    source = f"file:///old/mlruns/0/{run.name}/artifacts/m"
    model = odd.store.registered("gaps", {1: source, 3: source, 4: "s3://elsewhere/m"})
    for version in ("1", "3"):
        meta = yaml.safe_load((model / f"version-{version}" / "meta.yaml").read_text())
        (model / f"version-{version}" / "meta.yaml").write_text(
            yaml.safe_dump(meta | {"run_id": run.name})
        )
    (model / "version-2").mkdir()
    (model / "aliases").mkdir()
    (model / "aliases" / "best").write_text("3")
    (model / "aliases" / "lost").write_text("2")
    odd.store.registered("broken", {})
    (odd.store.root / "models" / "broken" / "meta.yaml").write_text("{")
    (odd.store.root / "models" / ".DS_Store").touch()
    report = odd.again()
    versions = odd.client.search_model_versions("name = 'gaps'")
    assert {v.tags[SOURCE_TAG]: v.version for v in versions} == {"1": "1", "3": "2"}
    assert odd.client.get_registered_model("gaps").aliases == {"best": "2"}
    for texts in (
        ("models/gaps/version-2", "no meta.yaml"), ("models/gaps/version-3", "is version 2 on the server"),
        ("models/gaps/version-4", "s3://elsewhere/m"), ("models/gaps/aliases/lost", "'2'"),
        ("models/broken/meta.yaml",), ("models/.DS_Store",),
    ):  # fmt: skip
        assert named(report, *texts), texts
    again = odd.again()
    assert again.taken["model versions"] == 0
    assert again.left == report.left


def test_a_server_that_is_gone_is_an_error_and_nothing_else(tmp_path, monkeypatch):
    store = FileStore(tmp_path)
    store.run("0", "fine")
    with pytest.raises(OpsError, match="goes on when it is run again"):
        import_mlruns(
            tmp_path, FrontDoor(tracking_uri="http://127.0.0.1:9"),
            {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, lambda *step: None,
        )  # fmt: skip
    with pytest.raises(OpsError, match="folder of one experiment"):
        import_mlruns(
            store.root / "0", FrontDoor(tracking_uri="http://127.0.0.1:9"), {}, lambda *step: None
        )


def test_the_exit_code_tells_whether_all_arrived(odd, project, capsys):
    project.write(
        {
            "local": {
                "outputs": {"tracking_uri": odd.server, "auth_mode": "none", "runtime": "local"}
            }
        }
    )
    run = odd.store.run("0", "fine")

    def call():
        with pytest.raises(SystemExit) as ended:
            cli.main(["import-mlruns", str(odd.store.root), "--stack", "local"])
        return ended.value.code or 0, *capsys.readouterr()

    assert call()[0] == 0
    (run / "params" / ".DS_Store").touch()
    code, out, err = call()
    assert code == 2
    assert f"not taken  0/{run.name}/params/.DS_Store: is no data" in err
    assert "Was there: 1 runs" in out.replace("1 experiments, ", "")


def test_files_that_may_not_be_read_are_named(odd, monkeypatch):
    fine, private = odd.store.run("0", "fine"), odd.store.run("0", "private")
    # The tests may run as root, who may read everything.
    secret = {private / "params" / "lr", private / "artifacts" / "notes.txt", private / "metrics"}
    access, listed = os.access, Path.iterdir
    monkeypatch.setattr(os, "access", lambda path, mode: path not in secret and access(path, mode))

    def iterdir(path):
        if path in secret:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    report = odd.again()
    assert odd.run(fine).data.params == {"lr": "0.1"}
    assert (odd.run(private).data.params, odd.run(private).data.metrics) == ({}, {})
    for place in (
        "params/lr: may not be read",
        "artifacts/notes.txt: may not",
        "metrics: permission",
    ):
        assert named(report, f"0/{private.name}/{place}"), report.left


def test_a_parent_that_an_interrupted_import_did_not_tell_is_told_by_the_next(odd):
    parent = odd.store.run("0", "parent", start_time=1600000009000)
    child = odd.store.run("0", "child")
    (child / "tags" / "mlflow.parentRunId").write_text(parent.name)
    odd.again()
    there = odd.run(child).info.run_id
    new_parent = odd.run(parent).info.run_id
    assert odd.client.get_run(there).data.tags["mlflow.parentRunId"] == new_parent
    odd.client.delete_tag(there, "mlflow.parentRunId")
    again = odd.again()
    assert (again.taken["runs"], again.left) == (0, [])
    assert odd.client.get_run(there).data.tags["mlflow.parentRunId"] == new_parent
