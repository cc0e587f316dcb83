"""Whole compose projects in small, and how tests read them."""

import re
from pathlib import Path

from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose import mapping, variables

FIXTURES = Path(__file__).parent / "compose_files"
PROJECTS = sorted(folder.name for folder in FIXTURES.iterdir())
SHELL = {"DB_PASSWORD": "sentinel-db", "POSTGRES_PASSWORD": "sentinel-pg"}


def reader(folder):
    def read(path):
        found = folder / path
        return found.read_text() if found.is_file() else None

    return read


def project(name, shell=SHELL, profiles=(), also=("compose.override.yml",), **options):
    """A fixture, parsed and mapped."""
    folder = FIXTURES / name
    file = next(
        path
        for path in sorted(folder.iterdir())
        if re.match(r"(docker-)?compose\.ya?ml", path.name)
    )
    read = reader(folder)
    known = {**variables.read_env_file(read(".env") or "", shell), **shell}
    overrides = [text for path in also if (text := read(path))]
    parsed = compose_file.parse(file.read_text(), read, known, profiles, overrides)
    return parsed, mapping.map_file(parsed, read, str(folder), **options)


def mapped(name):
    return project(name)[1]


def lines(found):
    return "\n".join(str(finding) for finding in found.findings)
