"""Compose files as `docker compose` reads them, and as settings of a stack. The fixtures are whole projects."""

from pathlib import Path

import pytest
import yaml

from pulumi_mlflow.core import compose_file, compose_mapping, compose_rules
from pulumi_mlflow.core.compose_file import ComposeFileError, Port

FIXTURES = Path(__file__).parent / "compose_files"
PROJECTS = sorted(folder.name for folder in FIXTURES.iterdir())
SHELL = {"DB_PASSWORD": "sentinel-db", "POSTGRES_PASSWORD": "sentinel-pg"}


def project(name, variables=SHELL, profiles=()):
    """A fixture, parsed and mapped."""
    folder = FIXTURES / name
    file = next(path for path in folder.iterdir() if "compose" in path.name)

    def read(path):
        found = folder / path
        return found.read_text() if found.is_file() else None

    known = {**compose_file.read_env_file(read(".env") or "", variables), **variables}
    parsed = compose_file.parse(file.read_text(), read, known, profiles)
    return parsed, compose_mapping.map_file(parsed, read, str(folder))


def mapped(name):
    return project(name)[1]


def lines(found):
    return "\n".join(str(finding) for finding in found.findings)


def parsed(text, **variables):
    return compose_file.parse(text, lambda _path: None, variables)


def service(text, **variables):
    """The one service whose keys these are."""
    body = "\n".join(f"    {line}" for line in text.splitlines())
    return parsed(f"services:\n  it:\n    image: x\n{body}\n", **variables).services[0]


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
    assert compose_file.interpolate(text, {"A": "a", "EMPTY": ""}, set(), set()) == expected


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
        compose_file.interpolate(text, {"A": "the-value"}, set(), set())
    assert message in str(error.value)
    assert "the-value" not in str(error.value)


def test_variables_without_a_value_are_named():
    found = parsed("services: {a: {image: '$NO-${OTHER:-d}'}}")
    assert found.unset == ("NO",)


def test_env_files_have_quotes_comments_and_variables_of_their_own():
    text = (
        "# c\nexport A=1 # c\nB=\"x ${A}\"\nC='$A'\nD=a#b\nE=${FROM_SHELL}\nA2=${A}${A}\n\nEMPTY=\n"
    )
    assert compose_file.read_env_file(text, {"FROM_SHELL": "s"}) == {
        "A": "1", "B": "x 1", "C": "$A", "D": "a#b", "E": "s", "A2": "11", "EMPTY": "",
    }  # fmt: skip
    with pytest.raises(ComposeFileError, match="line 1"):
        compose_file.read_env_file("not a line of it", {})


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
        ("services: {a: !reset null}", "docker compose config"),
    ],
)
def test_files_that_are_none(text, message):
    with pytest.raises(ComposeFileError) as error:
        parsed(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mlflow", "server", "-w", "2"], ("-w", "2")),
        (["./wait.sh", "db:3306", "--", "mlflow", "server", "-h", "::"], ("-h", "::")),
        (["python", "-m", "mlflow", "ui"], ()),
        (["sh", "-c", "pip install x && exec mlflow server --a $A | tee log"], ("--a", "value")),
        (["sh", "-c", "cd /\nmlflow server \\\n  --a \"${A}\" \\\n  --b 'x y'\nother"], ("--a", "value", "--b", "x y")),
        (["/opt/bin/mlflow", "server", "--opts", "--timeout 5"], ("--opts", "--timeout 5")),
        (["gunicorn", "mlflow.server:app"], None),
        (["mlflow", "models", "serve"], None),
    ],
)  # fmt: skip
def test_the_servers_arguments_are_found_in_any_command(words, expected):
    assert compose_file.mlflow_arguments(words, {"A": "value"}, set()) == expected


def test_dockerfiles():
    text = 'FROM x\nENTRYPOINT ["sh", "-c"]\nCMD ["old"]\n# CMD no\ncmd mlflow server \\\n  -w 2\n'
    assert compose_file.dockerfile_words(text) == ("sh", "-c", "mlflow server    -w 2")


EXPECTED = {
    "mysql-minio": """
runtime: docker
database: {engine: mysql, name: tracking, username: ml_user}
artifacts: {store: minio, bucket: default, mode: direct, console_port: 9011, port: 9010}
tracking: {workers: 3}
access: {auth: basic, port: 5005}
""",
    "postgres-bash": """
runtime: docker
database: {engine: postgresql, name: mlflow, username: mlflow, max_connections: 300}
artifacts: {store: versitygw, bucket: mlflow, mode: proxied}
tracking: {memory_mb: 2048, cpus: 1.5}
access: {auth: basic, port: 5500}
""",
    "nginx-mysql": f"""
runtime: docker
database: {{engine: mysql, name: mlflow, username: mlflow_user}}
artifacts: {{store: minio, bucket: ml_artifacts, mode: direct}}
tracking: {{workers: 2}}
access:
  auth: basic
  username: ada
  users: [grace]
  port: 8443
  bind: 0.0.0.0
  hosts: [mlflow.example.org]
  tls: files
  tls_certificate: {FIXTURES}/nginx-mysql/certs/mlflow.crt
  tls_key: {FIXTURES}/nginx-mysql/certs/mlflow.key
network: {{existing: nginx_network}}
""",
    "oidc-existing": """
runtime: docker
database: {engine: postgresql, name: mlflow, username: svc, existing: {host: db.company.net, port: 6432, tls_mode: require}}
artifacts: {store: s3, bucket: company-mlflow, mode: direct, existing: {region: eu-central-1, prefix: team}}
access:
  auth: oidc
  port: 4180
  oidc: {issuer: https://id.company.net/realms/ml, client_id: mlflow, allowed_groups: [ml-team], scopes: [groups]}
""",
    "dockerfile-gcs": """
runtime: docker
database: {engine: sqlite}
artifacts: {store: gcs, uri: gs://ml-demo-artifacts/runs, mode: direct}
access: {auth: basic, port: 5000}
""",
}


@pytest.mark.parametrize("name", PROJECTS)
def test_projects_become_settings(name):
    assert mapped(name).settings == yaml.safe_load(EXPECTED[name])


@pytest.mark.parametrize("name", PROJECTS)
def test_no_secret_is_in_settings_or_findings(name):
    found = mapped(name)
    assert "sentinel" not in str(found.settings)
    assert "sentinel" not in lines(found)
    assert "sentinel" not in repr(found)


LEFT = {
    "mysql-minio": [
        "adminer: only runs with profile tools",
        "web.command --gunicorn-opts = --timeout 180: not taken; the stack computes them",
        "db.ports = 3306: a stack does not publish its database",
        "s3.image = minio/minio:RELEASE.2021-08-25T00-41-18Z: MinIO is no longer maintained",
        "services: nothing in the file asks for a login",
        "web.ports = 0.0.0.0:5005: was open to other machines",
    ],
    "postgres-bash": [
        "storage.image = rustfs/rustfs:1.0.0: a stack does not run this store",
        "storage.ports = 9000: in mode proxied nobody but the server needs the store",
        "services: nothing in the file asks for a login",
    ],
    "nginx-mysql": [
        "minio.image = minio/minio: MinIO is no longer maintained",
        "minio.ports: clients wrote to a store that the file does not publish",
        "nginx.volumes = htpasswd: passwords are there as hashes",
        "nginx.ports = 80: the stack's front door is one port",
    ],
    "oidc-existing": [
        "mlflow.extra_hosts: not taken",
        "mlflow.MLFLOW_CRYPTO_KEK_PASSPHRASE = (not shown): not taken",
        "mlflow.CUSTOM_PLUGIN = on: is unknown here",
        "mlflow.command --static-prefix = /mlflow: not taken",
        "grafana = grafana/grafana: is no part of a stack",
        "mlflow.command --backend-store-uri: asks for no encryption",
        "mlflow.command --backend-store-uri = (not shown): secrets are never written",
        "artifacts_access_key = (not shown): secrets are never written",
        "artifacts_secret_key = (not shown): secrets are never written",
        "login.OAUTH2_PROXY_CLIENT_SECRET_FILE = (not shown): secrets are never written",
        "login.ports = 0.0.0.0:4180: was open to other machines",
    ],
    "dockerfile-gcs": [
        "mlflow.scale: not taken",
        "mlflow.GOOGLE_APPLICATION_CREDENTIALS = (not shown): not taken",
        "mlflow.command --backend-store-uri = /data/mlflow.db: the file is not taken along",
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines",
    ],
}


@pytest.mark.parametrize("name", PROJECTS)
def test_what_could_not_be_mapped_is_all_said_and_nothing_else(name):
    found = [str(finding) for finding in mapped(name).findings]
    assert len(found) == len(LEFT[name]), found
    for line, start in zip(found, LEFT[name], strict=True):
        assert line.startswith(start)


def test_secrets_of_what_the_stack_does_not_make_are_asked_for():
    assert mapped("oidc-existing").secrets == (
        "database_password", "artifacts_access_key", "artifacts_secret_key", "oidc_client_secret",
    )  # fmt: skip
    assert mapped("mysql-minio").secrets == ()


def test_what_it_takes_to_copy_the_data():
    found = mapped("mysql-minio")
    assert found.database.password == "sentinel-mysql"
    assert (found.database.service, found.database.host, found.database.port) == ("db", "db", 3306)
    assert found.database.published == Port("", 3306, 3306)
    assert found.store.endpoint_url == "http://s3:9000"
    assert found.store.uri == "s3://default"
    assert found.store.published == Port("", 9010, 9000)
    assert (found.store.access_key, found.store.secret_key) == ("minio_user", "sentinel$store")
    assert mapped("nginx-mysql").database.published is None
    # What the stack uses where it is needs no copy.
    assert mapped("oidc-existing").database is None
    assert mapped("oidc-existing").store is None


def test_without_a_command_the_services_own_variables_tell_the_database():
    text = """
services:
  tracking: {image: company/mlflow, environment: {MLFLOW_S3_ENDPOINT_URL: "http://minio:9000"}}
  db:
    image: mariadb:10
    environment: {MARIADB_DATABASE: runs, MARIADB_USER: ml, MARIADB_PASSWORD_FILE: /run/secrets/pw}
    secrets: [pw]
secrets: {pw: {file: pw.txt}}
"""
    files = {"pw.txt": "from a file\n"}
    file = compose_file.parse(text, files.get, {})
    found = compose_mapping.map_file(file, files.get, "/")
    assert found.settings["database"] == {"engine": "mariadb", "name": "runs", "username": "ml"}
    assert found.database.password == "from a file"
    assert "tracking.command: starts the server by a script" in lines(found)


@pytest.mark.parametrize(
    ("environment", "key", "value"),
    [
        ({"MLFLOW_WORKERS": "4"}, "tracking.workers", 4),
        ({"MLFLOW_SERVER_ALLOWED_HOSTS": "a.org,a.org:*,b.org:5000"}, "tracking.allowed_hosts", ["a.org", "b.org"]),
        ({"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "7"}, "database.pool_size", 7),
        ({"MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true"}, "artifacts.multipart", True),
        ({"MLFLOW_BACKEND_STORE_URI": "postgres://u@127.0.0.1/n"}, "database.existing.host", "host.docker.internal"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "abfss://c@a.dfs.core.windows.net/p"}, "artifacts.store", "azure"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://b", "MLFLOW_S3_ENDPOINT_URL": "http://localhost:9/"},
         "artifacts.existing.endpoint_url", "http://host.docker.internal:9"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "/mlruns"}, "artifacts.store", "folder"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/", "MLFLOW_ARTIFACTS_DESTINATION": "s3://b"},
         "artifacts.mode", "proxied"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://b", "MLFLOW_SERVE_ARTIFACTS": "false"}, "artifacts.mode", "direct"),
    ],
)  # fmt: skip
def test_variables_of_the_server(environment, key, value):
    file = compose_file.parse(
        yaml.safe_dump(
            {"services": {"m": {"command": "mlflow server", "environment": environment}}}
        ),
        lambda _path: None,
        {},
    )
    node = compose_mapping.map_file(file, lambda _path: None, "/").settings
    for step in key.split("."):
        node = node[step]
    assert node == value


@pytest.mark.parametrize(
    "rule", [r for r in compose_rules.RULES if r.fate is compose_rules.Fate.LOST], ids=str
)
def test_whatever_the_table_calls_not_taken_is_said(rule):
    """So that no row of the table promises a word that the program does not keep."""
    for name in rule.names:
        keys = {"command": "mlflow server", "image": "mlflow"}
        if rule.role is compose_rules.Role.DATABASE:
            keys = {"image": "postgres"}
        if name.startswith("-"):
            keys["command"] = f"mlflow server {name} value"
        elif name.isupper():
            keys["environment"] = {name: "value"}
        elif "." in name:
            keys["deploy"] = {"replicas": "3"}
        else:
            keys[name] = ["value"]
        file = compose_file.parse(yaml.safe_dump({"services": {"x": keys}}), lambda _path: None, {})
        found = compose_mapping.map_file(file, lambda _path: None, "/").findings
        assert [f for f in found if f.why == "not taken" and f.todo], name


def test_no_name_is_in_the_table_twice():
    names = [(rule.role, name) for rule in compose_rules.RULES for name in rule.names]
    assert len(names) == len(set(names))
