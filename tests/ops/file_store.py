"""Writes folders as MLflow's file store does, for tests to make odd."""

import uuid
from pathlib import Path

import yaml


class FileStore:
    """A folder mlruns.

    Args:
        above: the folder that it is made in.
    """

    def __init__(self, above: Path) -> None:
        self.root = above / "mlruns"
        self.experiment("0", "Default")

    def experiment(self, number: str, name: str, **more: object) -> Path:
        folder = self.root / number
        folder.mkdir(parents=True)
        meta = {
            "artifact_location": f"file:///old/mlruns/{number}", "creation_time": 1600000000000,
            "experiment_id": number, "last_update_time": 1600000000000, "lifecycle_stage": "active", "name": name,
        }  # fmt: skip
        (folder / "meta.yaml").write_text(yaml.safe_dump(meta | more))
        return folder

    def run(self, experiment: str, name: str, **more: object) -> Path:
        run_id = str(more.get("run_id") or uuid.uuid4().hex)
        folder = self.root / experiment / run_id
        for part in ("artifacts", "metrics", "params", "tags"):
            (folder / part).mkdir(parents=True)
        meta = {
            "artifact_uri": f"file:///old/mlruns/{experiment}/{run_id}/artifacts", "end_time": 1600000001000,
            "entry_point_name": "", "experiment_id": experiment, "lifecycle_stage": "active", "name": name,
            "run_id": run_id, "run_uuid": run_id, "source_name": "", "source_type": 4, "source_version": "",
            "start_time": 1600000000000, "status": 3, "tags": [], "user_id": "ada",
        }  # fmt: skip
        (folder / "meta.yaml").write_text(yaml.safe_dump(meta | more))
        (folder / "metrics" / "loss").write_text("1600000000000 0.5 1\n1600000000100 0.25 2\n")
        (folder / "params" / "lr").write_text("0.1")
        (folder / "tags" / "mlflow.user").write_text("ada")
        (folder / "artifacts" / "notes.txt").write_text(f"of run {run_id}\n")
        return folder

    def registered(self, name: str, versions: dict[int, str]) -> Path:
        """A registered model; version → source."""
        folder = self.root / "models" / name
        folder.mkdir(parents=True)
        for number, source in versions.items():
            version = folder / f"version-{number}"
            version.mkdir(parents=True)
            meta = {
                "name": name,
                "version": number,
                "source": source,
                "run_id": "",
                "status": "READY",
            }
            (version / "meta.yaml").write_text(yaml.safe_dump(meta))
        (folder / "meta.yaml").write_text(yaml.safe_dump({"name": name, "description": ""}))
        return folder


def contents(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """All that is in a folder: to see that nothing of it has changed."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        said = path.lstat()
        if path.is_symlink():
            found[str(path)] = said.st_mode, str(path.readlink())
        elif path.is_file():
            found[str(path)] = said.st_mtime_ns, path.read_bytes()
    return found
