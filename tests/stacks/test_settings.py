"""Right settings, defaults, and whatever else may stand in a stack's file."""

import json
from pathlib import Path

import pulumi
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from models import Images, Runtime
from pulumi_mlflow.contracts import AuthMode, Engine
from reference import TARGET, render
from rules import BUILD_VERSIONS, OFFERED, VERSIONS
from settings import (
    ROOT,
    Settings,
    SettingsError,
    fields,
    holds_secret,
    load,
    load_stack,
    section_of,
)


def raw(config):
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}


def load_tree(tree):
    """Load what mends have made of a file, typed secrets among it."""
    typed = {key: "typed" for key, value in tree.items() if isinstance(value, SecretStr)}
    plain = {key: value for key, value in tree.items() if key not in typed}
    return load("dev", {**raw(plain), **typed}, secret_keys=typed)


def stack_file(stack):
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {key.removeprefix("mlflow:"): value for key, value in config.items()}


@pytest.mark.parametrize("stack", ["local", "dev", "prod"])
def test_our_own_stack_files_are_right(stack):
    file = stack_file(stack)
    # No file of ours holds a secret: the page of the stack says which command makes it.
    secrets = {"oidc_client_secret": "typed"} if stack == "prod" else {}
    assert load(stack, {**raw(file), **secrets}, secret_keys=secrets).runtime == file["runtime"]


def test_local_needs_nothing_but_its_runtime():
    settings = load("local", {"runtime": "local"}, root=Path("/project"))

    assert settings.database.engine is Engine.SQLITE
    assert settings.artifacts.store == "folder"
    assert settings.access.auth is AuthMode.NONE
    assert settings.data_dir == "/project/.state/data/local"
    assert (settings.access.bind, settings.access.port) == ("127.0.0.1", 5000)


def test_docker_needs_nothing_but_its_runtime():
    settings = load("dev", {"runtime": "docker"})

    assert settings.database.engine is Engine.POSTGRESQL
    assert settings.database.version == "15"
    assert settings.artifacts.store == "versitygw"
    assert settings.access.auth is AuthMode.BASIC
    assert settings.data_dir is None


def test_numbers_as_the_command_line_writes_them():
    config = {
        "runtime": "docker",
        "tracking": {"workers": "3", "cpus": "1.5"},
        "database": {"version": 16, "max_connections": "220"},
        "access": {"port": 8080},
    }

    settings = load("dev", raw(config))

    assert (settings.tracking.workers, settings.tracking.cpus) == (3, 1.5)
    assert (settings.database.version, settings.database.max_connections) == ("16", 220)


def test_localhost_becomes_an_address():
    assert load("dev", raw({"runtime": "local", "access": {"bind": "localhost"}})).access.bind == (
        "127.0.0.1"
    )


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_a_login_any_loopback_will_do(bind):
    assert load("dev", raw({"runtime": "docker", "access": {"auth": "none", "bind": bind}}))


def test_auto_images_are_what_the_machine_has():
    assert load("dev", {"runtime": "docker"}).images is Images.REGISTRY
    built = load("dev", {"runtime": "docker"}, auto_images=Images.BUILD)
    assert built.images is Images.BUILD
    told = load("dev", {"runtime": "docker", "images": "registry"}, auto_images=Images.BUILD)
    assert told.images is Images.REGISTRY


def test_settings_cannot_be_changed():
    settings = load("dev", {"runtime": "docker"})

    with pytest.raises(ValueError, match="frozen"):
        settings.tracking.workers = 4


def test_the_stack_that_pulumi_runs(tmp_path):
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "machine.json").write_text('{"images": "build"}')
    pulumi.runtime.set_all_config(
        {"mlflow:runtime": "docker", "aws:region": "eu-central-1", "mlflow:access": '{"port": 80}'}
    )
    try:
        settings = load_stack(tmp_path)
    finally:
        pulumi.runtime.set_all_config({})

    assert (settings.images, settings.access.port) == (Images.BUILD, 80)


def test_a_broken_note_about_the_machine_is_no_note(tmp_path):
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "machine.json").write_text('{"images": ')
    pulumi.runtime.set_all_config({"mlflow:runtime": "docker"})
    try:
        assert load_stack(tmp_path).images is Images.REGISTRY
    finally:
        pulumi.runtime.set_all_config({})


def test_versions_are_those_that_we_have_images_of():
    from pulumi_mlflow.docker import images

    servers = {engine.value: versions for engine, versions in VERSIONS.items()}
    del servers["sqlite"]
    assert {engine: set(versions) for engine, versions in servers.items()} == {
        engine: set(tags) for engine, tags in images.OFFICIAL_DATABASES.items()
    }
    built = {engine.value: version for engine, version in BUILD_VERSIONS.items()}
    assert built == {**images.BUILT_DATABASES, "sqlite": "3"}


def test_the_configuration_page_is_up_to_date():
    assert TARGET.read_text() == render(), "python infra/reference.py"


def test_every_key_says_what_it_is_and_where_it_belongs():
    for path, field in fields():
        assert field.description, path
        assert field.json_schema_extra["runtimes"], path
        unexampled = path == ("data_dir",) or section_of(field) or holds_secret(field)
        assert unexampled or field.examples, path


# What people may write for any key: right values, near misses and rubbish.
WORDS = [*(e.value for e in Engine), *(a.value for a in AuthMode), *Runtime, "latest", "15", "*"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.sampled_from(["192.168.1.9", "::", "a.b", "/", "/srv/x", "~", "10.0.0.0/16", "mlflow"]),
    st.text(max_size=8),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=4), SCALARS, max_size=2),
)


def mapping(model):
    """A section with keys of its own and rubbish, sections within it too."""
    of_key = {
        key: mapping(inner) | VALUES if (inner := section_of(field)) else VALUES
        for key, field in model.model_fields.items()
    }
    some = st.fixed_dictionaries({}, optional=of_key)
    return some | st.tuples(some, VALUES).map(lambda both: {**both[0], "nonsense": both[1]})


def section(model):
    return mapping(model).map(json.dumps) | st.text(max_size=5)


TOP = {
    key: section(model)
    if (model := section_of(field))
    else st.sampled_from(WORDS) | st.text(max_size=5)
    for key, field in Settings.model_fields.items()
}
CONFIGS = st.fixed_dictionaries({}, optional=TOP)
RUNTIMES = st.sampled_from(["local", "docker", "aws", "kubernetes"])


@examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    CONFIGS,
    RUNTIMES | st.none(),
    st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=2),
)
def test_any_file_gives_settings_or_mends_that_make_it_right(config, runtime, rubbish):
    raw_config = {**config, **rubbish, **({"runtime": runtime} if runtime else {})}
    try:
        load("dev", raw_config)
    except SettingsError as error:
        tree = {}
        for key, text in raw_config.items():
            try:
                tree[key] = (
                    json.loads(text)
                    if key in TOP and section_of(Settings.model_fields[key])
                    else text
                )
            except ValueError:
                tree[key] = text
        for problem in error.problems:
            assert problem.line("dev")
            problem.mend.apply(tree)
        load_tree(tree)


def test_offers_name_every_runtime():
    for offered in OFFERED.values():
        assert set(offered) == set(Runtime)
