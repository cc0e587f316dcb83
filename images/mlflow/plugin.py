"""Lets MLflow find our artifact stores: `plugin.py FOLDER` puts them into a folder of Python's path like a package.

Needs no MLflow, so that it takes no time.
"""

import shutil
import sys
from pathlib import Path

MODULE = "pulumi_mlflow_artifact_store"

STORES = {"s3": "S3", "file": "Folder"}
"""Scheme of a store's URI → class. The module registers itself for plain paths, which have none."""


def install(folder: Path) -> None:
    """Write the module and its entry points.

    Args:
        folder: site-packages, or one that PYTHONPATH will name; it must be there.
    """
    shutil.copy(Path(__file__).with_name(f"{MODULE}.py"), folder)
    info = folder / f"{MODULE}-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1\n")
    lines = [f"{scheme} = {MODULE}:{store}\n" for scheme, store in STORES.items()]
    (info / "entry_points.txt").write_text("[mlflow.artifact_repository]\n" + "".join(lines))


if __name__ == "__main__":
    install(Path(sys.argv[1]))
