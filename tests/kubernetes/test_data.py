"""Database and artifact store inside a cluster, under mocks: what is protected, who may connect, what changes in place."""

import json

import pulumi
import pytest
from tests.kubernetes import cluster

from pulumi_mlflow.core import budgets, cloudnativepg
from pulumi_mlflow.kubernetes.artifacts import KubernetesArtifactStore
from pulumi_mlflow.kubernetes.database import KubernetesDatabase
from pulumi_mlflow.kubernetes.network import KubernetesNetwork
from pulumi_mlflow.kubernetes.tracking import KubernetesTrackingServer

HERE = "cluster:mlflow-prod"
ARCHIVE = {"destination": "s3://backups/mlflow", "role_arn": "arn:aws:iam::1:role/backup"}


def database(changes=None):
    def made():
        there = KubernetesNetwork("network", {})
        args = {
            "namespace": there.namespace,
            "image": "postgresql:17.5",
            "version": "17",
            **(changes or {}),
        }
        archive = args.get("archive")
        if archive and "secret_key" in archive:
            args["archive"] = {**archive, "secret_key": pulumi.Output.secret("typedarchive")}
        found = KubernetesDatabase("database", args)
        return {"endpoint": found.endpoint}

    return made


def store(changes=None):
    def made():
        there = KubernetesNetwork("network", {})
        args = {
            "namespace": there.namespace,
            "image": "versitygw:1.8.0",
            "job_image": cluster.IMAGE,
            **(changes or {}),
        }
        found = KubernetesArtifactStore("artifacts", args)
        return {"endpoint": found.endpoint}

    return made


COMBINATIONS = {
    "database": database(),
    "one instance": database({"instances": 1, "monitoring_namespace": "monitoring"}),
    "archive": database({"archive": ARCHIVE, "wal_storage_gb": 5, "storage_class": "gp3"}),
    "archive with keys": database(
        {"archive": {"destination": "s3://backups", "access_key": "AK", "secret_key": "", "endpoint_url": "https://s3:9000"}}
    ),
    "versitygw": store(),
    "minio": store({"store": "minio", "storage_class": "gp3", "pull_secrets": ["registry"]}),
    "long names": store({"deployment": "mlflow-prod-with-a-name-that-is-longer-than-dns-takes-for-it"}),
}  # fmt: skip


@pytest.mark.parametrize("program", COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_object_is_restricted_labelled_and_without_secrets(program):
    seen, _ = cluster.run(program)
    cluster.judge(seen)
    for item in seen:
        if item.kind != "Secret":
            assert "typedarchive" not in json.dumps(item.inputs), item.name


def protected(seen):
    return {item.name for item in seen if item.request.protect}


def test_data_and_what_opens_it_are_protected_together():
    assert protected(cluster.run(database({"archive": ARCHIVE}))[0]) == {
        "network-namespace",
        "database-guard",
        "database-password",
        "database-login",
        "database-archive",
        "database-cluster",
    }
    assert protected(cluster.run(store())[0]) == {
        "network-namespace",
        "artifacts-guard",
        "artifacts-access-key",
        "artifacts-secret-key",
        "artifacts-data",
    }


@pytest.fixture(scope="module")
def postgresql():
    return cluster.run(database({"archive": ARCHIVE}))


def test_the_cluster_is_awaited_and_made_with_our_password(postgresql):
    seen, made = postgresql
    item = cluster.only(seen, "Cluster")
    assert item.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}
    initdb = item.spec["bootstrap"]["initdb"]
    assert (initdb["database"], initdb["owner"]) == ("mlflow", "mlflow")
    [login] = [other for other in seen if other.name == "database-login"]
    assert initdb["secret"] == {"name": login.physical}
    assert login.inputs["type"] == "kubernetes.io/basic-auth"
    assert login.secret_files() == {
        "username": "mlflow",
        "password": cluster.secret_of("database-password"),
    }
    assert {
        "database-login",
        "database-guard",
        "database-edges",
        "database-archive",
    } <= item.depends_on
    endpoint = made["endpoint"]
    assert endpoint["host"] == ("mlflow-prod-database-rw.mlflow-prod.svc.cluster.local", False)
    assert endpoint["password"] == (cluster.secret_of("database-password"), True)
    assert endpoint["reach"] == [HERE]
    assert endpoint["tls_mode"] == "require"


def test_plain_text_is_refused_and_nobody_is_superuser(postgresql):
    spec = cluster.only(postgresql[0], "Cluster").spec
    assert spec["postgresql"]["pg_hba"][-1] == "hostnossl all all all reject"
    assert spec["enableSuperuserAccess"] is False


def test_parameters_are_those_of_docker_for_the_same_memory(postgresql):
    spec = cluster.only(postgresql[0], "Cluster").spec
    assert spec["postgresql"]["parameters"] == budgets.postgres_parameters(2048, 400)
    assert spec["resources"]["limits"]["memory"] == "2Gi"
    # Two servers of two workers, and one more while a version is rolled out.
    assert budgets.check_connections(2, 3, budgets.POOL_SIZE, budgets.MAX_OVERFLOW, 400) is None


def test_a_standby_confirms_what_is_answered_and_is_in_another_zone(postgresql):
    spec = cluster.only(postgresql[0], "Cluster").spec
    assert spec["instances"] == 2
    assert spec["postgresql"]["synchronous"]["number"] == 1
    assert spec["affinity"]["topologyKey"] == "topology.kubernetes.io/zone"
    assert spec["enablePDB"] is True
    assert spec["primaryUpdateMethod"] == "switchover"


def test_one_instance_blocks_no_upgrade_of_its_node():
    spec = cluster.only(cluster.run(database({"instances": 1}))[0], "Cluster").spec
    assert spec["enablePDB"] is False
    assert "synchronous" not in spec["postgresql"]
    assert spec["primaryUpdateMethod"] == "restart"


def test_what_the_operator_makes_carries_our_labels_so_that_servers_reach_it(postgresql):
    item = cluster.only(postgresql[0], "Cluster")
    assert item.spec["inheritedMetadata"]["labels"] == item.labels
    assert item.labels[cluster.ROLE] == "database"


def rules(policy, way):
    """(peer, ports) of every edge."""
    key = "from" if way == "ingress" else "to"
    return [
        (peer, [int(port["port"]) for port in rule["ports"]])
        for rule in policy.spec[way]
        for peer in rule[key]
    ]


def roles(found):
    return [
        peer["podSelector"]["matchLabels"][cluster.ROLE]
        for peer, _ in found
        if cluster.ROLE in peer.get("podSelector", {}).get("matchLabels", {})
    ]


def test_clients_the_operator_and_the_other_instances_may_connect(postgresql):
    edges = cluster.only(postgresql[0], "NetworkPolicy", "database")
    assert edges.spec["podSelector"]["matchLabels"] == {"cnpg.io/cluster": "mlflow-prod-database"}
    found = rules(edges, "ingress")
    assert roles(found) == ["tracking", "migration", "jobs", "gc", "backup"]
    others = [(peer, ports) for peer, ports in found if not roles([(peer, ports)])]
    assert others == [
        (
            {"podSelector": {"matchLabels": {"cnpg.io/cluster": "mlflow-prod-database"}}},
            [5432, 8000],
        ),
        (
            {
                "podSelector": {"matchLabels": {}},
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "cnpg-system"}
                },
            },
            [5432, 8000],
        ),
    ]
    outside = [ports for peer, ports in rules(edges, "egress") if "ipBlock" in peer]
    assert outside == [[443, 6443]]


def test_metrics_are_for_one_namespace():
    seen, _ = cluster.run(database({"monitoring_namespace": "monitoring"}))
    peer, ports = rules(cluster.only(seen, "NetworkPolicy", "database"), "ingress")[-1]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert ports == [9187]


def test_the_archive_is_written_by_an_identity_and_every_night(postgresql):
    seen, _ = postgresql
    spec = cluster.only(seen, "Cluster").spec
    archive = cluster.only(seen, "ObjectStore")
    assert archive.spec["configuration"]["destinationPath"] == "s3://backups/mlflow"
    assert archive.spec["configuration"]["s3Credentials"] == {"inheritFromIAMRole": True}
    assert archive.spec["retentionPolicy"] == "30d"
    [plugin] = spec["plugins"]
    assert plugin["parameters"] == {"barmanObjectName": archive.physical}
    assert plugin["isWALArchiver"] is True
    annotations = spec["serviceAccountTemplate"]["metadata"]["annotations"]
    assert annotations == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/backup"}
    nightly = cluster.only(seen, "ScheduledBackup").spec
    assert nightly["cluster"] == {"name": "mlflow-prod-database"}
    assert nightly["method"] == "plugin"


def test_keys_of_an_archive_are_in_a_secret():
    seen, _ = cluster.run(COMBINATIONS["archive with keys"])
    [keys] = [item for item in seen if item.name == "database-archive-keys"]
    assert keys.secret_files() == {"access-key": "AK", "secret-key": "typedarchive"}
    credentials = cluster.only(seen, "ObjectStore").spec["configuration"]["s3Credentials"]
    assert credentials["secretAccessKey"] == {"name": keys.physical, "key": "secret-key"}
    outside = [
        ports
        for peer, ports in rules(cluster.only(seen, "NetworkPolicy", "database"), "egress")
        if "ipBlock" in peer
    ]
    assert outside == [[443, 6443, 9000]]


def test_a_major_version_is_remembered_with_the_data(postgresql):
    guard = cluster.only([item for item in postgresql[0] if not item.is_kubernetes], "DataGuard")
    assert guard.inputs["settings"]["mlflow:database.version"] == "17"


@pytest.fixture(scope="module")
def versitygw():
    return cluster.run(store())


def test_the_disk_is_an_object_of_its_own(versitygw):
    seen, _ = versitygw
    claim, running = cluster.only(seen, "PersistentVolumeClaim"), cluster.only(seen, "StatefulSet")
    assert claim.spec["resources"]["requests"]["storage"] == "100Gi"
    assert "volumeClaimTemplates" not in running.spec
    volumes = {volume["name"]: volume for volume in running.pod["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": claim.physical}
    assert running.spec["replicas"] == 1
    # Seen on a real node: else a pod with a wrong image stays when the image is mended.
    assert running.spec["podManagementPolicy"] == "Parallel"
    mounts = {mount["mountPath"]: mount for mount in running.container["volumeMounts"]}
    assert mounts["/data"]["subPath"] == "objects"


def test_the_bucket_is_there_before_a_server(versitygw):
    seen, made = versitygw
    job = cluster.only(seen, "Job")
    assert job.container["args"] == ["python", "/opt/pulumi-mlflow/artifacts.py", "bucket"]
    assert cluster.env(job)["MLFLOW_S3_ENDPOINT_URL"] == made["endpoint"]["endpoint_url"][0]
    assert "artifacts-store" in job.depends_on
    assert made["endpoint"]["uri"] == ("s3://mlflow", False)
    assert made["endpoint"]["secret_key"] == (cluster.secret_of("artifacts-secret-key", 40), True)
    assert "env.ROOT_SECRET_KEY" in cluster.only(seen, "Secret").secret_files()


def test_the_store_connects_to_nobody(versitygw):
    edges = cluster.only(versitygw[0], "NetworkPolicy", "artifacts")
    assert edges.spec["egress"] == []
    assert roles(rules(edges, "ingress")) == ["tracking", "jobs", "gc", "backup", "bucket"]
    bucket = cluster.only(versitygw[0], "NetworkPolicy", "bucket")
    assert roles(rules(bucket, "egress")) == ["artifacts"]
    assert bucket.spec["ingress"] == []


def test_minio_is_run_with_its_own_names():
    seen, made = cluster.run(store({"store": "minio"}))
    running = cluster.only(seen, "StatefulSet")
    assert running.container["livenessProbe"]["httpGet"]["path"] == "/minio/health/live"
    assert "env.MINIO_ROOT_PASSWORD" in cluster.only(seen, "Secret").secret_files()
    assert made["endpoint"]["uri"][0] == "s3://default"


BAD = {
    "no instance": (database({"instances": 0}), "instances: must be ≥ 1"),
    "no disk": (database({"storage_gb": 0}), "storage_gb: must be ≥ 1"),
    "no bucket": (database({"archive": {**ARCHIVE, "destination": "/backups"}}), "destination: must be s3://"),
    "no day": (database({"archive": {**ARCHIVE, "retention_days": 0}}), "retention_days: must be ≥ 1"),
    "five fields": (database({"archive": {**ARCHIVE, "schedule": "0 2 * * *"}}), "schedule: must be six fields"),
    "half a key": (database({"archive": {**ARCHIVE, "access_key": "x"}}), "must be given together"),
    "nobody to write the archive": (database({"archive": {"destination": "s3://bucket"}}), "must have keys or role_arn"),
    "latest": (database({"image": "postgresql:latest"}), "image: must name a version"),
    "a store of others": (store({"store": "s3"}), "store: must be versitygw or minio"),
    "a bucket's name": (store({"bucket": "No"}), "bucket: must be"),
    "no disk for objects": (store({"storage_gb": 0}), "storage_gb: must be ≥ 1"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused(program, reason):
    def made():
        with pytest.raises(ValueError, match=reason) as caught:
            program()
        assert "typed" not in str(caught.value)

    seen, _ = cluster.run(made)
    assert {item.name for item in seen if item.is_kubernetes} <= {
        "network-namespace",
        "network-deny",
    }


def test_names_leave_room_for_what_the_operator_adds():
    name = "mlflow-prod-with-a-name-that-is-longer-than-dns-takes-for-it"
    seen, _ = cluster.run(database({"deployment": name}))
    assert len(cluster.only(seen, "Cluster").physical) <= cloudnativepg.NAME_LIMIT


def test_sizes_change_nothing_that_would_replace_what_holds_data():
    """Only names, namespaces and what the API calls immutable replace an object."""
    before = cluster.run(database())[0]
    after = cluster.run(
        database(
            {
                "memory_mb": 8192,
                "instances": 3,
                "storage_gb": 200,
                "image": "postgresql:17.6",
                "max_connections": 900,
            }
        )
    )[0]
    metadata = [cluster.only(seen, "Cluster").inputs["metadata"] for seen in (before, after)]
    assert metadata[0] == metadata[1]
    before, after = (
        cluster.run(store(changes))[0]
        for changes in ({}, {"storage_gb": 500, "memory_mb": 2048, "image": "versitygw:1.9.0"})
    )
    claims = [cluster.only(seen, "PersistentVolumeClaim") for seen in (before, after)]
    assert claims[0].inputs["metadata"] == claims[1].inputs["metadata"]
    assert claims[0].spec.keys() == claims[1].spec.keys()
    running = [cluster.only(seen, "StatefulSet") for seen in (before, after)]
    for key in ("serviceName", "selector"):
        assert running[0].spec[key] == running[1].spec[key]


def test_a_stack_without_a_cloud_is_whole_and_in_order():
    def made():
        there = KubernetesNetwork("network", {})
        runs = KubernetesDatabase(
            "database", {"namespace": there.namespace, "image": "postgresql:17.5", "version": "17"}
        )
        objects = KubernetesArtifactStore(
            "artifacts",
            {"namespace": there.namespace, "image": "versitygw:1.8.0", "job_image": cluster.IMAGE},
        )
        server = KubernetesTrackingServer(
            "tracking",
            {
                "namespace": there.namespace,
                "image": cluster.IMAGE,
                "database": runs.endpoint,
                "artifacts": objects.endpoint,
                "max_connections": 400,
            },
        )
        return {"endpoint": server.endpoint}

    seen, _ = cluster.run(made)
    cluster.judge(seen)
    order = [item.name for item in seen]
    assert order.index("database-cluster") < order.index("tracking-migration")
    assert order.index("artifacts-bucket") < order.index("tracking-deployment")
    servers = cluster.only(seen, "Deployment")
    assert {"database-cluster", "artifacts-bucket"} <= cluster.behind(seen, servers)
    edges = cluster.only(seen, "NetworkPolicy", "tracking")
    assert roles(rules(edges, "egress")) == ["database", "artifacts"]
    assert not [peer for peer, _ in rules(edges, "egress") if "ipBlock" in peer]


@pytest.mark.parametrize("failing", ["database-cluster", "artifacts-bucket"])
def test_nothing_is_rolled_out_on_data_that_is_not_there(failing):
    def made():
        there = KubernetesNetwork("network", {})
        runs = KubernetesDatabase(
            "database", {"namespace": there.namespace, "image": "postgresql:17.5", "version": "17"}
        )
        objects = KubernetesArtifactStore(
            "artifacts",
            {"namespace": there.namespace, "image": "versitygw:1.8.0", "job_image": cluster.IMAGE},
        )
        KubernetesTrackingServer(
            "tracking",
            {
                "namespace": there.namespace,
                "image": cluster.IMAGE,
                "database": runs.endpoint,
                "artifacts": objects.endpoint,
            },
        )
        return {}

    seen, _ = cluster.run(made, failing=(failing,))
    assert not [item for item in seen if item.kind == "Deployment"]
