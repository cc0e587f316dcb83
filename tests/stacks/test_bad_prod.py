"""Settings of cloud stacks that must be refused before anything is registered; the table is bad_prod.yaml."""

import copy

import pytest
from pydantic import SecretStr
from tests.stacks import bad_prod, cloud

import preflight
from settings import SettingsError, load


def name(row):
    return f"{row['base']}-{row['rule']}-{row['key'].removeprefix('mlflow:')}"


@pytest.mark.parametrize("row", bad_prod.ROWS, ids=name)
def test_is_refused_with_one_message_and_its_mend(row, tmp_path):
    with pytest.raises(SettingsError) as refused:
        cloud.loaded(bad_prod.config_of(row), root=tmp_path)

    problem, *after = refused.value.problems
    assert (problem.rule.value, problem.key) == (row["rule"], row["key"])
    assert problem.text == row["says"]
    assert str(refused.value).splitlines()[0] == (
        f"Pulumi.prod.yaml: {row['key']}: {row['says']}; {row['mend']}"
    )
    # What shows once that is mended comes at the same time.
    assert [other.rule.value for other in after] == row.get("then", [])


@pytest.mark.parametrize("row", bad_prod.ROWS, ids=name)
def test_mended_settings_are_right(row, tmp_path):
    config = bad_prod.config_of(row)
    with pytest.raises(SettingsError) as refused:
        cloud.loaded(config, root=tmp_path)
    tree = copy.deepcopy(config)
    for problem in refused.value.problems:
        problem.mend.apply(tree)
    plain = {key: "typed" if isinstance(value, SecretStr) else value for key, value in tree.items()}

    assert cloud.loaded(plain, root=tmp_path)


def test_there_are_many():
    assert len(bad_prod.ROWS) >= 100


@pytest.mark.parametrize("base", bad_prod.BASES)
def test_what_they_change_is_right_without_the_change(base, tmp_path):
    assert cloud.loaded(bad_prod.BASES[base], root=tmp_path)


def test_no_secret_that_was_typed_is_shown(tmp_path):
    tree = cloud.merged(cloud.AWS, cloud.secret("database_password"), {"aws": {"region": "x"}})

    with pytest.raises(SettingsError) as refused:
        cloud.loaded(tree, root=tmp_path)

    assert cloud.SENTINEL not in str(refused.value)


@pytest.mark.parametrize("runtime", ["local", "aws"])
@pytest.mark.parametrize("key", cloud.SECRETS)
def test_no_secret_is_shown_that_stands_in_plain_or_in_another_runtime(key, runtime):
    with pytest.raises(SettingsError) as refused:
        load("prod", {"runtime": runtime, key: cloud.SENTINEL})

    assert f"mlflow:{key}: " in str(refused.value)
    assert cloud.SENTINEL not in str(refused.value)


def test_a_secret_in_plain_is_refused(tmp_path):
    raw = {"runtime": "aws", "oidc_client_secret": cloud.SENTINEL}

    with pytest.raises(SettingsError) as refused:
        load("prod", raw, root=tmp_path)

    assert "mlflow:oidc_client_secret: stands unencrypted in the file" in str(refused.value)
    assert cloud.SENTINEL not in str(refused.value)


def test_images_to_be_built_need_what_set_up_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    digest = f"registry.corp.example/oauth2-proxy@sha256:{'a' * 64}"
    told = cloud.merged(cloud.AWS, {"registry": {"oauth2_proxy": digest}})

    with pytest.raises(preflight.PreflightError, match=r"oauth2-proxy-\*.*make setup STACK="):
        preflight.preflight(cloud.loaded(cloud.AWS, root=tmp_path))
    preflight.preflight(cloud.loaded(told, root=tmp_path))
