"""The tracking server on Kubernetes, under mocks: every object, what it holds, and what comes before what."""

import base64
import configparser
import dataclasses
import http.server
import json
import re
import shlex
import threading
from typing import ClassVar
from urllib.parse import quote_plus

import boot
import pulumi
import pytest
from sqlalchemy.engine import make_url
from tests.kubernetes import cluster, fields, restricted

from pulumi_mlflow.contracts import ArtifactEndpoint, DatabaseEndpoint, UnreachableEndpointError
from pulumi_mlflow.core import external_secrets, manifests
from pulumi_mlflow.core.files import key, version
from pulumi_mlflow.kubernetes.network import KubernetesNetwork
from pulumi_mlflow.kubernetes.tracking import KubernetesTrackingServer

HERE = "cluster:mlflow-prod"
LONG = "mlflow-prod-with-a-name-that-is-longer-than-any-that-dns-takes-for-one-label"


def database(**changes):
    given = {
        "component": "database",
        "reach": [HERE],
        "engine": "postgresql",
        "host": "mlflow-prod-database-rw.mlflow-prod.svc.cluster.local",
        "port": 5432,
        "database": "mlflow",
        "username": "mlflow",
        "password": "typedpassword",
        "tls_mode": "require",
        **changes,
    }
    return DatabaseEndpoint(**given)


def bucket(**changes):
    return ArtifactEndpoint(
        **{"component": "bucket", "reach": ["public"], "uri": "s3://team/mlflow", **changes}
    )


def keys(**changes):
    return bucket(
        access_key="typedaccess",
        secret_key="typedsecret",
        **changes,
    )


def sealed(value):
    """Endpoints with their secrets as such; outputs belong to the event loop that they are made in."""
    if not isinstance(value, dict) or "reach" not in value:
        return value
    secret = {"password", "access_key", "secret_key"} & set(value)
    return {**value, **{name: pulumi.Output.secret(value[name]) for name in secret}}


def queued(jobs):
    """The arguments for jobs, with the queue's URL as a secret."""
    if jobs and "redis_url" in jobs:
        return {**jobs, "redis_url": pulumi.Output.secret(jobs["redis_url"])}
    return jobs


def program(changes=None, network=None, outputs=("endpoint",)):
    """A network and a server; IRSA for the bucket unless told."""

    def made():
        there = KubernetesNetwork("network", network or {})
        args = {
            "namespace": there.namespace,
            "image": cluster.IMAGE,
            "database": database(),
            "artifacts": bucket(),
            "identity": {"role_arn": "arn:aws:iam::1:role/mlflow"},
            **(changes or {}),
        }
        args = {name: sealed(value) for name, value in args.items()}
        args["jobs"] = queued(args.get("jobs"))
        server = KubernetesTrackingServer("tracking", args)
        return {name: getattr(server, name) for name in outputs}

    return made


COMBINATIONS = {
    "irsa": {},
    "pod identity": {"identity": {"pod_identity": True}},
    "keys": {"artifacts": keys(), "identity": None},
    "autoscaled": {"autoscaling": {"min_replicas": 2, "max_replicas": 6}},
    "users": {"auth": "mlflow", "monitoring_namespace": "monitoring"},
    "users of a provider": {"auth": "oidc-mlflow"},
    "pooled": {"migration_database": database(host="direct")},
    "jobs": {"jobs": {}},
    "vault": {"database_secret": {"store": "aws", "key": "rds!1"}, "auth": "mlflow", "jobs": {}, "migration_database": database(host="direct")},
    "administrator": {"database": database(admin_secret="arn:rds!1"), "admin_store": {"store": "aws"}, "auth": "mlflow", "jobs": {}},
    "administrator, vault": {"database_secret": {"store": "aws", "key": "user"}, "migration_database": database(host="direct", admin_secret="arn:rds!1"), "admin_store": {"store": "aws", "kind": "SecretStore"}},
    "jobs in line": {"jobs": {"redis_url": "rediss://:typedqueue@redis:6380/0", "redis_port": 6380}, "scratch_class": "gp3", "monitoring_namespace": "monitoring"},
    "disk": {"scratch_class": "gp3", "workers": 4},
    "certificates": {"database": database(ca="PEM", tls_mode="verify-full"), "artifacts": keys(ca="PEM")},
    "everything": {
        "auth": "oidc-mlflow",
        "monitoring_namespace": "monitoring",
        "pull_secrets": ["registry"],
        "public_url": "https://mlflow.example.com",
        "artifact_mode": "direct",
        "permissions": {"groups": {"team": "EDIT"}, "admin_groups": ["admins"]},
        "deployment": LONG,
        "database": database(reach=[f"cluster:{LONG}"]),
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_object_is_restricted_labelled_and_without_secrets(changes):
    seen, _ = cluster.run(program(changes))
    cluster.judge(seen)
    for typed in ("typedpassword", "typedaccess", "typedsecret", "typedqueue"):
        for item in seen:
            if item.kind != "Secret":
                assert typed not in json.dumps(item.inputs), item.name


def test_a_pod_of_ours_is_restricted_only_as_a_whole():
    """Each part of the security contexts counts: without it the published standard is broken."""
    good = manifests.pod("a", 1, [manifests.container("c", "i:1", manifests.resources(1, 1, 1))])
    assert restricted.violations(good) == []
    for field, bad in {
        "allowPrivilegeEscalation": True,
        "privileged": True,
        "capabilities": {"drop": []},
        "runAsNonRoot": False,
        "seccompProfile": {"type": "Unconfined"},
    }.items():
        context = {**good["containers"][0]["securityContext"], field: bad}
        pod = {**good, "containers": [{**good["containers"][0], "securityContext": context}]}
        assert restricted.violations(pod), field
    assert restricted.violations({**good, "hostNetwork": True})
    assert restricted.violations({**good, "volumes": [{"name": "x", "hostPath": {"path": "/"}}]})


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ('"readOnlyRootFilesystem"', '"readOnlyRootFileSystem"', "readOnlyRootFileSystem: unknown"),
        ('"image":', '"img":', "img: unknown"),
        ('"mountPath"', '"path"', "mountPath: missing"),
        ('"replicas": 2', '"replicas": "2"', "replicas: '2' is no int"),
        ('"strategy"', '"updateStrategy"', "updateStrategy: unknown"),
        ('"maxSkew"', '"skew"', "maxSkew: missing"),
    ],
)
def test_fields_that_kubernetes_does_not_know_are_found(plain_stack, was, now, reason):
    """The judge of every object is judged."""
    item = cluster.only(plain_stack[0], "Deployment")
    text = json.dumps(item.inputs).replace(".0", "")
    assert was in text
    broken = dataclasses.replace(item, inputs=json.loads(text.replace(was, now)))
    assert any(reason in found for found in fields.wrong(broken))


@pytest.mark.parametrize(
    ("mb", "text"),
    [
        (64, "64Mi"),
        (1024, "1Gi"),
        (1536, "1536Mi"),
        (102400, "100Gi"),
        (1 << 20, "1Ti"),
        (1 << 30, "1024Ti"),
    ],
)
def test_sizes_are_written_as_the_api_server_does(mb, text):
    """It writes the largest unit without a fraction (apimachinery's resource.Quantity); else a refresh finds a change."""
    assert manifests.size(mb) == text


@pytest.mark.parametrize(
    ("cpus", "text"), [(0.05, "50m"), (0.25, "250m"), (1.0, "1"), (2.5, "2500m")]
)
def test_cpus_are_written_as_the_api_server_does(cpus, text):
    assert manifests.cpus(cpus) == text
    assert (manifests.number(50), manifests.number(2000)) == ("50", "2k")


@pytest.fixture(scope="module")
def plain_stack():
    return cluster.run(program(outputs=("endpoint", "service_account", "admin_password")))


def test_the_namespace_enforces_the_standard_and_is_protected(plain_stack):
    namespace = cluster.only(plain_stack[0], "Namespace")
    for mode in ("enforce", "audit", "warn"):
        assert namespace.labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert namespace.request.protect is True


def test_everything_is_denied_but_name_servers(plain_stack):
    deny = cluster.only(plain_stack[0], "NetworkPolicy", "network")
    assert deny.spec["podSelector"] == {}
    assert deny.spec["policyTypes"] == ["Ingress", "Egress"]
    assert deny.spec["ingress"] == []
    [rule] = deny.spec["egress"]
    assert {port["port"] for port in rule["ports"]} == {53}
    # Whatever runs, runs after it.
    for item in plain_stack[0]:
        if item.is_workload:
            assert "network-deny" in item.depends_on


def test_in_a_namespace_of_others_only_our_pods_are_denied():
    seen, _ = cluster.run(program(network={"existing": "mlflow-prod"}))
    assert not [item for item in seen if item.kind == "Namespace"]
    deny = cluster.only(seen, "NetworkPolicy", "network")
    assert deny.spec["podSelector"] == {"matchLabels": {cluster.DEPLOYMENT: "mlflow-prod"}}
    cluster.judge(seen)


def test_the_migration_comes_before_the_servers(plain_stack):
    seen, _ = plain_stack
    servers, job = cluster.only(seen, "Deployment"), cluster.only(seen, "Job")
    assert "tracking-migration" in servers.depends_on
    assert job.container["args"][-1] == "migrate"
    assert job.pod["restartPolicy"] == "Never"
    # Awaited for longer than it may take, made anew when it has failed, and never found missing.
    assert job.request.customTimeouts.create == f"{int(job.spec['activeDeadlineSeconds']) + 300}s"
    assert job.inputs["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"
    assert "ttlSecondsAfterFinished" not in job.spec


def test_servers_are_not_rolled_out_after_a_migration_that_failed():
    seen, _ = cluster.run(program(), failing=("tracking-migration",))
    assert not [item for item in seen if item.kind == "Deployment"]


def job_name(changes=None):
    return cluster.only(cluster.run(program(changes))[0], "Job").physical


def test_the_migrations_name_is_a_hash_of_what_it_runs():
    """Job specifications are immutable: another image, password or database is another job, and nothing else is."""
    same = job_name()
    assert same == job_name({"replicas": 5, "workers": 4, "memory_mb": 4096, "cpus": 3.0})
    others = {
        job_name({"image": cluster.IMAGE.replace("000", "111")}),
        job_name({"database": database(password="other")}),
        job_name({"database": database(data="another volume")}),
        job_name({"database": database(host="db2")}),
    }
    assert len(others) == 4
    assert same not in others


def test_files_change_under_another_name_and_roll_the_pods_out():
    first, _ = cluster.run(program())
    second, _ = cluster.run(program({"database": database(password="other")}))
    names = []
    for seen in (first, second):
        secret = cluster.only(seen, "Secret")
        assert secret.inputs["immutable"] is True
        mounted = [
            v["secret"]["secretName"]
            for v in cluster.only(seen, "Deployment").pod["volumes"]
            if "secret" in v
        ]
        assert mounted == [secret.physical]
        names.append(secret.physical)
    assert names[0] != names[1]
    # A name is no secret, so what it is made of must be dear to guess.
    files = dict.fromkeys(("a",), "typedpassword")
    assert version(files, "x") != version(files, "y")
    assert len(version(files, "x")) == 16


def test_secrets_are_files_that_the_entrypoint_makes_variables_of(plain_stack):
    seen, _ = plain_stack
    files = cluster.only(seen, "Secret").secret_files()
    assert files["env.MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg2://mlflow:typed")
    assert files["env.MLFLOW_CRYPTO_KEK_PASSPHRASE"] == cluster.secret_of("tracking-kek")
    assert "env.AWS_ACCESS_KEY_ID" not in files
    for item in (cluster.only(seen, "Deployment"), cluster.only(seen, "Job")):
        assert item.container["command"] == ["/opt/pulumi-mlflow/entrypoint.sh"]
        [volume] = [v["secret"] for v in item.pod["volumes"] if "secret" in v]
        paths = {entry["path"] for entry in volume["items"]}
        assert "env/MLFLOW_BACKEND_STORE_URI" in paths
        assert {
            "name": "files",
            "mountPath": "/run/pulumi-mlflow",
            "readOnly": True,
        } in item.container["volumeMounts"]


@pytest.mark.parametrize("path", ["env/a b", "a:b", "", "x" * 300])
def test_a_file_that_no_secret_could_hold_is_refused(path):
    with pytest.raises(ValueError, match="path: must be letters"):
        key(path)


def test_the_servers_find_no_token_and_have_no_rights(plain_stack):
    seen, _ = plain_stack
    assert not [item for item in seen if "Role" in item.kind]
    for item in seen:
        if item.kind == "ServiceAccount":
            assert item.inputs["automountServiceAccountToken"] is False


def test_irsa_is_an_annotation_of_the_servers_account_alone(plain_stack):
    seen, made = plain_stack
    server = cluster.only(seen, "ServiceAccount", "tracking")
    assert server.inputs["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/mlflow",
        "eks.amazonaws.com/sts-regional-endpoints": "true",
    }
    assert "annotations" not in cluster.only(seen, "ServiceAccount", "migration").inputs["metadata"]
    assert made["service_account"] == (server.physical, False)
    assert cluster.only(seen, "Deployment").pod["serviceAccountName"] == server.physical


def test_pod_identity_may_reach_its_agent_and_nothing_else_of_the_nodes():
    seen, _ = cluster.run(program({"identity": {"pod_identity": True}}))
    egress = cluster.only(seen, "NetworkPolicy", "tracking").spec["egress"]
    blocks = [
        (to["ipBlock"], rule["ports"]) for rule in egress for to in rule["to"] if "ipBlock" in to
    ]
    assert ({"cidr": "169.254.170.23/32"}, [{"protocol": "TCP", "port": 80}]) in blocks
    for block, _ports in blocks:
        if block["cidr"] == "0.0.0.0/0":
            assert block["except"] == ["169.254.169.254/32"]


def test_identities_of_other_clouds_are_annotations_and_labels():
    identity = {"annotations": {"a/b": "c"}, "pod_labels": {"azure.workload.identity/use": "true"}}
    seen, _ = cluster.run(program({"identity": identity}))
    server = cluster.only(seen, "Deployment")
    assert server.template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert "azure.workload.identity/use" not in server.spec["selector"]["matchLabels"]
    assert cluster.only(seen, "ServiceAccount", "tracking").inputs["metadata"]["annotations"] == {
        "a/b": "c"
    }


def test_only_the_proxy_and_gc_may_connect_to_the_servers(plain_stack):
    edges = cluster.only(plain_stack[0], "NetworkPolicy", "tracking")
    [rule] = edges.spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5000}]
    roles = [peer["podSelector"]["matchLabels"][cluster.ROLE] for peer in rule["from"]]
    assert roles == ["proxy", "gc"]
    assert all(set(peer) == {"podSelector"} for peer in rule["from"])


def test_a_database_of_ours_is_reached_by_its_pods_and_a_bucket_by_its_port(plain_stack):
    database_rule, store_rule = cluster.only(plain_stack[0], "NetworkPolicy", "tracking").spec[
        "egress"
    ]
    assert database_rule["to"] == [
        {
            "podSelector": {
                "matchLabels": {cluster.DEPLOYMENT: "mlflow-prod", cluster.ROLE: "database"}
            }
        }
    ]
    assert database_rule["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert store_rule["ports"] == [{"protocol": "TCP", "port": 443}]
    migration = cluster.only(plain_stack[0], "NetworkPolicy", "migration").spec
    assert migration["ingress"] == []
    assert migration["egress"] == [database_rule]


def test_what_is_outside_is_reached_in_the_ranges_that_are_given():
    there = database(reach=["vpc:corp"], host="db.corp", port=5433)
    store = keys(endpoint_url="https://s3.corp:9443")
    seen, _ = cluster.run(
        program(
            {
                "database": there,
                "artifacts": store,
                "also_in": ["vpc:corp"],
                "egress_cidrs": ["10.0.0.0/8"],
            }
        )
    )
    to_database, to_store = cluster.only(seen, "NetworkPolicy", "tracking").spec["egress"]
    assert to_database == {
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "ports": [{"protocol": "TCP", "port": 5433}],
    }
    assert to_store["ports"] == [{"protocol": "TCP", "port": 9443}]


def test_replicas_are_spread_replaced_one_by_one_and_never_all_evicted(plain_stack):
    seen, _ = plain_stack
    servers = cluster.only(seen, "Deployment")
    assert servers.spec["replicas"] == 2
    assert servers.spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    topologies = [entry["topologyKey"] for entry in servers.pod["topologySpreadConstraints"]]
    assert topologies == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for entry in servers.pod["topologySpreadConstraints"]:
        assert entry["labelSelector"] == servers.spec["selector"]
    budget = cluster.only(seen, "PodDisruptionBudget").spec
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert servers.container["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"
    assert servers.pod["terminationGracePeriodSeconds"] > 30


def test_an_autoscaler_decides_alone_how_many():
    wanted = {
        "min_replicas": 2,
        "max_replicas": 6,
        "requests_metric": "http_requests",
        "requests_per_replica": 50,
    }
    seen, _ = cluster.run(program({"autoscaling": wanted, "replicas": 3}))
    assert "replicas" not in cluster.only(seen, "Deployment").spec
    scaler = cluster.only(seen, "HorizontalPodAutoscaler")
    assert scaler.spec["scaleTargetRef"]["name"] == cluster.only(seen, "Deployment").physical
    assert (scaler.spec["minReplicas"], scaler.spec["maxReplicas"]) == (2, 6)
    cpu, requests = scaler.spec["metrics"]
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert requests["pods"] == {
        "metric": {"name": "http_requests"},
        "target": {"type": "AverageValue", "averageValue": "50"},
    }


def test_without_an_autoscaler_there_is_none(plain_stack):
    assert not [item for item in plain_stack[0] if item.kind == "HorizontalPodAutoscaler"]


def test_alive_asks_the_process_and_ready_the_database(plain_stack):
    container = cluster.only(plain_stack[0], "Deployment").container
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["startupProbe"]["httpGet"]["path"] == "/health"
    ready = container["readinessProbe"]["httpGet"]
    assert ready["path"] == "/api/2.0/mlflow/experiments/search?max_results=1"
    assert ready["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    hosts = cluster.env(cluster.only(plain_stack[0], "Deployment"))["MLFLOW_SERVER_ALLOWED_HOSTS"]
    assert "localhost" in hosts.split(",")


@pytest.mark.parametrize("auth", ["mlflow", "oidc-mlflow"])
def test_a_server_with_users_is_asked_by_a_program_that_logs_in(auth):
    seen, _ = cluster.run(program({"auth": auth}))
    container = cluster.only(seen, "Deployment").container
    command = container["readinessProbe"]["exec"]["command"]
    assert command == [
        "/opt/pulumi-mlflow/entrypoint.sh",
        "python",
        "/opt/pulumi-mlflow/boot.py",
        "ready",
    ]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"


def test_scratch_is_disk_that_the_node_must_have(plain_stack):
    server = cluster.only(plain_stack[0], "Deployment")
    volumes = {volume["name"]: volume for volume in server.pod["volumes"]}
    assert volumes["scratch"] == {"name": "scratch", "emptyDir": {"sizeLimit": "5Gi"}}
    for given in ("requests", "limits"):
        assert server.container["resources"][given]["ephemeral-storage"] == "5376Mi"
    assert cluster.env(server)["TMPDIR"] == "/scratch"
    assert {"name": "scratch", "mountPath": "/scratch"} in server.container["volumeMounts"]


def test_scratch_may_be_a_disk_of_its_own():
    seen, _ = cluster.run(program({"scratch_class": "gp3", "scratch_mb": 9000}))
    server = cluster.only(seen, "Deployment")
    [scratch] = [volume for volume in server.pod["volumes"] if volume["name"] == "scratch"]
    claim = scratch["ephemeral"]["volumeClaimTemplate"]
    assert claim["spec"]["storageClassName"] == "gp3"
    assert claim["spec"]["resources"] == {"requests": {"storage": "9000Mi"}}
    assert claim["metadata"]["labels"][cluster.DEPLOYMENT] == "mlflow-prod"
    assert server.container["resources"]["limits"]["ephemeral-storage"] == "256Mi"


def test_memory_is_what_the_workers_need(plain_stack):
    for seen, memory in (
        (plain_stack[0], "1Gi"),
        (cluster.run(program({"workers": 4}))[0], "1792Mi"),
    ):
        resources = cluster.only(seen, "Deployment").container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"] == memory


def test_all_names_of_the_server_are_allowed_hosts():
    seen, _ = cluster.run(program({"public_url": "https://mlflow.example.com"}))
    hosts = cluster.env(cluster.only(seen, "Deployment"))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for name in ("mlflow-prod-tracking", "mlflow-prod-proxy"):
        for end in ("", ".mlflow-prod", ".mlflow-prod.svc", ".mlflow-prod.svc.cluster.local"):
            assert f"{name}{end}" in hosts
            assert f"{name}{end}:*" in hosts
    assert "mlflow.example.com" in hosts
    assert "*" not in hosts


def test_metrics_are_for_one_namespace_under_the_pods_own_address():
    seen, made = cluster.run(
        program({"monitoring_namespace": "monitoring"}, outputs=("endpoint", "metrics_secret"))
    )
    server = cluster.only(seen, "Deployment")
    first, *_ = server.container["env"]
    # Kubernetes replaces only variables that stand before.
    assert first == {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    hosts = cluster.env(server)["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert hosts[-2:] == ["$(POD_IP)", "$(POD_IP):*"]
    assert "--expose-prometheus" in server.container["args"]
    rule = cluster.only(seen, "NetworkPolicy", "tracking").spec["ingress"][1]
    assert rule["from"][0]["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
    }
    assert made["endpoint"]["metrics_path"] == "/metrics"
    assert made["metrics_secret"] is None


def test_without_prometheus_there_are_no_metrics(plain_stack):
    seen, made = plain_stack
    assert "--expose-prometheus" not in cluster.only(seen, "Deployment").container["args"]
    assert "metrics_path" not in made["endpoint"]


def test_metrics_of_a_server_with_users_come_with_a_login():
    changes = {"monitoring_namespace": "monitoring", "auth": "mlflow"}
    seen, made = cluster.run(program(changes, outputs=("metrics_secret",)))
    name, is_secret = made["metrics_secret"]
    [login] = [item for item in seen if item.kind == "Secret" and item.physical == name]
    assert not is_secret
    assert login.inputs["type"] == "kubernetes.io/basic-auth"
    assert login.secret_files() == {
        "username": "admin",
        "password": cluster.secret_of("tracking-admin"),
    }


def test_the_endpoint_is_a_full_name_that_nginx_can_look_up(plain_stack):
    _, made = plain_stack
    url, is_secret = made["endpoint"]["internal_url"]
    assert url == "http://mlflow-prod-tracking.mlflow-prod.svc.cluster.local:5000"
    assert not is_secret
    assert made["endpoint"]["reach"] == [HERE]
    assert made["endpoint"]["auth_mode"] == "none"
    assert made["admin_password"][1] is True


def test_a_pooler_is_not_for_migrations():
    seen, _ = cluster.run(program({"migration_database": database(host="direct")}))
    secrets = {item.physical: item.secret_files() for item in seen if item.kind == "Secret"}

    def uri(item):
        [volume] = [v["secret"]["secretName"] for v in item.pod["volumes"] if "secret" in v]
        return secrets[volume]["env.MLFLOW_BACKEND_STORE_URI"]

    assert "@direct:" in uri(cluster.only(seen, "Job"))
    assert "@direct:" not in uri(cluster.only(seen, "Deployment"))


BAD = {
    "memory for fewer workers": ({"memory_mb": 600}, "memory_mb: must be ≥ 768 MiB"),
    "too many connections": ({"max_connections": 150}, "max_connections: must be ≥"),
    "replicas that an autoscaler could add": (
        {"max_connections": 400, "autoscaling": {"min_replicas": 1, "max_replicas": 9}},
        "max_connections: must be ≥",
    ),
    "no replica": ({"replicas": 0}, "replicas: must be ≥ 1"),
    "more at least than at most": (
        {"autoscaling": {"min_replicas": 5, "max_replicas": 2}},
        "min_replicas ≤ max_replicas",
    ),
    "half a metric": (
        {"autoscaling": {"min_replicas": 1, "max_replicas": 2, "requests_metric": "x"}},
        "must be given together",
    ),
    "the node's identity": ({"identity": None}, "identity: bucket has no keys"),
    "two identities": (
        {"identity": {"role_arn": "arn", "pod_identity": True}},
        "role_arn and pod_identity exclude",
    ),
    "latest": ({"image": "registry.example/mlflow:latest"}, "image: must name a version"),
    "no tag": ({"image": "registry.example:5000/mlflow"}, "image: must name a version"),
    "unknown mode": ({"auth": "magic"}, "tracking: auth: must be one of"),
    "unknown permission": (
        {"auth": "mlflow", "permissions": {"default": "ALL"}},
        "permissions.default",
    ),
    "presigned URLs of a store that clients cannot reach": (
        {"artifacts": keys(endpoint_url="http://store:9000"), "multipart": True},
        "bucket has no public_endpoint_url",
    ),
    "a name that no Service may have": ({"deployment": "1-mlflow"}, "must begin with a letter"),
}


def test_a_store_is_asked_by_the_name_that_clients_have_for_it():
    """A signature covers the host; and the way there is open."""
    store = keys(
        endpoint_url="http://store:9000", public_endpoint_url="https://s3.example.com:9443"
    )
    for multipart, url, port in (
        (False, "http://store:9000", 9000),
        (True, "https://s3.example.com:9443", 9443),
    ):
        seen, _ = cluster.run(program({"artifacts": store, "multipart": multipart, "jobs": {}}))
        for role in ("tracking", "jobs"):
            [container] = cluster.only(seen, "Deployment", role).pod["containers"]
            assert {"name": "MLFLOW_S3_ENDPOINT_URL", "value": url} in container["env"]
            egress = cluster.only(seen, "NetworkPolicy", role).spec["egress"]
            assert int(egress[1]["ports"][0]["port"]) == port


@pytest.mark.parametrize(("connections", "fit"), [(364, True), (363, False)])
def test_connections_are_enough_for_one_server_more_while_a_version_is_rolled_out(connections, fit):
    """118 of each of 2 + 1 servers, and 10 for others."""

    def made():
        if fit:
            return program({"max_connections": connections})()
        with pytest.raises(ValueError, match="must be ≥ 364"):
            program({"max_connections": connections})()
        return None

    cluster.run(made)


@pytest.mark.parametrize(("changes", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused_before_anything_runs(changes, reason):
    def made():
        with pytest.raises(ValueError, match=reason) as caught:
            program(changes)()
        assert "typed" not in str(caught.value)

    seen, _ = cluster.run(made)
    assert {item.name for item in seen if item.is_kubernetes} <= {
        "network-namespace",
        "network-deny",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"database": database(reach=["network:mlflow-dev"])},
        {"database": database(reach=["vpc:corp"])},
        {"database": database(reach=["cluster:other"])},
        {"migration_database": database(reach=["host"])},
        {"artifacts": bucket(reach=["host"])},
    ],
)
def test_what_the_cluster_cannot_reach_is_refused_by_name(changes):
    def made():
        [given] = changes.values()
        with pytest.raises(
            UnreachableEndpointError, match=f"tracking runs in .* cannot reach {given['component']}"
        ):
            program(changes)()

    cluster.run(made)


@pytest.fixture(scope="module")
def with_jobs():
    jobs = {"redis_url": "rediss://:typedqueue@redis:6380/0", "redis_port": 6380}
    return cluster.run(program({"jobs": jobs, "replicas": 3, "monitoring_namespace": "monitoring"}))


def test_one_server_runs_jobs_and_the_others_run_none(with_jobs):
    seen, made = with_jobs
    servers = cluster.only(seen, "Deployment", "tracking")
    jobs = cluster.only(seen, "Deployment", "jobs")
    name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
    assert (cluster.env(servers)[name], cluster.env(jobs)[name]) == ("false", "true")
    assert (servers.spec["replicas"], jobs.spec["replicas"]) == (3, 1)
    # Never two of them, which would do everything on a schedule twice.
    assert jobs.spec["strategy"] == {"type": "Recreate"}
    assert jobs.container["args"][jobs.container["args"].index("--workers") + 1] == "1"
    assert "--expose-prometheus" not in jobs.container["args"]
    assert jobs.container["resources"]["limits"]["memory"] == "2560Mi"
    assert "tracking-migration" in jobs.depends_on
    assert made["endpoint"]["jobs_url"] == (
        "http://mlflow-prod-jobs.mlflow-prod.svc.cluster.local:5000",
        False,
    )


def test_jobs_may_ask_their_own_server(with_jobs):
    """MLflow tells them the address that the server listens on."""
    own = ".".join("0000")
    hosts = cluster.env(cluster.only(with_jobs[0], "Deployment", "jobs"))[
        "MLFLOW_SERVER_ALLOWED_HOSTS"
    ]
    assert {own, f"{own}:*", "mlflow-prod-jobs", "mlflow-prod-proxy"} <= set(hosts.split(","))
    hosts = cluster.env(cluster.only(with_jobs[0], "Deployment", "tracking"))[
        "MLFLOW_SERVER_ALLOWED_HOSTS"
    ]
    assert own not in hosts.split(",")


def test_the_queue_is_for_the_server_that_runs_jobs_alone(with_jobs):
    seen, _ = with_jobs
    key_ = "env.MLFLOW_SERVER_JOB_HUEY_REDIS_URL"
    assert (
        cluster.only(seen, "Secret", "jobs").secret_files()[key_]
        == "rediss://:typedqueue@redis:6380/0"
    )
    assert key_ not in cluster.only(seen, "Secret", "tracking").secret_files()
    egress = cluster.only(seen, "NetworkPolicy", "jobs").spec["egress"]
    assert [int(rule["ports"][0]["port"]) for rule in egress] == [5432, 443, 443, 6380]


@pytest.mark.parametrize(("connections", "fit"), [(456, True), (455, False)])
def test_connections_of_the_server_that_runs_jobs_count(connections, fit):
    """364 of the others, 60 of its worker and 32 of its job processes."""

    def made():
        if fit:
            return program({"max_connections": connections, "jobs": {}})()
        with pytest.raises(ValueError, match="92 of 455 are for the server that runs jobs"):
            program({"max_connections": connections, "jobs": {}})()
        return None

    cluster.run(made)


@pytest.fixture(scope="module")
def with_vault():
    vault = {"store": "aws", "kind": "SecretStore", "key": "arn:rds!1"}
    return cluster.run(program({"database_secret": vault, "auth": "mlflow"}))


def test_a_password_of_a_vault_is_in_no_object_of_ours(with_vault):
    seen, _ = with_vault
    external = cluster.only(seen, "ExternalSecret", "tracking")
    assert external.spec["secretStoreRef"] == {"name": "aws", "kind": "SecretStore"}
    assert external.spec["data"] == [
        {"secretKey": "password", "remoteRef": {"key": "arn:rds!1", "property": "password"}}
    ]
    assert external.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Ready"
    for item in seen:
        assert "typedpassword" not in json.dumps(item.inputs)
    target = external.spec["target"]["name"]
    for kind in ("Deployment", "Job"):
        item = cluster.only(seen, kind)
        assert [v["secret"]["secretName"] for v in item.pod["volumes"] if "secret" in v] == [target]
        assert "tracking-files-vault" in item.depends_on
    # After a rotation, pods read it anew.
    annotations = cluster.only(seen, "Deployment").inputs["metadata"]["annotations"]
    assert annotations == {"reloader.stakater.com/auto": "true"}


def test_without_a_vault_nothing_restarts_the_pods(plain_stack):
    assert "annotations" not in cluster.only(plain_stack[0], "Deployment").inputs["metadata"]


@pytest.mark.parametrize("password", ["simple", "a b+c%d/e:f@g", "q\"uo'te#?&=", "{{ x }}", "ü€"])
def test_the_operator_makes_files_that_are_read_as_that_password(with_vault, password):
    """As Go's templates would: `urlquery` is Python's `quote_plus`, `replace` is `str.replace`."""
    templates = cluster.only(with_vault[0], "Secret", "tracking").secret_files()

    def rendered(text):
        def value(match):
            first, *steps = [step.strip() for step in match[1].split("|")]
            if first != ".password":
                return json.loads(first)
            result = password
            for step in steps:
                name, *words = shlex.split(step)
                result = quote_plus(result) if name == "urlquery" else result.replace(*words)
            return result

        return re.sub(r"\{\{(.*?)\}\}", value, text)

    uri = rendered(templates["env.MLFLOW_BACKEND_STORE_URI"])
    assert make_url(uri).password == password
    config = configparser.ConfigParser()
    config.read_string(rendered(templates["auth.ini"]))
    assert make_url(config["mlflow"]["database_uri"]).password == password
    assert config["mlflow"]["admin_password"] == cluster.secret_of("tracking-admin")


def test_what_looks_like_a_template_stays_as_it_is():
    text = external_secrets.template("a.json", '{"groups": {"{{ .password }}": "READ"}}')
    assert text == '{"groups": {"{{ "{{" }} .password }}": "READ"}}'


class Answers(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list] = []
    status = 200

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args):
        """Silence."""


@pytest.fixture
def server(monkeypatch):
    Answers.asked, Answers.status = [], 200
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("READY_URL", f"http://127.0.0.1:{running.server_port}/ready?x=1")
        yield
        running.shutdown()


def test_ready_logs_in_as_the_administrator(server, tmp_path, monkeypatch):
    (tmp_path / "auth.ini").write_text("[mlflow]\nadmin_username = admin\nadmin_password = 50%%\n")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "auth.ini"))
    boot.ready()
    assert Answers.asked == [("/ready?x=1", f"Basic {base64.b64encode(b'admin:50%').decode()}")]


def test_ready_fails_when_the_server_cannot_read_its_database(server, monkeypatch):
    monkeypatch.delenv("MLFLOW_AUTH_CONFIG_PATH", raising=False)
    boot.ready()
    assert Answers.asked == [("/ready?x=1", None)]
    Answers.status = 500
    with pytest.raises(boot.BootError, match="ready: HTTP Error 500"):
        boot.ready()
