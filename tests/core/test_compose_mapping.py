"""Compose files as settings of a stack. The fixtures are whole projects."""

import pytest
import yaml
from tests.core.compose_projects import FIXTURES, PROJECTS, lines, mapped

from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose import mapping, rules
from pulumi_mlflow.core.compose.file import Port
from pulumi_mlflow.core.compose.sources import FileSource

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
    "init-job": """
runtime: docker
database: {engine: mysql, name: tracking, username: tracker}
artifacts: {store: versitygw, bucket: runs, mode: proxied}
tracking: {workers: 3}
access: {auth: basic, port: 8080}
""",
    "pgbouncer": """
runtime: docker
database: {pgbouncer: true, engine: postgresql, name: tracking, username: tracker}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "folded-script": """
runtime: docker
database: {engine: postgresql, name: tracking, username: tracker}
artifacts: {store: minio, bucket: runs, mode: proxied}
tracking: {workers: 3}
access: {auth: basic, port: 5000}
""",
    "entrypoint-override": """
runtime: docker
database: {engine: postgresql, name: tracking, username: postgres}
artifacts: {store: folder}
tracking: {workers: 3}
access: {auth: mlflow, port: 80, hosts: [ml.example.org]}
""",
    "host-network": """
runtime: docker
database: {engine: postgresql, name: tracking, username: tracker}
artifacts: {store: minio, bucket: runs, mode: proxied, console_port: 9001}
access: {auth: basic, port: 5050}
""",
    "password-by-cat": """
runtime: docker
database: {engine: postgresql, name: tracking, username: tracker}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "oidc-plugin": """
runtime: docker
database: {engine: postgresql, name: tracking, username: tracker}
artifacts: {store: folder}
access: {auth: oidc-mlflow, oidc: {issuer: 'https://id.example.org/realms/ml', client_id: mlflow, admin_groups: [ml-admins], allowed_groups: [ml-users, ml-ops, ml-admins]}, permissions: {default: NO_PERMISSIONS}, port: 8080}
""",
    "port-range": """
runtime: docker
database: {engine: sqlite}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "env-file-colon": """
runtime: docker
database: {engine: postgresql, name: tracking, username: tracker}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "traefik-labels": """
runtime: docker
database: {engine: mysql, name: tracking, username: tracker}
artifacts: {store: azure, uri: 'wasbs://runs@example.blob.core.windows.net', mode: direct}
access: {auth: basic, username: ada, port: 443, hosts: [ml.example.org]}
""",
    "search-path": """
runtime: docker
database: {engine: postgresql, name: company, username: tracker}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "existing-names": """
runtime: docker
database: {engine: mysql, name: Mlflow-Backend-Store, username: root, existing: {host: host.docker.internal, port: 3306, tls_mode: require}}
artifacts: {store: folder}
access: {auth: basic, port: 5000}
""",
    "sqlite-volume": """
runtime: docker
database: {engine: sqlite}
artifacts: {store: folder}
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
        "mlflow.command --backend-store-uri = db.company.net: is used where it is: the first `up` migrates it",
        "mlflow.command --backend-store-uri = (not shown): secrets are never written",
        "artifacts_access_key = (not shown): secrets are never written",
        "artifacts_secret_key = (not shown): secrets are never written",
        "login.OAUTH2_PROXY_CLIENT_SECRET_FILE = (not shown): secrets are never written",
        "login.ports = 0.0.0.0:4180: was open to other machines",
    ],
    "dockerfile-gcs": [
        "mlflow.scale: not taken",
        "mlflow.GOOGLE_APPLICATION_CREDENTIALS = (not shown): not taken",
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines",
    ],
    "init-job": [
        "store-init = registry.example.com/team/mlflow-with-drivers:3.1: is a job that ends, and is not ",
        "store.image = rustfs/rustfs:latest: a stack does not run this store",
        "store.ports = 9001: the store of the stack has no console",
        "store.ports = 9000: in mode proxied nobody but the server needs the store",
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:8080: was open to other machines, which takes login, TLS and a host name",
    ],
    "pgbouncer": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "folded-script": [
        "minio.image = minio/minio:RELEASE.2024-11-07T00-52-20Z: MinIO is no longer maintained",
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "entrypoint-override": [
        "mlflow.labels: not taken",
        "mlflow.command --app-name: users and what each may do are in a database of their own and are no",
        "mlflow.ports = 5000: went past the front door",
        "reverse-proxy.ports = 0.0.0.0:80: was open to other machines, which takes login, TLS and a host",
    ],
    "host-network": [
        "mlflow.network_mode: not taken",
        "db.ports = 5432: a stack does not publish its database",
        "minio.image = minio/minio: MinIO is no longer maintained",
        "minio.ports = 9000: in mode proxied nobody but the server needs the store",
        "services: nothing in the file asks for a login",
    ],
    "password-by-cat": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "oidc-plugin": [
        "mlflow.OIDC_CLIENT_SECRET = (not shown): secrets are never written to a file",
        "mlflow.command --app-name: users and what each may do are in a database of their own and are no",
        "mlflow.ports = 0.0.0.0:8080: was open to other machines, which takes login, TLS and a host name",
    ],
    "port-range": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 5000-5005: the stack's front door is one port",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "env-file-colon": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "traefik-labels": [
        "mlflow.labels: not taken",
        "mlflow.AZURE_STORAGE_ACCESS_KEY = (not shown): not taken",
        "mysql.command --wait_timeout = 28800: is unknown here",
        "mysql.command --interactive_timeout = 28800: is unknown here",
        "mlflow.labels = htpasswd: passwords are there as hashes and cannot be taken",
        "traefik.ports = 8080: the stack's front door is one port",
        "mlflow.ports = 5000: went past the front door",
        "traefik.ports = 0.0.0.0:443: was open to other machines, which takes login, TLS and a host name",
    ],
    "search-path": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "existing-names": [
        "mlflow.command --backend-store-uri: asks for no encryption",
        "mlflow.command --backend-store-uri = host.docker.internal: is used where it is: the first `up` ",
        "mlflow.command --backend-store-uri = (not shown): secrets are never written to a file",
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
    ],
    "sqlite-volume": [
        "services: nothing in the file asks for a login",
        "mlflow.ports = 0.0.0.0:5000: was open to other machines, which takes login, TLS and a host name",
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pgbouncer", ("postgres", 5432, "tracking", "tracker", "sentinel-db", "")),
        ("password-by-cat", ("db", 5432, "tracking", "tracker", "sentinel-from-file", "")),
        ("search-path", ("db", 5432, "company", "tracker", "sentinel-db", "tracking")),
        ("entrypoint-override", ("database", 5432, "tracking", "postgres", "sentinel-db", "")),
        ("env-file-colon", ("db", 5432, "tracking", "tracker", "sentinel-db", "")),
        ("host-network", ("db", 5432, "tracking", "tracker", "sentinel-db", "")),
        ("traefik-labels", ("mysql", 3306, "tracking", "tracker", "sentinel-db", "")),
    ],
)
def test_the_old_database_is_reached_as_its_server_did(name, expected):
    found = mapped(name).database
    assert expected == (
        found.service, found.port, found.name, found.username, found.password, found.schema,
    )  # fmt: skip


def test_files_of_the_old_server_are_taken_along():
    found = mapped("sqlite-volume")
    assert found.database_file == FileSource("mlflow", "/mlflow/mlflow.db")
    roots = ("/mlflow/artifacts", "file:///mlflow/artifacts")
    assert found.artifact_folder == FileSource("mlflow", "/mlflow/artifacts", roots)
    assert mapped("init-job").store.uri == "s3://runs"
    assert mapped("init-job").store.service == "store"
    assert mapped("folded-script").store.service == "minio"


def test_what_another_app_has_is_not_taken_for_the_servers():
    """Neither by standing first, nor by its variables."""
    text = """
services:
  airflow-db: {image: 'postgres:13', environment: {POSTGRES_USER: air, POSTGRES_PASSWORD: x, POSTGRES_DB: air}, mem_limit: 1g}
  scoring: {image: mlflow, command: mlflow models serve -m x, ports: ['5001:5001']}
  backup: {image: mlflow, command: mlflow gc --backend-store-uri postgresql://air:x@airflow-db/air}
  db: {image: 'postgres:16', environment: {POSTGRES_USER: ml, POSTGRES_PASSWORD: y, POSTGRES_DB: ml}}
  tracker: {image: mlflow, command: mlflow server --backend-store-uri postgresql://ml:y@db/ml -w 3, ports: ['80:5000']}
"""
    file = compose_file.parse(text, lambda _path: None, {})
    found = mapping.map_file(file, lambda _path: None, "/")
    assert found.settings["database"] == {"engine": "postgresql", "name": "ml", "username": "ml"}
    assert found.settings["tracking"] == {"workers": 3}
    assert found.settings["access"]["port"] == 80
    assert (found.database.service, found.database.password) == ("db", "y")
    assert "airflow-db = postgres:13: is a database that the server does not use" in lines(found)
    assert "scoring = mlflow: is no part of a stack" in lines(found)


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
    found = mapping.map_file(file, files.get, "/")
    assert found.settings["database"] == {"engine": "mariadb", "name": "runs", "username": "ml"}
    assert found.database.password == "from a file"
    assert "tracking.command = company/mlflow: starts the server by a script" in lines(found)


@pytest.mark.parametrize(
    ("environment", "key", "value"),
    [
        ({"MLFLOW_WORKERS": "4"}, "tracking.workers", 4),
        ({"MLFLOW_SERVER_ALLOWED_HOSTS": "a.org,a.org:*,b.org:5000"}, "tracking.allowed_hosts", ["a.org", "b.org"]),
        ({"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "7"}, "database.pool_size", 7),
        ({"MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true"}, "artifacts.multipart", True),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql://u@192.0.2.7/n?options=-csearch_path%3Dml"},
         "database.existing.search_path", "ml"),
        ({"MLFLOW_BACKEND_STORE_URI": "postgres://u@192.0.2.7/n"}, "database.existing.host", "192.0.2.7"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "abfss://c@a.dfs.core.windows.net/p"}, "artifacts.store", "azure"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://b", "MLFLOW_S3_ENDPOINT_URL": "http://host.docker.internal:9/"},
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
    node = mapping.map_file(file, lambda _path: None, "/").settings
    for step in key.split("."):
        node = node[step]
    assert node == value


@pytest.mark.parametrize("rule", [r for r in rules.RULES if r.fate is rules.Fate.LOST], ids=str)
def test_whatever_the_table_calls_not_taken_is_said(rule):
    """So that no row of the table promises a word that the program does not keep."""
    for name in rule.names:
        keys = {"command": "mlflow server", "image": "mlflow"}
        if rule.role is rules.Role.DATABASE:
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
        found = mapping.map_file(file, lambda _path: None, "/").findings
        assert [f for f in found if f.why == "not taken" and f.todo], name


def test_no_name_is_in_the_table_twice():
    names = [(rule.role, name) for rule in rules.RULES for name in rule.names]
    assert len(names) == len(set(names))
