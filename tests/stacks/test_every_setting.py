"""Every setting changes something, and a test of the running thing has seen what.

What changes is compared under mocks: all that is registered for a stack, with its inputs. What runs is seen by the tests
that `SEEN` names.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.stacks.test_compose import (
    EXISTING_BUCKET,
    EXISTING_DATABASE,
    OIDC,
    PROVIDER,
    combined,
)

NOT_COMPOSED = ("aws", "kubernetes")
"""Runtimes whose stacks are not composed yet."""

PROVED = {"images": "registry"}
EXTERNAL = combined(EXISTING_DATABASE)
BUCKET = combined(EXISTING_BUCKET)
MULTIPART = {"artifacts": {"multipart": True, "public_url": "http://172.17.0.1:9000"}}
LOGIN = {"access": {"auth": "oidc", "oidc": PROVIDER}, **OIDC}
TEAM = {"access": {"auth": "oidc-mlflow", "oidc": {**PROVIDER, "admin_groups": ["admins"]}}, **OIDC}
NFS = {"artifacts": {"store": "folder", "nfs": {"server": "nas.corp.example", "path": "/x"}}}
FILES = {
    "access": {"tls": "files", "tls_certificate": "{folder}/1.crt", "tls_key": "{folder}/1.key"}
}

DOCKER = "tests/docker/"
WALK = DOCKER + "test_every_setting.py::test_settings_of_the_front_door_are_seen_in_what_runs"
CHANGED = DOCKER + "test_settings.py::test_changed_settings_are_seen_in_what_runs"
CELL = DOCKER + "test_matrix.py::test_cell"
LOCAL = "tests/engine/test_local_stack.py::test_changed_port_and_workers_show_in_the_running_server"
MOVED = DOCKER + "test_settings.py::test_change_of_what_data_was_made_with_is_refused"


@dataclass(frozen=True)
class Change:
    """Two stacks that differ in one setting, and the test that has seen the difference run."""

    after: Any
    seen: str
    before: Any = None
    """The setting's value in the first one; not given where None."""
    base: dict[str, Any] = field(default_factory=dict)
    """What both have besides."""
    stack: str = "dev"


CHANGES = {
    "runtime": Change("docker", CELL, stack="local"),
    "images": Change("registry", DOCKER + "test_components.py::test_each_image_runs", "build"),
    "data_dir": Change("elsewhere", LOCAL, stack="local"),
    "tracking.workers": Change(3, CHANGED),
    "tracking.memory_mb": Change(3000, WALK),
    "tracking.cpus": Change(1.5, CHANGED),
    "tracking.allowed_hosts": Change(["a.example.com"], CHANGED),
    "tracking.extras": Change(
        ["gcs"],
        DOCKER + "test_minio.py::test_image_with_extras_has_the_drivers_of_other_providers",
    ),
    "tracking.scratch_mb": Change(
        9000, DOCKER + "test_artifacts.py::test_disk_that_is_too_small_is_refused_with_the_numbers"
    ),
    "database.engine": Change("mariadb", CELL, "mysql", {"database": {"version": None}}),
}
