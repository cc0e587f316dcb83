"""What holds for every component, found by reflection: a new one is tested as soon as it exists."""

import importlib
import inspect
import pkgutil
import re
import typing

import pulumi
import pytest
from pulumi.provider.experimental.analyzer import Analyzer

import pulumi_mlflow
from pulumi_mlflow.component import MlflowComponent

SECRET = re.compile(r"password|secret|token|kek|key")
NAMES = {"kms_key", "admin_key", "tls_secret", "pull_secrets", "token_endpoint", "database_secret"}
"""Arguments that name a secret, or something else, and hold none."""


def modules():
    found = pkgutil.walk_packages(pulumi_mlflow.__path__, "pulumi_mlflow.")
    return [importlib.import_module(module.name) for module in found]


def components():
    found = {
        item
        for module in modules()
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, MlflowComponent) and "_role" in vars(item)
    }
    return sorted(found, key=lambda item: item.__name__)


COMPONENTS = components()
each = pytest.mark.parametrize("component", COMPONENTS, ids=lambda item: item.__name__)


def args_of(component):
    return inspect.get_annotations(component.__init__)["args"]


def test_all_are_found():
    assert {item.__name__ for item in COMPONENTS} >= {
        "DockerArtifactStore",
        "DockerAuthProxy",
        "DockerDatabase",
        "DockerImages",
        "DockerNetwork",
        "DockerTrackingServer",
        "LocalArtifactStore",
        "LocalDatabase",
        "LocalTrackingServer",
    }


@each
def test_its_name_carries_its_runtime(component):
    runtime = component.__module__.split(".")[1]
    assert component.__name__.startswith(runtime.capitalize())


@each
def test_its_constructor_is_name_args_opts(component):
    parameters = inspect.signature(component.__init__).parameters
    assert list(parameters) == ["self", "name", "args", "opts"]
    assert parameters["opts"].default is None


@each
def test_its_args_are_a_documented_typed_dict(component):
    args = args_of(component)
    assert args.__name__ == f"{component.__name__}Args"
    source = inspect.getsource(args)
    for key in inspect.get_annotations(args):
        assert re.search(rf'    {key}: [^\n]+\n    """', source), f"{key} has no docstring"
    assert "deployment" in args.__optional_keys__


def plain_secrets(kind, inside=()):
    """Paths of arguments, however deep, that by their name hold a secret, and by their type cannot be one's Output."""
    for key, annotation in inspect.get_annotations(kind).items():
        parts, nested = [annotation], []
        while parts:
            part = parts.pop()
            parts += typing.get_args(part)
            if inspect.isclass(part) and typing.is_typeddict(part) and part not in inside:
                nested.append(part)
        for part in nested:
            yield from (f"{key}.{path}" for path in plain_secrets(part, (*inside, kind, part)))
        holds = SECRET.search(key) and key not in NAMES and not nested
        if holds and "Output" not in str(annotation):
            yield key


@each
def test_it_takes_no_secret_as_a_plain_string(component):
    """In a plain string a secret would be plain in the state: it must be possible to give an Output."""
    assert list(plain_secrets(args_of(component))) == []


class Inner(typing.TypedDict):
    password: typing.NotRequired[str]
    tls_secret: str


class Outer(typing.TypedDict):
    access_key: str
    given: typing.NotRequired[list[Inner]]
    secret_key: pulumi.Input[str]


def test_a_plain_secret_is_seen_however_deep():
    assert list(plain_secrets(Outer)) == ["access_key", "given.password"]


@each
def test_it_is_documented(component):
    assert component.__doc__
    assert len(component.__doc__.strip()) > 20


@each
def test_it_reads_no_stack_config(component):
    source = inspect.getsource(inspect.getmodule(component))
    assert "pulumi.Config(" not in source


def test_each_role_has_a_file_of_its_name_in_every_runtime():
    """Alternatives, such as a SQLite file for a database server, may have files beside it."""
    filled = {(item.__module__.split(".")[1], item._role) for item in COMPONENTS}
    at_home = {tuple(item.__module__.split(".")[1:]) for item in COMPONENTS}
    assert filled <= at_home


def test_the_schema_analyzer_takes_them_all():
    """So they can be used from TypeScript, Go, C#, Java and YAML."""
    result = Analyzer("pulumi-mlflow").analyze(COMPONENTS)
    assert set(result["component_definitions"]) == {item.__name__ for item in COMPONENTS}


def test_core_is_pure():
    for module in modules():
        if not module.__name__.startswith("pulumi_mlflow.core"):
            continue
        imported = re.findall(r"^(?:from|import) (\S+)", inspect.getsource(module), re.MULTILINE)
        assert not [
            name for name in imported if name.startswith(("pulumi", "docker", "os", "subprocess"))
        ]


def test_no_runtime_imports_another():
    runtimes = {"local", "docker", "aws", "kubernetes"}
    for module in modules():
        own = module.__name__.split(".")[1]
        if own not in runtimes:
            continue
        source = inspect.getsource(module)
        for other in runtimes - {own}:
            assert not re.search(
                rf"(from|import) (pulumi_mlflow|\.\.){other}\b|from \.\.{other}", source
            ), f"{module.__name__} imports {other}"
