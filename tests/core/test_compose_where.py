"""An old deployment's own database or store is never used where it is: the first `up` would migrate it in place."""

import pytest
import yaml

from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose import mapping

DATABASE = (
    "{image: 'postgres:16', environment: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}"
)
STORE = "{image: minio/minio, command: server /data"
MACHINE = {"trainer7", "trainer7.company.net", "192.168.1.20", "2001:db8::7"}


def mapped(text, variables=None, profiles=(), files=None, **options):
    read = (files or {}).get
    parsed = compose_file.parse(text, read, variables or {}, profiles)
    return mapping.map_file(parsed, read, "/", is_this_machine=MACHINE.__contains__, **options)


def server(host, keys="", query=""):
    """A server that knows its database by this host."""
    return f"""
  mlflow:
    image: ghcr.io/mlflow/mlflow
    ports: ["5000:5000"]
    command: mlflow server --backend-store-uri "postgresql://u:p@{host}/d{query}" --artifacts-destination /a
    {keys}
"""


OWN = {
    "name": ("db:5432", "", f"db: {DATABASE}}}"),
    "name in other letters": ("DB:5432", "", f"db: {DATABASE}}}"),
    "name with a dot at its end": ("db.:5432", "", f"db: {DATABASE}}}"),
    "container_name": ("old_db", "", f"db: {DATABASE}, container_name: old_db}}"),
    "hostname": ("dbhost", "", f"db: {DATABASE}, hostname: dbhost}}"),
    "hostname with a domain": ("dbhost.lan", "", f"db: {DATABASE}, hostname: dbhost, domainname: lan}}"),
    "alias of a network": ("db.company.net", "", f"db: {DATABASE}, networks: {{n: {{aliases: [db.company.net]}}}}}}"),
    "address of a network": ("10.5.0.7", "", f"db: {DATABASE}, networks: {{n: {{ipv4_address: 10.5.0.7}}}}}}"),
    "IPv6 of a network": ("[fd00::7]:5432", "", f"db: {DATABASE}, networks: {{n: {{ipv6_address: 'fd00::7'}}}}}}"),
    "name and network": ("db.backend", "", f"db: {DATABASE}, networks: [backend]}}"),
    "name and project's network": ("db.proj_default", "", f"db: {DATABASE}}}"),
    "container's generated name": ("proj-db-1", "", f"db: {DATABASE}}}"),
    "older generated name": ("proj_db_1", "", f"db: {DATABASE}}}"),
    "link": ("store", "links: ['db:store']", f"db: {DATABASE}}}"),
    "extra_hosts to the gateway": (
        "old.company.net", "extra_hosts: ['old.company.net:host-gateway']", f"db: {DATABASE}, ports: ['5432:5432']}}",
    ),
    "extra_hosts, new form": (
        "old.company.net", "extra_hosts: ['old.company.net=192.168.1.20']", f"db: {DATABASE}, ports: ['5432:5432']}}",
    ),
    "extra_hosts, mapping": (
        "old", "extra_hosts: {old: 10.5.0.7}", f"db: {DATABASE}, networks: {{n: {{ipv4_address: 10.5.0.7}}}}}}",
    ),
    "host network, localhost": ("localhost:5432", "network_mode: host", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "host network, 127.0.0.1": ("127.0.0.1:5433", "network_mode: host", f"db: {DATABASE}, ports: ['5433:5432']}}"),
    "host network, ::1": ("[::1]:5432", "network_mode: host", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "host network, 0.0.0.0": ("0.0.0.0:5432", "network_mode: host", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "both in the host network": ("localhost", "network_mode: host", f"db: {DATABASE}, network_mode: host}}"),
    "range of ports": ("localhost:5434", "network_mode: host", f"db: {DATABASE}, ports: ['5433-5435:5432']}}"),
    "host.docker.internal": ("host.docker.internal", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "gateway of Docker's network": ("172.17.0.1", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "machine's name": ("trainer7", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "machine's whole name": ("trainer7.company.net", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "machine's address": ("192.168.1.20", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "machine's IPv6": ("[2001:db8::7]:5432", "", f"db: {DATABASE}, ports: ['5432:5432']}}"),
    "any image, by its port": ("localhost:5432", "network_mode: host", "other: {image: 'x/y', ports: ['5432:5432']}"),
    "shared network stack": ("localhost", "network_mode: 'service:db'", f"db: {DATABASE}}}"),
    "shared the other way": ("127.0.0.1", "", f"db: {DATABASE}, network_mode: 'service:mlflow'}}"),
    "shared with a third": (
        "localhost", "network_mode: 'service:pod'",
        f"db: {DATABASE}, network_mode: 'service:pod'}}\n  pod: {{image: pause}}",
    ),
    "another profile": ("db", "", f"db: {DATABASE}, profiles: [db]}}"),
    "Traefik's TCP route": (
        "db.ml.example.org", "",
        f"db: {DATABASE}, labels: ['traefik.tcp.routers.db.rule=HostSNI(`db.ml.example.org`)']}}",
    ),
    "relay to it": ("relay", "", f"db: {DATABASE}}}\n  relay: {{image: alpine/socat}}"),
    "several hosts": ("db,db2.company.net", "", f"db: {DATABASE}}}"),
    "socket": ("", "", f"db: {DATABASE}}}"),
}  # fmt: skip
"""How the server names it, what else it has, and the service that it is."""


@pytest.mark.parametrize("case", OWN, ids=str)
def test_a_service_of_the_file_is_copied_and_never_used_where_it_is(case):
    host, keys, service = OWN[case]
    found = mapped(f"name: proj\nservices:\n  {service}\n{server(host, keys)}")
    assert "existing" not in found.settings["database"], found.settings["database"]
    assert found.secrets == ()
    assert found.database is not None
    assert found.database.service in ("db", "other", "relay")
    assert found.database.password == "p"
    if found.database.service == "db":
        assert found.database.port == 5432


DOUBTFUL = {
    "not published": ("localhost:5432", "network_mode: host", f"db: {DATABASE}}}", "no service is published on port 5432"),
    "localhost of the server itself": ("localhost:5432", "", "x: {image: y}", "inside of the server's own container"),
    "localhost, and published": ("localhost:5432", "", f"db: {DATABASE}, ports: ['5432:5432']}}", "published on port 5432"),
    "address of some machine": (
        "192.168.7.7:5432", "", f"db: {DATABASE}, ports: ['5432:5432']}}", "service db of the file is such a server",
    ),
    "name of some machine": ("old.company.net:6000", "", f"db: {DATABASE}}}", "the file has such a server itself: db"),
    "container of another file": ("postgres", "", "x: {image: y}", "a name without dots is a container's"),
    "address of a network of the file": ("10.9.0.3", "", "x: {image: y}", "of a network of the file"),
    "nothing": ("$NO:5432", "", "x: {image: y}", "no host is named"),
    "in another profile": (
        "old.company.net", "", f"db: {DATABASE}, profiles: [db]}}", "the file has such a server itself: db",
    ),
    "another file is missing": ("old.company.net", "", "x: {extends: {file: gone.yml, service: x}}", "gone.yml"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL, ids=str)
def test_in_doubt_it_is_not_used_where_it_is_unless_told(case):
    host, keys, service, why = DOUBTFUL[case]
    text = (
        f"services:\n  {service}\n{server(host, keys)}\n"
        "networks: {n: {ipam: {config: [{subnet: 10.9.0.0/24}]}}}\n"
    )
    found = mapped(text)
    assert "existing" not in found.settings["database"]
    (said,) = [f for f in found.findings if "may be the old deployment's own database" in f.why]
    assert said.place == "mlflow.command --backend-store-uri"
    assert why in said.why
    assert "--in-place" in said.todo
    assert said.lost
    assert found.database is not None  # --with-data goes on

    told = mapped(text, in_place=True)
    assert "existing" in told.settings["database"]
    assert told.database is None


@pytest.mark.parametrize(
    ("host", "keys", "existing"),
    [
        ("db.company.net:6432", "", {"host": "db.company.net", "port": 6432}),
        ("host.docker.internal", "", {"host": "host.docker.internal"}),
        ("localhost", "network_mode: host", {"host": "host.docker.internal"}),
        ("trainer7", "", {"host": "host.docker.internal"}),
        ("x.eu-central-1.rds.amazonaws.com", "", {"host": "x.eu-central-1.rds.amazonaws.com"}),
        ("old", "extra_hosts: ['old:192.0.2.9']", {"host": "192.0.2.9"}),
        (
            "old.company.net",
            "extra_hosts: ['old.company.net:192.0.2.9']",
            {"host": "old.company.net"},
        ),
    ],
)
def test_what_surely_stands_elsewhere_is_used_and_what_that_means_is_said(host, keys, existing):
    found = mapped(f"services:{server(host, keys)}")
    assert found.settings["database"]["existing"] == {**existing, "tls_mode": "require"}
    assert found.database is None
    assert [f for f in found.findings if "the first `up` migrates it in place" in f.why]


def test_a_database_of_another_kind_is_no_reason_for_doubt():
    found = mapped(f"services:\n  other: {{image: 'mysql:8'}}\n{server('db.company.net')}")
    assert found.settings["database"]["existing"]["host"] == "db.company.net"


def test_an_existing_database_is_known_by_the_pooler_before_it():
    """Else the stack's own pooler would stand before the old one's, and the file's database be taken for it."""
    pooler = "pgbouncer: {image: edoburu/pgbouncer, environment: {DB_HOST: db.company.net, DB_PORT: '5433'}}"
    found = mapped(f"services:\n  {pooler}\n{server('pgbouncer:6432')}")
    assert found.settings["database"]["existing"]["host"] == "db.company.net"
    assert found.settings["database"]["existing"]["port"] == 5433
    assert found.settings["database"]["pgbouncer"] is True


STORES = {
    "service": ("http://minio:9000", f"minio: {STORE}}}", 9000),
    "published": ("http://host.docker.internal:9900", f"minio: {STORE}, ports: ['9900:9000']}}", 9000),
    "machine": ("http://trainer7.company.net:9000", f"minio: {STORE}, ports: ['9000:9000']}}", 9000),
    "alias": ("http://s3.lan", f"minio: {STORE}, networks: {{n: {{aliases: [s3.lan]}}}}}}", 80),
    "Traefik's route": (
        "https://s3.ml.example.org",
        f"minio: {STORE}, labels: ['traefik.http.routers.s3.rule=Host(`s3.ml.example.org`)']}}", 443,
    ),
    "by the proxy": ("http://nginx:9000", f"minio: {STORE}}}\n  nginx: {{image: nginx}}", 9000),
}  # fmt: skip


@pytest.mark.parametrize("case", STORES, ids=str)
def test_a_store_of_the_file_is_copied_and_never_used_where_it_is(case):
    url, service, port = STORES[case]
    found = mapped(_with_store(url, service))
    assert found.settings["artifacts"]["store"] == "minio"
    assert "existing" not in found.settings["artifacts"]
    assert found.store.service == "minio"
    assert found.store.endpoint_url.endswith(f":{port}")


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://localhost:9000", f"minio: {STORE}}}"),
        ("http://192.168.7.7:9000", f"minio: {STORE}, ports: ['9000:9000']}}"),
        ("https://s3.company.net", f"minio: {STORE}}}"),
        ("http://other-minio:9000", "x: {image: y}"),
    ],
)
def test_a_store_in_doubt_is_not_used_where_it_is_unless_told(url, service):
    found = mapped(_with_store(url, service))
    assert "existing" not in found.settings["artifacts"]
    assert [
        f for f in found.findings if "may be the old deployment's own store" in f.why and f.lost
    ]
    assert found.store is not None
    told = mapped(_with_store(url, service), in_place=True)
    assert told.settings["artifacts"]["store"] == "s3"
    assert told.store is None


def _with_store(url, service):
    keys = {
        "image": "mlflow",
        "command": "mlflow server --backend-store-uri sqlite:////d/m.db --artifacts-destination s3://runs",
        "environment": {"MLFLOW_S3_ENDPOINT_URL": url},
    }
    return f"services:\n  {service}\n  mlflow: {yaml.safe_dump(keys, default_flow_style=True, width=1000)}"
