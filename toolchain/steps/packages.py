"""Debian and Ubuntu packages, where we may install them."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Final

from steps.console import Console, SetupError, capture
from steps.places import is_debian_like, is_root

if TYPE_CHECKING:
    from collections.abc import Sequence

_OLDEST_JAVA: Final = 17


def apt_install(console: Console, packages: Sequence[str], purpose: str) -> None:
    """Install packages as root on Debian or Ubuntu; elsewhere say what to install."""
    names = " ".join(packages)
    if not is_debian_like():
        raise SetupError(f"{purpose} is missing. Install it with your system's package manager.")
    if not is_root():
        raise SetupError(f"{purpose} is missing. Install it: sudo apt-get install {names}")
    console.note(f"apt-get install {names}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y"]
    install += ["--no-install-recommends", *packages]
    try:
        console.run(install, log="apt", env=env)
    except SetupError:
        console.run(["apt-get", "update"], log="apt", env=env)  # its lists may just be old
        console.run(install, log="apt", env=env)


def on_path(*names: str) -> str | None:
    """Find the first of some programs that is on PATH."""
    return next(filter(None, map(shutil.which, names)), None)


def java_on_path() -> str | None:
    """Find a Java that is new enough for Keycloak."""
    found = shutil.which("java")
    said = re.search(r'version "(\d+)', capture([found, "-version"]).stderr) if found else None
    return found if said and int(said[1]) >= _OLDEST_JAVA else None
