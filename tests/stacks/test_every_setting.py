"""Every setting changes something, and a test of the running thing has seen what.

What changes is compared under mocks: all that is registered for a stack, with its inputs. What runs is seen by the tests
that are named here. Of a cloud's stacks nothing runs here: of their settings it is seen that they change what is registered, and
how a provider, AWS or a cluster takes that is not (docs/proof.md).
"""

import ast
import copy
import functools
import gc
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import yaml
from tests.stacks import cloud
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
from pulumi_mlflow.core import files
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
        called: what that test calls the setting, where it drives the part below the stack.
    """

    after: Any
    seen: str
    base: Mapping[str, Any] = MappingProxyType({})
    before: Any = None
    stack: str = "dev"
    called: str = ""


CHANGES = {
    "runtime": Change("docker", CELL, {"access": {"auth": "none"}}, stack="local"),
    "images": Change(
        "build",
        # Official ones run where a registry is reached: ci.yml.
        DOCKER + "test_images.py::test_a_first_start_that_was_killed_begins_again",
        before="registry",
        called="build_args",
    ),
    "data_dir": Change(
        "/elsewhere",
        ENGINE + "test_database_has_a_write_ahead_log_and_files_are_private",
        stack="local",
    ),
    "tracking.workers": Change(1, CHANGED),
    "tracking.memory_mb": Change(3000, DOOR),
    "tracking.cpus": Change(1.5, CHANGED),
    "tracking.allowed_hosts": Change(["a.corp.example"], CHANGED),
    "tracking.extras": Change(["gcs"], EXTRAS, called="EXTRAS"),
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
    "database.existing.ca_file": Change("HERE/again.crt", TLS, VERIFIED, called="ca_path"),
    "database.existing.search_path": Change("runs", CELL, DB),
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
        "gs://other/x",
        EXTRAS,
        {"artifacts": {"store": "gcs", "uri": "gs://team/x"}},
        called="ARTIFACTS_URI",
    ),
    "artifacts.expire_multipart_days": Change(9, MINIO, MINIO_STORE),
    "artifacts.encryption": Change("sse-s3", MINIO, MINIO_STORE),
    "artifacts.existing.endpoint_url": Change("https://other.corp.example", BUCKET, S3),
    "artifacts.existing.addressing": Change("virtual", BUCKET, S3),
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
    "access.html_sources": Change(["https://cdn.jsdelivr.net"], DOOR),
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

DIGEST = f"@sha256:{'a' * 64}"
FARGATE = cloud.merged(
    cloud.AWS,
    {
        "aws": {"network": {**cloud.NETWORK, "internet": True}},
        "registry": {
            key: f"registry.corp.example/{key}{DIGEST}"
            for key in ("server", "nginx", "oauth2_proxy")
        },
    },
)
"""`cloud.AWS` with a network and images that are there: a third less to compose, for settings that concern neither."""
AWS, CLUSTER, K = cloud.AWS, cloud.AWS_CLUSTER, cloud.KUBERNETES


class CloudChange(NamedTuple):
    """How two stacks of a cloud differ in one setting.

    Attributes:
        after: the setting's value in the second stack.
        base: the least that both stacks say.
        more: what both stacks have beside it.
        along: what changes with it, without which the rules would refuse it.
    """

    after: Any
    base: Mapping[str, Any] = FARGATE
    more: Mapping[str, Any] = MappingProxyType({})
    along: Mapping[str, Any] = MappingProxyType({})


OTHER_STACK = {"aws": {"network": {"stack": "corp/network/prod", "internet": True}}}
USER_POOL = "arn:aws:cognito-idp:eu-central-1:111122223333:userpool/eu-central-1_"
COGNITO = {
    "aws": {"cognito": {"user_pool": f"{USER_POOL}Ab1", "client_id": "abc", "domain": "corp"}},
    "access": {"oidc": None},
}
SSO = "https://sso.corp.example"
BY_ALB = {
    "access": {
        "oidc": {
            "authorization_endpoint": f"{SSO}/auth",
            "token_endpoint": f"{SSO}/token",
            "user_info_endpoint": f"{SSO}/me",
        }
    }
}
CERTIFICATE = "arn:aws:acm:eu-central-1:111122223333:certificate/"
ALB = {
    "kubernetes": {
        "ingress": {
            "class_name": "alb",
            "issuer": None,
            "cidrs": ["10.20.0.0/16"],
            "certificate_arn": f"{CERTIFICATE}one",
        }
    }
}
GATEWAY = {"kubernetes": {"ingress": None, "gateway": {"name": "public", "namespace": "gateways"}}}
TLS_SECRET = {"kubernetes": {"ingress": {"issuer": None, "tls_secret": "one"}}}
IN_CLUSTER = {
    "artifacts": {"store": "versitygw", "bucket": None, "existing": None},
    "kubernetes": {"identity": None},
    "registry": {"store": "registry.corp.example/versitygw:1.8.0"},
}
WATCHED = {"monitoring": {"namespace": "monitoring"}}
MAILS = {"monitoring": {"emails": ["ml@corp.example"]}}
POOLED = {"database": {"rds_proxy": True}}
ROLE = "arn:aws:iam::111122223333:role"
ARCHIVED = {"database": {"archive": {"bucket": "archive-of-corp", "role_arn": f"{ROLE}/archive"}}}

DB_THERE = {
    "database": {"existing": {"host": "db.corp.example", "tls_mode": "require"}},
    "database_password": "typed-database",
    "registry": {"database": None},
}
VERIFIED_THERE = {
    **DB_THERE,
    "database": {
        "existing": {
            "host": "db.corp.example",
            "tls_mode": "verify-full",
            "ca_file": "HERE/one.crt",
        }
    },
}
DUMPED = {"backup": {"dump": {"bucket": "dumps-of-corp", "role_arn": f"{ROLE}/dumps"}}}
DUMPED_BY_KEYS = {
    "backup": {"dump": {"bucket": "dumps-of-corp"}},
    "dump_access_key": "typed-access",
    "dump_secret_key": "typed-secret",
}
JOBS = {"tracking": {"jobs": {}}, "jobs_redis_url": "rediss://:typed@redis.corp.example"}
KEYS = {
    "artifacts": {"existing": {"endpoint_url": "https://s3.corp.example"}},
    "artifacts_access_key": "typed-access",
    "artifacts_secret_key": "typed-secret",
    "kubernetes": {"identity": None},
}
USERS = {"access": {"auth": "oidc-mlflow", "oidc": {"admin_groups": ["admins"]}}}
BASIC = {
    "access": {"auth": "basic", "oidc": None},
    "oidc_client_secret": None,
    "registry": {"oauth2_proxy": None},
}

CLOUD_CHANGES = {
    "size": CloudChange("M"),
    "tracking.replicas": CloudChange(3),
    "tracking.max_replicas": CloudChange(2),
    "aws.region": CloudChange("eu-west-1"),
    "aws.compute": CloudChange(
        "fargate",
        CLUSTER,
        along={
            "aws": {"zone": "Z0123456789ABC", "network": {"internet": True}},
            "kubernetes": None,
        },
    ),
    "aws.vpc_cidr": CloudChange("10.43.0.0/16", AWS),
    "aws.zones": CloudChange(["eu-central-1b", "eu-central-1c"], AWS),
    "aws.nat": CloudChange("per-zone", AWS),
    "aws.network.stack": CloudChange("corp/other/prod", AWS, OTHER_STACK),
    "aws.network.vpc_id": CloudChange("vpc-0a1b2c3e", CLUSTER),
    "aws.network.cidr": CloudChange("10.21.0.0/16"),
    "aws.network.private_subnets": CloudChange(["subnet-000000aa", "subnet-000000bb"], CLUSTER),
    "aws.network.public_subnets": CloudChange(
        ["subnet-000000aa", "subnet-000000bb"],
    ),
    "aws.network.endpoints": CloudChange("sg-0a1b2c3e"),
    "aws.network.s3_endpoint": CloudChange("vpce-0a1b2c3e", CLUSTER),
    "aws.network.s3_prefixes": CloudChange("pl-6ea54008"),
    # Nothing of the network is: it opens a way to what is not in the VPC.
    "aws.network.internet": CloudChange(
        True, AWS, {**BASIC, **cloud.EXISTING_BUCKET, "aws": {"network": cloud.NETWORK}}
    ),
    "aws.zone": CloudChange("Z0123456789ABD"),
    "aws.certificate": CloudChange(f"{CERTIFICATE}two"),
    "aws.login": CloudChange("proxy", more=COGNITO),
    "aws.cognito.user_pool": CloudChange(f"{USER_POOL}Cd2", more=COGNITO),
    "aws.cognito.client_id": CloudChange("def", more=COGNITO),
    "aws.cognito.domain": CloudChange("other", more=COGNITO),
    "aws.internal": CloudChange(True),
    "aws.clients": CloudChange(["203.0.113.0/24"]),
    "aws.idle_timeout": CloudChange(600),
    "aws.firewall": CloudChange(True),
    "aws.firewall_rate": CloudChange(500, more={"aws": {"firewall": True}}),
    "access.oidc.authorization_endpoint": CloudChange(f"{SSO}/other", more=BY_ALB),
    "access.oidc.token_endpoint": CloudChange(f"{SSO}/other", more=BY_ALB),
    "access.oidc.user_info_endpoint": CloudChange(f"{SSO}/other", more=BY_ALB),
    "database.aurora": CloudChange(True),
    "database.instance_class": CloudChange("db.r7g.xlarge"),
    "database.storage_gb": CloudChange(200),
    "database.storage_class": CloudChange("gp3", K),
    "database.archive.bucket": CloudChange("other-archive", K, ARCHIVED),
    "database.archive.prefix": CloudChange("other", K, ARCHIVED),
    "database.archive.role_arn": CloudChange(f"{ROLE}/other", K, ARCHIVED),
    "database.archive.keep_days": CloudChange(7, K, ARCHIVED),
    "database.multi_az": CloudChange(False),
    "database.read_replica": CloudChange(True, more={"database": {"aurora": True}}),
    "database.rds_proxy": CloudChange(True),
    "database.iam_auth": CloudChange(True),
    "database.backup_days": CloudChange(7),
    "database.backup_region": CloudChange("eu-west-1"),
    "database.ca_file": CloudChange("HERE/one.crt"),
    "database.rds_proxy_ca_file": CloudChange("HERE/one.crt", more=POOLED),
    "database.apply_immediately": CloudChange(True),
    "database.allow_major_upgrade": CloudChange(
        True, more={"database": {"apply_immediately": True}}
    ),
    "database.deletion_protection": CloudChange(False),
    "artifacts.vpc_only": CloudChange(False),
    "artifacts.mode": CloudChange("direct", K),
    "artifacts.multipart": CloudChange(True, more={"artifacts": {"vpc_only": False}}),
    "artifacts.access_logs": CloudChange(False),
    "artifacts.keep_deleted_days": CloudChange(7),
    "artifacts.tiering_days": CloudChange(90),
    "artifacts.replica_region": CloudChange("eu-west-1"),
    "artifacts.storage_gb": CloudChange(200, K, IN_CLUSTER),
    "artifacts.storage_class": CloudChange("gp3", K, IN_CLUSTER),
    "kubernetes.context": CloudChange("other", K),
    "kubernetes.stack": CloudChange(
        "corp/cluster/prod", K, {"kubernetes": {"context": None, "stack": "corp/other/prod"}}
    ),
    "kubernetes.namespace": CloudChange("team", K),
    "kubernetes.cluster": CloudChange("other", CLUSTER),
    "kubernetes.security_group": CloudChange("sg-0a1b2c3e", CLUSTER),
    "kubernetes.secret_store": CloudChange("other", CLUSTER),
    "kubernetes.identity.role_arn": CloudChange("arn:aws:iam::111122223333:role/other", K),
    "kubernetes.identity.pod_identity": CloudChange(
        True, K, {"kubernetes": {"identity": {"role_arn": None, "annotations": {"a": "b"}}}}
    ),
    "kubernetes.identity.annotations": CloudChange({"a": "b"}, K),
    "kubernetes.identity.pod_labels": CloudChange({"a": "b"}, K),
    "kubernetes.ingress.class_name": CloudChange(
        "internal", K, {"kubernetes": {"ingress": {"namespace": "x"}}}
    ),
    "kubernetes.ingress.controller": CloudChange(
        "other", K, {"kubernetes": {"ingress": {"namespace": "x"}}}
    ),
    "kubernetes.ingress.namespace": CloudChange("other", K),
    "kubernetes.ingress.cidrs": CloudChange(["10.20.0.0/16"], K),
    "kubernetes.ingress.issuer": CloudChange("other", K),
    "kubernetes.ingress.issuer_kind": CloudChange("Issuer", K),
    "kubernetes.ingress.tls_secret": CloudChange("other", K, TLS_SECRET),
    "kubernetes.ingress.certificate_arn": CloudChange(f"{CERTIFICATE}two", K, ALB),
    "kubernetes.ingress.public": CloudChange(True, K, ALB),
    "kubernetes.ingress.annotations": CloudChange({"a": "b"}, K),
    "kubernetes.gateway.name": CloudChange("other", K, GATEWAY),
    "kubernetes.gateway.namespace": CloudChange("other", K, GATEWAY),
    "kubernetes.gateway.section": CloudChange("https", K, GATEWAY),
    "kubernetes.gateway.source_namespace": CloudChange("other", K, GATEWAY),
    "kubernetes.pull_secrets": CloudChange(["registry"], K),
    "kubernetes.scratch_class": CloudChange("gp3", K),
    "registry.server": CloudChange("registry.corp.example/mlflow:3.17.2-1", K),
    "registry.nginx": CloudChange(f"registry.corp.example/mirror/nginx{DIGEST}"),
    "registry.oauth2_proxy": CloudChange("registry.corp.example/oauth2-proxy:7.8.2", K),
    "registry.database": CloudChange("registry.corp.example/postgresql:15.15", K),
    "registry.store": CloudChange("registry.corp.example/versitygw:1.8.1", K, IN_CLUSTER),
    "monitoring.emails": CloudChange(["ml@corp.example"]),
    "monitoring.budget_usd": CloudChange(900, more=MAILS),
    "monitoring.namespace": CloudChange("monitoring", K),
    "monitoring.labels": CloudChange({"release": "prometheus"}, K, WATCHED),
    "backup.keep_days": CloudChange(60),
    "backup.copy_region": CloudChange("eu-west-1"),
    "backup.immutable_after_days": CloudChange(7),
    "backup.test_types": CloudChange(["S3"]),
    "backup.gc_days": CloudChange(30, K),
    "backup.dump.bucket": CloudChange("other-dumps", K, DUMPED),
    "backup.dump.prefix": CloudChange("other", K, DUMPED),
    "backup.dump.addressing": CloudChange("virtual", K, DUMPED),
    "backup.dump.region": CloudChange("eu-north-1", K, DUMPED),
    "backup.dump.role_arn": CloudChange(f"{ROLE}/other", K, DUMPED),
    "backup.dump.schedule": CloudChange("30 1 * * *", K, DUMPED),
    "backup.dump.scratch_mb": CloudChange(20480, K, DUMPED),
    "backup.dump.endpoint_url": CloudChange("https://other.corp.example", K, DUMPED_BY_KEYS),
    "backup.dump.ca_file": CloudChange("HERE/one.crt", K, DUMPED_BY_KEYS),
    "dump_access_key": CloudChange("typed-other", K, DUMPED_BY_KEYS),
    "dump_secret_key": CloudChange("typed-other", K, DUMPED_BY_KEYS),
    "tracking.jobs.memory_mb": CloudChange(4096, K, JOBS),
    "tracking.jobs.cpus": CloudChange(4, K, JOBS),
    "jobs_redis_url": CloudChange("rediss://:typed@other.corp.example:6380", K, JOBS),
    "database.instances": CloudChange(3, K),
    # What the other runtimes have too.
    "images": CloudChange("build", AWS, {"images": "registry"}),
    "tracking.workers": CloudChange(1),
    "tracking.memory_mb": CloudChange(4096, K),
    "tracking.cpus": CloudChange(4),
    "tracking.allowed_hosts": CloudChange(["a.corp.example"], K),
    "tracking.scratch_mb": CloudChange(30000),
    "tracking.extras": CloudChange(["gcs"], AWS),
    "database.engine": CloudChange("mysql"),
    "database.version": CloudChange("16"),
    "database.name": CloudChange("other", K),
    "database.username": CloudChange("other"),
    "database.max_connections": CloudChange(800),
    "database.pool_size": CloudChange(6, more={"database": {"max_connections": 850}}),
    "database.max_overflow": CloudChange(34, more={"database": {"max_connections": 850}}),
    "database.memory_mb": CloudChange(5000, K),
    "database.existing.host": CloudChange("other.corp.example", K, DB_THERE),
    "database.existing.port": CloudChange(5433, K, DB_THERE),
    "database_password": CloudChange("typed-other", K, DB_THERE),
    "artifacts.bucket": CloudChange("other-of-corp"),
    "artifacts.store": CloudChange("minio", K, IN_CLUSTER),
    "artifacts.memory_mb": CloudChange(300, K, IN_CLUSTER),
    "artifacts.expire_multipart_days": CloudChange(9),
    "artifacts.existing.addressing": CloudChange("virtual", K),
    "artifacts.existing.region": CloudChange("eu-north-1", K),
    "artifacts.existing.prefix": CloudChange("ours", K),
    "access.auth": CloudChange("oidc-mlflow"),
    "access.hosts": CloudChange(["other.corp.example"]),
    "access.rate_limit": CloudChange(5, K),
    "access.cache": CloudChange(False, K),
    "access.html_sources": CloudChange(["https://cdn.jsdelivr.net"], K),
    "access.username": CloudChange("ada", more=BASIC),
    "access.users": CloudChange(["ada"], more=BASIC),
    "access.oidc.issuer": CloudChange("https://other.corp.example", K),
    "access.oidc.client_id": CloudChange("other", K),
    "access.oidc.allowed_groups": CloudChange(["ml"], K),
    "access.oidc.audiences": CloudChange(["sdk"], K),
    "access.oidc.scopes": CloudChange(["teams"], K),
    "access.oidc.groups_claim": CloudChange("teams", K),
    "access.oidc.email_domains": CloudChange(["corp.example"], K),
    "access.oidc.ca_file": CloudChange("HERE/one.crt", K),
    "access.oidc.admin_groups": CloudChange(["ops"], K, USERS),
    "access.permissions.default": CloudChange("EDIT", K, USERS),
    "access.permissions.groups": CloudChange({"ml": "EDIT"}, K, USERS),
    "database.existing.search_path": CloudChange("runs", K, VERIFIED_THERE),
    "database.existing.tls_mode": CloudChange("verify-ca", K, VERIFIED_THERE),
    "database.existing.ca_file": CloudChange("HERE/again.crt", K, VERIFIED_THERE),
    "artifacts.existing.endpoint_url": CloudChange("https://other.corp.example", K, KEYS),
    "artifacts.existing.ca_file": CloudChange("HERE/one.crt", K, KEYS),
    "artifacts_access_key": CloudChange("typed-other", K, KEYS),
    "artifacts_secret_key": CloudChange("typed-other", K, KEYS),
    "oidc_client_secret": CloudChange("typed-other", K),
}

ONE_VALUE = {
    "tracking.version": "each release is made for one version of MLflow",
    "tracking.replicas": "one in these runtimes, by rule",
}
"""Settings that local and docker stacks cannot change."""

ONE_VALUE_IN_A_CLOUD = {
    "tracking.version": ONE_VALUE["tracking.version"],
    "runtime": "another one has other settings: what each registers is in golden_prod.txt",
}
"""Settings that a cloud's stack cannot change."""


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


def changeable_in_a_cloud():
    """Every setting that has a meaning in a cloud."""
    clouds = {Runtime.AWS.value, Runtime.KUBERNETES.value}
    return {
        dotted(path)
        for path, field in fields()
        if section_of(field) is None and clouds & set(runtimes_of(field))
    }


def test_every_setting_of_a_cloud_is_here():
    assert changeable_in_a_cloud() == {*CLOUD_CHANGES, *ONE_VALUE_IN_A_CLOUD}


@pytest.fixture(scope="module", autouse=True)
def _seldom_collected(request):
    """Of the million objects that the SDKs' classes are none is garbage, and looking for some takes half of the time."""
    request.getfixturevalue(ingredients.__name__)
    for tree in (AWS, K):
        cloud.Composed(cloud.loaded(tree))  # loads them
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000)
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()


@pytest.fixture(scope="module")
def registered_in_a_cloud(folder):
    """What a cloud stack of some settings registers, with all inputs, and what it exports; composed once each."""

    @functools.cache
    def registered(text):
        stack = cloud.Composed(cloud.loaded(json.loads(text.replace("HERE", str(folder)))))
        things = {
            item.name: (item.typ, json.dumps(item.raw, default=str, sort_keys=True))
            for item in stack.seen.values()
        }
        return things, {name: repr(value) for name, value in stack.exports.items()}

    with pytest.MonkeyPatch.context() as patch:
        # Dear by design; the same files have the same version.
        usual = files.version
        known = functools.cache(lambda items, salt: usual(dict(items), salt))
        patch.setattr(files, "version", lambda made, salt: known(tuple(made.items()), salt))
        yield lambda tree: registered(json.dumps(tree, sort_keys=True))


@pytest.mark.parametrize("key", CLOUD_CHANGES)
def test_a_changed_setting_of_a_cloud_changes_what_is_registered(key, registered_in_a_cloud):
    change = CLOUD_CHANGES[key]
    before = cloud.merged(change.base, change.more)
    after = put(cloud.merged(before, change.along), key, change.after)

    assert registered_in_a_cloud(after) != registered_in_a_cloud(before)


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


@pytest.fixture(scope="module")
def registered_here(folder):
    """The same of a local or docker stack: its name, and its settings."""

    @functools.cache
    def registered(stack, text):
        flat = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in json.loads(text.replace("HERE", str(folder))).items()
        }
        if flat["runtime"] == "docker":
            flat.setdefault("images", "registry")
        seen, exports = composed(stack, flat, typed=("typed-",))
        things = {
            item.name: (item.typ, json.dumps(item.inputs, default=str, sort_keys=True))
            for item in seen
        }
        return things, {name: repr(value) for name, value in exports.items()}

    return lambda stack, settings: registered(stack, json.dumps(settings, sort_keys=True))


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_setting_changes_what_is_registered(key, registered_here):
    change = CHANGES[key]
    file = yaml.safe_load((ROOT / f"Pulumi.{change.stack}.yaml").read_text())["config"]
    whole = {name.removeprefix("mlflow:"): value for name, value in file.items()}
    config = {**whole, **change.base}
    before = config if change.before is None else put(config, key, change.before)
    after = put(config, key, change.after)

    assert registered_here(change.stack, after) != registered_here(change.stack, before)


def said_by(file, name, seen=None):
    """Every word in a test: texts, keys, names of arguments and attributes; with what it calls and takes of the tests' own files.

    A word that stands in a docstring alone is not one of them.
    """
    seen = set() if seen is None else seen
    if (file, name) in seen:
        return set()
    seen.add((file, name))
    found = definitions(file).get(name)
    if found is None:
        return set()
    docstrings = {
        id(body[0].value)
        for node in ast.walk(found)
        if isinstance(body := getattr(node, "body", None), list)
        and body
        and isinstance(body[0], ast.Expr)
    }
    words, names = set(), set()
    for node in ast.walk(found):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words |= set() if id(node) in docstrings else set(re.findall(r"\w+", node.value))
        elif isinstance(node, ast.keyword | ast.arg):
            words.add(str(node.arg))
            names.add(str(node.arg))  # a fixture
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
            if isinstance(node.value, ast.Name):
                names.add(f"{node.value.id}.{node.attr}")
    imports = imported(file)
    for name_ in names:
        module, _, attribute = name_.partition(".")
        if attribute and module in imports:
            words |= said_by(imports[module][0], attribute, seen)
        elif name_ in imports:
            words |= said_by(*imports[name_], seen)
        else:
            words |= said_by(file, name_, seen)
    return words


@functools.cache
def definitions(file):
    """Functions, classes and constants of a file: name → its node."""
    found = {}
    for node in ast.parse((ROOT / file).read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        for target in targets:
            found[getattr(target, "name", None) or getattr(target, "id", "")] = node
    return found


@functools.cache
def imported(file):
    """Name → file and name there, of what comes from the tests' own files."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
            path = (node.module or "").replace(".", "/")
            for one in node.names:
                inner = f"{path}/{one.name}.py"
                is_module = (ROOT / inner).is_file()
                found[one.asname or one.name] = (inner if is_module else f"{path}.py", one.name)
    return found


@pytest.mark.parametrize("key", CHANGES)
def test_the_test_that_has_seen_it_gives_that_setting(key):
    """A name alone is no proof: who takes the setting out of the test must say who else has seen it."""
    file, _, name = CHANGES[key].seen.partition("::")
    word = CHANGES[key].called or key.rpartition(".")[2]
    assert word in said_by(file, name), CHANGES[key].seen


def test_words_are_found_in_what_a_test_uses_and_not_in_what_it_only_tells(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "other.py").write_text("def made():\n    return {'port': 1}\n")
    (tmp_path / "tests" / "test_it.py").write_text(
        "from tests.other import made\n"
        'def fixed():\n    """With bind."""\n    return made()\n'
        'def test_it(fixed):\n    """And hosts."""\n    assert fixed\n'
        "def test_other():\n    pass\n"
    )
    monkeypatch.setitem(said_by.__globals__, "ROOT", tmp_path)
    definitions.cache_clear(), imported.cache_clear()
    try:
        assert "port" in said_by("tests/test_it.py", "test_it")
        assert not {"bind", "hosts"} & said_by("tests/test_it.py", "test_it")
        assert said_by("tests/test_it.py", "test_other") == set()
        assert said_by("tests/test_it.py", "test_gone") == set()
    finally:
        definitions.cache_clear(), imported.cache_clear()
