"""Compose files as `docker compose` reads them."""

import pytest

from pulumi_mlflow.core.compose import dockerfile, variables
from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose.file import ComposeFileError, Port


def parsed(text, **given):
    return compose_file.parse(text, lambda _path: None, given)


def service(text, **given):
    """The one service whose keys these are."""
    body = "\n".join(f"    {line}" for line in text.splitlines())
    return parsed(f"services:\n  it:\n    image: x\n{body}\n", **given).services[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}", "a-a"),
        ("${EMPTY-d}|${EMPTY:-d}|${NO-d}|${NO:-d}", "|d|d|d"),
        ("${A:+there}|${NO:+there}|${EMPTY+there}|${EMPTY:+there}", "there||there|"),
        ("${NO:-${ALSO_NO:-${A}}}", "a"),
        ("${A:?must}", "a"),
        ("$$A $${A} 5$ $1 a$", "$A ${A} 5$ $1 a$"),
        ("${NO:-s3://b/p}", "s3://b/p"),
        ("p$NO.", "p."),
    ],
)
def test_variables_are_filled_in_as_compose_does(text, expected):
    assert variables.interpolate(text, {"A": "a", "EMPTY": ""}, set(), set()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${A", "not closed"),
        ("${NO:?set it}", "NO: is not set, and the file demands it (set it)"),
        ("${A/b/c}", "A: compose has no such form"),
        ("${}", "name of a variable"),
    ],
)
def test_variables_that_cannot_be_filled_in(text, message):
    with pytest.raises(ComposeFileError, match=r".") as error:
        variables.interpolate(text, {"A": "the-value"}, set(), set())
    assert message in str(error.value)
    assert "the-value" not in str(error.value)


def test_variables_without_a_value_are_named():
    found = parsed("services: {a: {image: '$NO-${OTHER:-d}'}}")
    assert found.unset == ("NO",)


def test_env_files_have_quotes_comments_and_variables_of_their_own():
    text = (
        "# c\nexport A=1 # c\nB=\"x ${A}\"\nC='$A'\nD=a#b\nE=${FROM_SHELL}\nA2=${A}${A}\n\nEMPTY=\n"
    )
    assert variables.read_env_file(text, {"FROM_SHELL": "s"}) == {
        "A": "1", "B": "x 1", "C": "$A", "D": "a#b", "E": "s", "A2": "11", "EMPTY": "",
    }  # fmt: skip
    with pytest.raises(ComposeFileError, match="line 1"):
        variables.read_env_file("not a line of it", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ports: ['5000']", [Port("", None, 5000)]),
        ("ports: [22:22]", [Port("", 22, 22)]),  # a number in base 60 to YAML 1.1
        ("ports: ['127.0.0.1:80:5000/tcp']", [Port("127.0.0.1", 80, 5000)]),
        ("ports: ['[::1]:80:5000']", [Port("::1", 80, 5000)]),
        ("ports: ['127.0.0.1::5000']", [Port("127.0.0.1", None, 5000)]),
        ("ports: ['8000-8001:5000-5001']", [Port("", 8000, 5000), Port("", 8001, 5001)]),
        ("ports: ['53:53/udp']", []),
        (
            "ports: [{target: 5000, published: '80', host_ip: 10.0.0.1}]",
            [Port("10.0.0.1", 80, 5000)],
        ),
        ("ports: ['${P:-7000}:5000']", [Port("", 7000, 5000)]),
    ],
)
def test_ports_in_short_and_long_form(text, expected):
    assert list(service(text).ports) == expected


@pytest.mark.parametrize("text", ["ports: [a:b]", "ports: ['1-2:1-3']", "ports: 5000"])
def test_ports_that_are_none(text):
    with pytest.raises(ComposeFileError, match=r"it\.ports"):
        service(text)


def test_environment_as_list_and_as_mapping_is_the_same():
    as_list = service("environment: [A=1, 'B=x=y', FROM_SHELL, NOT_THERE]", FROM_SHELL="s")
    as_map = service("environment: {A: 1, B: x=y, FROM_SHELL: , NOT_THERE: }", FROM_SHELL="s")
    assert as_list.environment == as_map.environment == {"A": "1", "B": "x=y", "FROM_SHELL": "s"}


def test_env_files_yield_to_environment_and_a_missing_one_is_named():
    files = {"a.env": "A=1\nB=1", "b.env": "B=2\nC=2"}
    text = "services: {s: {env_file: [a.env, {path: b.env}, {path: no.env, required: false}, gone.env], environment: [C=3]}}"
    found = compose_file.parse(text, files.get, {})
    assert found.services[0].environment == {"A": "1", "B": "2", "C": "3"}
    assert found.missing == ("s.env_file gone.env",)


def test_anchors_and_merge_keys():
    text = """
x-common: &common
  environment: &env {A: 1, B: "${NEVER_ASKED:-2}"}
services:
  s:
    <<: *common
    image: x
  t:
    environment:
      <<: *env
      B: 3
"""
    first, second = parsed(text).services
    assert first.environment == {"A": "1", "B": "2"}
    assert second.environment == {"A": "1", "B": "3"}


def test_services_with_a_profile_run_only_with_it():
    text = "services: {a: {image: x}, b: {image: x, profiles: [tools, more]}}"
    assert [s.name for s in parsed(text).services] == ["a"]
    assert parsed(text).inactive == {"b": ("tools", "more")}
    found = compose_file.parse(text, lambda _path: None, {}, ["more"])
    assert [s.name for s in found.services] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: [", "line 1"),
        ("a: 1", "no 'services:'"),
        ("- x", "no 'services:'"),
        ("services: {a: 5}", "a: must be a mapping"),
        ("services: {a: {environment: x}}", "a.environment: must be a list"),
        ('services: {a: {command: "x \'y"}}', "a.command: a quote is not closed"),
        ("services: {a: !other null}", "docker compose config"),
    ],
)
def test_files_that_are_none(text, message):
    with pytest.raises(ComposeFileError) as error:
        parsed(text)
    assert message in str(error.value)


def test_dockerfiles():
    text = (
        'FROM x\nENTRYPOINT ["sh", "-c"]\nCMD ["old"]\n# CMD no\ncmd ["mlflow server \\\n  -w 2"]\n'
    )
    image = dockerfile.read_dockerfile(text, {})
    assert image.entrypoint == ("sh", "-c")
    assert image.command == ("mlflow server    -w 2",)
