"""Several compose files as one, as `docker compose` merges them."""

import pytest

from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose.file import ComposeFileError, Port

BASE = """
services:
  it:
    image: one
    build: here
    command: mlflow server -w 1
    environment: {A: 1, B: 1}
    env_file: a.env
    ports: ["80:5000"]
    volumes: ["./x:/data", "named:/other"]
    networks: [front]
    labels: [a=1]
    depends_on: [db]
    extra_hosts: ["h:192.0.2.1"]
    secrets: [pw]
  db: {image: postgres}
"""


def merged(*texts, files=None):
    return compose_file.parse(texts[0], (files or {}).get, {}, overrides=texts[1:])


def it(override, files=None):
    body = "\n".join(f"    {line}" for line in override.strip().splitlines())
    return merged(BASE, f"services:\n  it:\n{body}\n", files=files).named("it")


def test_what_the_later_file_does_not_say_stays():
    before, after = merged(BASE).named("it"), it("image: two")
    assert after.image == "two"
    assert (after.command, after.ports, after.mounts) == (
        before.command,
        before.ports,
        before.mounts,
    )


def test_a_command_takes_the_place_of_another():
    assert it("command: [mlflow, server]").command == ("mlflow", "server")
    assert it("entrypoint: []").entrypoint == ()


@pytest.mark.parametrize("environment", ["{B: 2, C: 2}", "[B=2, C=2]"])
def test_variables_are_merged_by_name(environment):
    assert it(f"environment: {environment}").environment == {"A": "1", "B": "2", "C": "2"}


def test_lists_grow_but_what_can_be_there_once_only_is_the_later_one():
    found = it(
        "ports: ['80:5000', '81:5000']\nvolumes: ['./y:/data', './z:/z']\nnetworks: {back: }"
    )
    assert found.ports == (Port("", 80, 5000), Port("", 81, 5000))
    assert [(m.source, m.target) for m in found.mounts] == [
        ("./y", "/data"), ("named", "/other"), ("./z", "/z"),
    ]  # fmt: skip
    assert set(found.networks) == {"front", "back"}
    assert it("labels: {b: 2}").labels == {"a": "1", "b": "2"}
    assert it("extra_hosts: ['g:192.0.2.2']").hosts == {"h": "192.0.2.1", "g": "192.0.2.2"}
    assert it("secrets: [{source: other, target: pw}]").secrets == {
        "/run/secrets/pw": "other",
    }  # fmt: skip


def test_env_files_are_read_in_order():
    files = {"a.env": "A=a\nX=a", "b.env": "X=b\nY=b"}
    found = it("env_file: [b.env]", files=files)
    assert found.environment == {"A": "1", "B": "1", "X": "b", "Y": "b"}


def test_short_and_long_forms_are_merged():
    assert it("build: {args: {X: 1}}").build == {"context": "here", "args": {"X": "1"}}


@pytest.mark.parametrize(
    ("override", "ports"),
    [
        ("ports: !reset []", ()),
        ("ports: !reset null", ()),
        ("ports: !override ['90:5000']", (Port("", 90, 5000),)),
    ],
)
def test_tags_take_away_and_replace(override, ports):
    assert it(override).ports == ports


def test_a_service_is_taken_away():
    assert merged(BASE, "services: {db: !reset null}").named("db") is None


def test_each_file_has_its_own_anchors_and_the_services_of_all():
    found = merged(BASE, "x-a: &a {image: z}\nservices: {new: *a}")
    assert [s.name for s in found.services] == ["it", "db", "new"]


def test_extends_of_the_same_file_and_of_another():
    files = {
        "common/base.yml": (
            "services:\n  a: {build: ., env_file: x.env, volumes: ['./v:/v'], extends: b}\n"
            "  b: {image: from-b, environment: {B: 1}}\n"
        ),
        "common/x.env": "X=1",
    }
    text = (
        "services:\n  one: {extends: {service: two}, command: c}\n  two: {image: i, command: b}\n"
        "  three: {extends: {file: common/base.yml, service: a}, environment: {C: 1}}\n"
        "  four: {extends: {file: gone.yml, service: a}, image: x}\n"
    )
    found = merged(text, files=files)
    assert (found.named("one").image, found.named("one").command) == ("i", ("c",))
    three = found.named("three")
    assert three.image == "from-b"
    assert three.environment == {"X": "1", "B": "1", "C": "1"}
    assert three.context.rstrip("/.") == "common"
    assert three.mounts[0].source == "common/./v"
    assert found.missing == ("four.extends gone.yml",)


def test_included_files_bring_their_services():
    files = {
        "db/compose.yml": "services: {db: {image: postgres, build: .}}\nnetworks: {n: {external: true}}"
    }
    found = merged("include: [db/compose.yml, gone.yml]\nservices: {a: {image: x}}", files=files)
    assert found.named("db").image == "postgres"
    assert found.named("db").context.rstrip("/.") == "db"
    assert found.networks == {"n": "n"}
    assert found.missing == ("include gone.yml",)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("services: {a: {extends: b}, b: {extends: a}}", {}),
        ("include: [x.yml]\nservices: {}", {"x.yml": "include: [x.yml]\nservices: {}"}),
    ],
)
def test_a_circle_is_named(text, files):
    with pytest.raises(ComposeFileError, match="circle"):
        merged(text, files=files)
