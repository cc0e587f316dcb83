"""Settings that must be refused: one problem each, its message, and a mend that mends."""

import copy
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from tests.stacks import bad_prod, pems

from problems import Rule
from settings import SettingsError, load

TABLE = yaml.safe_load(Path(__file__).with_name("bad_configs.yaml").read_text())
ROWS = [*TABLE["rules"], *TABLE["more"]]


def raw(config):
    """As Pulumi hands a stack's file over: text, and JSON for mappings."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}


def load_row(row, folder):
    """Load a row's settings, with its secrets, those of its mends, and its files."""
    pems.write(folder, row.get("files", {}))
    mended = {key for key, value in row["config"].items() if isinstance(value, SecretStr)}
    secrets = {*row.get("secrets", []), *mended}
    plain = {key: value for key, value in row["config"].items() if key not in mended}
    return load(
        "dev",
        {**raw(plain), **dict.fromkeys(secrets, "typed by somebody")},
        root=folder,
        secret_keys=secrets,
    )


def name(row):
    return f"{row['rule']}-{row['key'].removeprefix('mlflow:') or 'top'}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_is_refused_with_one_message_and_its_mend(row, tmp_path):
    with pytest.raises(SettingsError) as refused:
        load_row(row, tmp_path)

    (problem,) = refused.value.problems
    assert (problem.rule.value, problem.key) == (row["rule"], row["key"])
    assert row["says"] in problem.text
    assert str(refused.value) == f"Pulumi.dev.yaml: {row['key']}: {problem.text}; {row['mend']}"
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_mended_settings_are_right(row, tmp_path):
    with pytest.raises(SettingsError) as refused:
        load_row(row, tmp_path)
    tree = {**copy.deepcopy(row["config"]), **dict.fromkeys(row.get("secrets", []), SecretStr("x"))}
    for problem in refused.value.problems:
        problem.mend.apply(tree)

    assert load_row({"config": tree, "files": row.get("files", {})}, tmp_path)


def test_every_rule_is_hit_exactly_once():
    hits = Counter(row["rule"] for row in (*TABLE["rules"], *bad_prod.TABLE["rules"]))

    assert hits == Counter(rule.value for rule in Rule)


def test_all_problems_come_at_once():
    config = {}
    for key in ("tracking", "database", "access"):
        config[key] = {"nonsense": 1}
    config |= {"runtime": "dokcer", "artifacts": {"bucket": "A"}, "sise": "S"}

    with pytest.raises(SettingsError) as refused:
        load("dev", raw(config))

    keys = [problem.key.removeprefix("mlflow:") for problem in refused.value.problems]
    assert sorted(keys) == sorted(
        [
            "runtime",
            "sise",
            "tracking.nonsense",
            "database.nonsense",
            "access.nonsense",
            "artifacts.bucket",
        ]
    )
    assert len(str(refused.value).splitlines()) == len(keys)


def test_a_problem_that_shows_after_another_is_mended_comes_at_once_too():
    config = {
        "runtime": "docker",
        "tracking": {"workers": "many"},
        "access": {"bind": "0.0.0.0", "tls": "none"},  # noqa: S104
    }

    with pytest.raises(SettingsError) as refused:
        load("dev", raw(config))

    assert [problem.rule for problem in refused.value.problems] == [
        Rule.WRONG_TYPE,
        Rule.HOST_MISSING,
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"runtime": "docker", "database": {"password": "hunter2-sentinel"}},
        {"runtime": "docker", "database": {"url": "postgresql://u:hunter2-sentinel@h/d"}},
        {"runtime": "docker", "database": "postgresql://u:hunter2-sentinel@h/d"},
        {"runtime": "docker", "database": {"name": "postgresql://u:hunter2-sentinel@h/d"}},
        {"runtime": "docker", "databse": {"password": "hunter2-sentinel"}},
        {"runtime": "docker", "api_token": "hunter2-sentinel"},
        {"runtime": "docker", "access": {"hosts": [{"password": "hunter2-sentinel"}]}},
        {"runtime": "docker", "access": {"username": {"password": "hunter2-sentinel"}}},
        {"runtime": "docker", "kubernetes": {"password": "hunter2-sentinel"}},
    ],
    ids=str,
)
def test_what_may_be_a_secret_is_not_shown(config):
    with pytest.raises(SettingsError) as refused:
        load("dev", raw(config))

    assert "sentinel" not in str(refused.value)


def test_a_value_that_is_encrypted_in_the_file_is_not_shown():
    config = {"runtime": "docker", "access": {"username": "hunter2 sentinel"}}

    with pytest.raises(SettingsError) as refused:
        load("dev", raw(config), secret_keys=["access"])

    assert "sentinel" not in str(refused.value)
    assert "mlflow:access.username" in str(refused.value)
