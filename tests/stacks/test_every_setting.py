"""Every setting changes something, and a test of the running thing has seen what.

What changes is compared under mocks: all that is registered for a stack, with its inputs. What runs is seen by the tests
that are named here.
"""

import ast
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import yaml
from tests.stacks.pems import write
from tests.stacks.test_compose import (
    EXISTING_BUCKET,
    EXISTING_DATABASE,
    OIDC,
    composed,
    ingredients,
)
from tests.support import ROOT

from models import Runtime
from settings import dotted, fields, runtimes_of, section_of

DOCKER = "tests/docker/"
ENGINE = "tests/engine/test_local_stack.py::"
CELL = DOCKER + "test_matrix.py::test_cell"
CHANGED = DOCKER + "test_settings.py::test_changed_settings_are_seen_in_what_runs"
EXTRAS = DOCKER + "test_minio.py::test_image_with_extras_has_the_drivers_of_other_providers"
NOT_RUN = (
    "tests/components/test_artifact_stores.py::test_nfs_is_mounted_by_the_engine_with_its_options"
)
"""No NFS client is in our machines' kernel: as far as the volume's options."""
KEPT = DOCKER + "test_settings.py::test_change_of_what_data_was_made_with_is_refused"
VERSION = DOCKER + "test_guard.py::test_changed_version_is_refused_with_key_both_values_and_mend"
"""Images built from packages have one major only: as far as the guard."""
TLS = DOCKER + "test_databases.py::test_tls_modes_of_an_existing_database_are_honoured"
MINIO = (
    DOCKER
    + "test_minio.py::test_minio_has_its_console_and_encrypts_and_its_artifacts_leave_for_an_existing_bucket"
)
SIGNED = DOCKER + "test_artifacts.py::test_bytes_of_large_files_pass_the_server_by"
DOOR, PROVIDER, BUCKET = (
    f"{DOCKER}test_every_setting.py::test_settings_of_{what}_are_seen_in_what_runs"
    for what in ("the_front_door", "a_provider", "an_existing_bucket")
)

DB = EXISTING_DATABASE
VERIFIED = {
    **DB,
    "database": {
        "existing": {
            "host": "db.corp.example",
            "tls_mode": "verify-full",
            "ca_file": "HERE/one.crt",
        }
    },
}
S3 = EXISTING_BUCKET
OWN_STORE = {"artifacts": {"store": "versitygw", "mode": "direct", "port": 9000}}
SIGNING = {"artifacts": {"multipart": True, "public_url": "http://172.17.0.1:9000"}}
MINIO_STORE = {"artifacts": {"store": "minio"}}
NFS = {"artifacts": {"store": "folder", "nfs": {"server": "nas.corp.example", "path": "/x"}}}
FILES = {"access": {"tls": "files", "tls_certificate": "HERE/one.crt", "tls_key": "HERE/one.key"}}
LOGIN = {
    "access": {
        "auth": "oidc",
        "oidc": {"issuer": "https://sso.corp.example", "client_id": "mlflow"},
    },
    **OIDC,
}
TEAM = {
    **LOGIN,
    "access": {**LOGIN["access"], "auth": "oidc-mlflow"},
}
TEAM["access"]["oidc"] = {**LOGIN["access"]["oidc"], "admin_groups": ["admins"]}


class Change(NamedTuple):
    """How two stacks differ in one setting, and who has seen that.

    Attributes:
        after: the setting's value in the second stack.
        seen: the test that has seen the change in what runs.
        base: what both stacks have; a section here takes the place of the one in the stack's file.
        before: its value in the first stack; what `base` or the default says where None.
        stack: whose file is taken: `dev` or `local`.
    """

    after: Any
    seen: str
    base: Mapping[str, Any] = MappingProxyType({})
    before: Any = None
    stack: str = "dev"


CHANGES = {
    "runtime": Change("docker", CELL, {"access": {"auth": "none"}}, stack="local"),
    "images": Change(
        "build", DOCKER + "test_engine.py::test_build_gives_the_image", before="registry"
    ),
    "data_dir": Change("/elsewhere", ENGINE + "test_lost_state_loses_no_data", stack="local"),
    "tracking.workers": Change(1, CHANGED),
    "tracking.memory_mb": Change(3000, DOOR),
    "tracking.cpus": Change(1.5, CHANGED),
    "tracking.allowed_hosts": Change(["a.corp.example"], CHANGED),
    "tracking.extras": Change(["gcs"], EXTRAS),
    "tracking.scratch_mb": Change(
        9000, DOCKER + "test_artifacts.py::test_disk_that_is_too_small_is_refused_with_the_numbers"
    ),
    "database.engine": Change("mysql", CELL, {"database": {"engine": "mariadb"}}),
    "database.version": Change("16", VERSION, before="15"),
    "database.name": Change("other", KEPT),
    "database.username": Change("other", KEPT),
    "database.max_connections": Change(190, CHANGED),
    "database.memory_mb": Change(900, CHANGED),
    "database.pool_size": Change(6, CHANGED),
    "database.max_overflow": Change(34, CHANGED),
    "database.pgbouncer": Change(True, CELL),
    "database.existing.host": Change("other.corp.example", CELL, DB),
    "database.existing.port": Change(5433, CELL, DB),
    "database.existing.tls_mode": Change("verify-ca", TLS, VERIFIED),
    "database.existing.ca_file": Change("HERE/again.crt", TLS, VERIFIED),
    "database_password": Change("typed-other", CELL, DB),
    "artifacts.store": Change("folder", CELL),
    "artifacts.bucket": Change("other", KEPT),
    "artifacts.memory_mb": Change(300, CHANGED),
    "artifacts.mode": Change("direct", CELL),
    "artifacts.multipart": Change(True, SIGNED, S3),
    "artifacts.port": Change(9009, SIGNED, OWN_STORE),
    "artifacts.console_port": Change(9010, MINIO, MINIO_STORE),
    "artifacts.public_url": Change("http://172.17.0.2:9000", SIGNED, SIGNING),
    "artifacts.uri": Change(
        "gs://other/x", EXTRAS, {"artifacts": {"store": "gcs", "uri": "gs://team/x"}}
    ),
    "artifacts.expire_multipart_days": Change(9, MINIO, MINIO_STORE),
    "artifacts.encryption": Change("sse-s3", MINIO, MINIO_STORE),
    "artifacts.existing.endpoint_url": Change("https://other.corp.example", BUCKET, S3),
    "artifacts.existing.region": Change("eu-north-1", BUCKET, S3),
    "artifacts.existing.prefix": Change("ours", BUCKET, S3),
    "artifacts.existing.ca_file": Change("HERE/one.crt", BUCKET, S3),
    "artifacts_access_key": Change("typed-other", BUCKET, S3),
    "artifacts_secret_key": Change("typed-other", BUCKET, S3),
    "artifacts.nfs.server": Change("other.corp.example", NOT_RUN, NFS),
    "artifacts.nfs.path": Change("/y", NOT_RUN, NFS),
    "artifacts.nfs.options": Change("ro", NOT_RUN, NFS),
    "access.auth": Change("mlflow", CELL),
    "access.username": Change("ada", CHANGED),
    "access.bind": Change("127.0.0.2", DOOR),
    "access.port": Change(5011, CHANGED),
    "access.hosts": Change(["mlflow.corp.example"], DOOR),
    "access.public_url": Change("https://mlflow.corp.example", PROVIDER),
    "access.users": Change(["ada"], DOOR),
    "access.tls": Change("self-signed", DOOR),
    "access.tls_certificate": Change("HERE/again.crt", DOOR, FILES),
    "access.tls_key": Change("HERE/again.key", DOOR, FILES),
    "access.rate_limit": Change(5, DOOR),
    "access.cache": Change(False, DOOR),
    "access.oidc.issuer": Change("https://other.corp.example", PROVIDER, LOGIN),
    "access.oidc.client_id": Change("other", PROVIDER, LOGIN),
    "access.oidc.audiences": Change(["sdk"], PROVIDER, LOGIN),
    "access.oidc.scopes": Change(["teams"], PROVIDER, LOGIN),
    "access.oidc.groups_claim": Change("teams", PROVIDER, LOGIN),
    "access.oidc.allowed_groups": Change(["ml"], PROVIDER, LOGIN),
    "access.oidc.email_domains": Change(["corp.example"], PROVIDER, LOGIN),
    "access.oidc.admin_groups": Change(["ops"], PROVIDER, TEAM),
    "access.oidc.ca_file": Change("HERE/one.crt", PROVIDER, LOGIN),
    "oidc_client_secret": Change("typed-other", PROVIDER, LOGIN),
    "access.permissions.default": Change("EDIT", PROVIDER, TEAM),
    "access.permissions.groups": Change({"ml": "EDIT"}, PROVIDER, TEAM),
    "network.existing": Change(
        "nginx_network",
        DOCKER
        + "test_two_stacks.py::test_neighbours_of_an_adopted_network_reach_the_front_door_and_nothing_else",
    ),
}

ONE_VALUE = {
    "tracking.version": "each release is made for one version of MLflow",
    "tracking.replicas": "one in these runtimes, by rule",
}
"""Settings that local and docker stacks cannot change."""


def changeable():
    """Every setting of the runtimes that are composed."""
    here = {Runtime.LOCAL.value, Runtime.DOCKER.value}
    return {
        dotted(path)
        for path, field in fields()
        if section_of(field) is None and here & set(runtimes_of(field))
    }


def test_every_setting_is_here():
    assert changeable() == {*CHANGES, *ONE_VALUE}


def put(config, key, value):
    """A copy of a stack's settings with one put in."""
    changed = copy.deepcopy(config)
    *sections, last = key.split(".")
    there = changed
    for section in sections:
        there = there.setdefault(section, {})
    there[last] = value
    return changed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Certificates and keys for settings that name files."""
    made = tmp_path_factory.mktemp("files")
    for name in ("one", "again"):
        write(made, {f"{name}.crt": "certificate", f"{name}.key": "key"})
    # The same key, as it must be, in another file.
    with (made / "again.key").open("a") as again:
        again.write("\n")
    return made


@pytest.mark.usefixtures(ingredients.__name__)
@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_setting_changes_what_is_registered(key, folder):
    change = CHANGES[key]
    file = yaml.safe_load((ROOT / f"Pulumi.{change.stack}.yaml").read_text())["config"]
    whole = {name.removeprefix("mlflow:"): value for name, value in file.items()}
    config = {**whole, **change.base}

    def registered(settings):
        flat = {
            name: (value if isinstance(value, str) else json.dumps(value)).replace(
                "HERE", str(folder)
            )
            for name, value in settings.items()
        }
        if flat["runtime"] == "docker":
            flat.setdefault("images", "registry")
        seen, exports = composed(change.stack, flat, typed=("typed-",))
        things = {
            item.name: (item.typ, json.dumps(item.inputs, default=str, sort_keys=True))
            for item in seen
        }
        return things, {name: repr(value) for name, value in exports.items()}

    before = config if change.before is None else put(config, key, change.before)

    assert registered(put(config, key, change.after)) != registered(before)


def test_the_tests_that_have_seen_them_are_there():
    for node in {change.seen for change in CHANGES.values()}:
        file, _, name = node.partition("::")
        tree = ast.parse(Path(ROOT / file).read_text())
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, node
