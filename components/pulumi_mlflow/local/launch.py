"""What supervisord runs: ends what an earlier life of the server left over, then becomes the server.

A server that was killed by force leaves its workers behind, and they would keep the port.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from .. import recipes
from . import app, processes

LAUNCH_FILE = "launch.json"
"""argv and environment of the server, secrets included; readable by its owner only."""


def _offer_modules(folder: Path) -> str:
    """Write what makes MLflow find our app and our artifact stores; PYTHONPATH of the server."""
    _clear(folder)
    for name, content in app.entry_point().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    install = recipes.folder() / "mlflow" / "plugin.py"
    subprocess.run([sys.executable, install, folder], check=True)
    return os.pathsep.join([str(folder), str(Path(__file__).parents[2])])


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def main() -> None:
    """Replace this process by the server whose folder the environment names."""
    folder = Path(os.environ[processes.FOLDER_VARIABLE])
    me = psutil.Process()
    keep = {me.pid, *(parent.pid for parent in me.parents())}
    processes.end(p for p in processes.of_folder(folder) if p.pid not in keep)
    launch = json.loads((folder / LAUNCH_FILE).read_text())
    _clear(folder / "tmp")
    environment = {**os.environ, "PYTHONPATH": _offer_modules(folder / "modules")}
    os.execve(launch["argv"][0], launch["argv"], {**environment, **launch["environment"]})  # noqa: S606


if __name__ == "__main__":
    main()
