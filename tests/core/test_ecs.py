"""Fargate's sizes, and containers that are hardened alike."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_mlflow.core import ecs

PLAIN = ecs.Container(
    name="server",
    image="r/mlflow@sha256:0",
    command=["serve"],
    user="10001:10001",
    log_group="g",
    region="eu-central-1",
)


@pytest.mark.parametrize(
    ("cpus", "memory", "cpu", "gives"),
    [
        (0.25, 512, 256, 512),
        (0.25, 513, 256, 1024),
        (0.25, 3000, 512, 3072),
        (1, 1, 1024, 2048),
        (3, 1024, 4096, 8192),
        (2, 16384, 2048, 16384),
        (2, 16385, 4096, 17408),
        (16, 122880, 16384, 122880),
    ],
)
def test_the_smallest_size_that_has_so_much(cpus, memory, cpu, gives):
    assert ecs.size(cpus, memory) == ecs.Size(cpu, gives)


@given(st.floats(0.1, 16), st.integers(128, 122880))
def test_every_size_has_what_was_asked_for(cpus, memory):
    found = ecs.size(cpus, memory)
    assert found.cpu >= cpus * 1024
    assert found.memory_mb >= memory
    assert found.memory_mb in ecs._SIZES[found.cpu]


@pytest.mark.parametrize(("cpus", "memory"), [(17, 1024), (1, 122881)])
def test_more_than_fargate_has(cpus, memory):
    with pytest.raises(ValueError, match="Fargate has at most 16 CPUs"):
        ecs.size(cpus, memory)


@pytest.mark.parametrize(
    ("scratch", "gb"), [(0, 21), (512, 21), (5120, 21), (6145, 22), (102400, 115)]
)
def test_disk(scratch, gb):
    assert ecs.storage_gb(scratch) == gb


def test_more_disk_than_fargate_has():
    with pytest.raises(ValueError, match="scratch_mb: must be ≤ 189440"):
        ecs.storage_gb(200 * 1024)


def test_a_container_is_hardened():
    found = ecs.definition(PLAIN)
    assert found["readonlyRootFilesystem"] is True
    assert found["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert found["linuxParameters"]["initProcessEnabled"] is True
    assert found["user"] == "10001:10001"
    assert "privileged" not in found
    assert found["logConfiguration"]["options"]["mode"] == "non-blocking"
    assert "portMappings" not in found
    assert "healthCheck" not in found


@pytest.mark.parametrize("user", ["0", "0:0", "root", "root:root", ""])
def test_root_is_refused(user):
    with pytest.raises(ValueError, match="server: user: must not be root"):
        ecs.definition(ecs.Container(**{**vars(PLAIN), "user": user}))


def test_a_definition_is_the_same_text_whatever_the_order():
    one = ecs.Container(**{**vars(PLAIN), "environment": {"A": "1", "B": "2"}})
    two = ecs.Container(**{**vars(PLAIN), "environment": {"B": "2", "A": "1"}})
    assert json.dumps(ecs.definition(one)) == json.dumps(ecs.definition(two))


@pytest.mark.parametrize(("shared", "mode"), [(False, 0o400), (True, 0o444)])
def test_the_writer_writes_what_the_secret_holds(tmp_path, monkeypatch, shared, mode):
    """The program itself is run."""
    monkeypatch.setattr(ecs, "FILES_PATH", str(tmp_path))
    writer = ecs.files("i", "1:1", "g", "r", "arn", shared=shared)
    contents = {"env/MLFLOW_BACKEND_STORE_URI": "postgresql://ü%40'\"", "ca.pem": "PEM\n"}
    subprocess.run(
        [sys.executable, *writer.entrypoint[1:], *writer.command],
        env={"FILES": ecs.secret_files(contents)},
        check=True,
    )
    written = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert written == contents
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {mode}


def test_the_writer_alone_has_the_secret_and_ends():
    writer = ecs.definition(ecs.files("i", "1:1", "g", "r", "arn"))
    assert writer["secrets"] == [{"name": "FILES", "valueFrom": "arn"}]
    assert writer["essential"] is False
    assert "arn" not in json.dumps(writer["command"])


def test_too_many_files_are_refused_without_their_content():
    with pytest.raises(ValueError, match=r"files: must be ≤ 65536 bytes") as caught:
        ecs.secret_files({"ca.pem": "S3NTINEL" * 10_000, "env/A": "S3NTINEL"})
    assert "S3NTINEL" not in str(caught.value)
    assert "ca.pem 80000" in str(caught.value)


def test_sources_name_a_version():
    assert ecs.secret_source("arn:s", "v1") == "arn:s:::v1"
    assert ecs.secret_source("arn:s", "") == "arn:s"
    assert ecs.secret_source("arn:s", "v1", "KEY") == "arn:s:KEY::v1"
    assert ecs.log_stream("server", "arn:aws:ecs:r:1:task/c/abc") == "task/server/abc"
