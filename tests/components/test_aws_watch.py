"""AwsMonitoring and AwsBackup under mocks: what is alarmed, told, copied, locked and tested."""

import json

import pytest
from tests.components.aws_support import ACCOUNT, NETWORK, REGION, Program
from tests.iam.simulator import EVERYTHING, SOMEBODY, STRANGERS, ResourcePolicy, TrustPolicy

from pulumi_mlflow.aws.backup import AwsBackup, AwsBackupRole
from pulumi_mlflow.aws.monitoring import AwsMonitoring
from pulumi_mlflow.core import aws_alarms, budgets, iam

WATCH = {
    "region": REGION,
    "balancer": "app/lb/1",
    "targets": "targetgroup/web/1",
    "door_service": "door",
    "cluster_name": "mlflow-prod",
    "server_service": "server",
    "database": "mlflow-prod-database",
}
BALANCER, TARGETS = {"LoadBalancer": "app/lb/1"}, {"TargetGroup": "targetgroup/web/1"}
SERVER, DOOR = ({"ClusterName": "mlflow-prod", "ServiceName": one} for one in ("server", "door"))
DATABASE = {"DBInstanceIdentifier": "mlflow-prod-database"}
ABOUT = {
    "server-errors": ("AWS/ApplicationELB", BALANCER),
    "balancer-errors": ("AWS/ApplicationELB", BALANCER),
    "unhealthy": ("AWS/ApplicationELB", BALANCER | TARGETS),
    "server-tasks": ("ECS/ContainerInsights", SERVER),
    "door-tasks": ("ECS/ContainerInsights", DOOR),
    "server-cpu": ("AWS/ECS", SERVER),
    "server-memory": ("AWS/ECS", SERVER),
    "database-cpu": ("AWS/RDS", DATABASE),
    "database-connections": ("AWS/RDS", DATABASE),
    "database-memory": ("AWS/RDS", DATABASE),
    "database-disk": ("AWS/RDS", DATABASE),
}
"""Alarm → whose metric it watches, and of what: with one dimension more or less CloudWatch has no such metric."""
ROLE = f"arn:aws:iam::{ACCOUNT}:role/backup"
DATA = [f"arn:aws:rds:{REGION}:{ACCOUNT}:db:mlflow", "arn:aws:s3:::artifacts-of-acme"]


def watched(**args):
    return Program(lambda: AwsMonitoring("monitoring", {**WATCH, **args}))


def backed(**args):
    given = {"region": REGION, "role": ROLE, "resources": DATA, **args}
    return Program(lambda: AwsBackup("backup", given))


def alarms(found):
    return {
        item.name.removeprefix("monitoring-"): item.inputs
        for item in found.of("cloudwatch/metricAlarm:MetricAlarm")
    }


@pytest.fixture(scope="module")
def usual():
    return watched(emails=["ml@example.com"], budget_usd=400.0)


def test_every_alarm_tells_and_says_what_to_do(usual):
    found = alarms(usual)
    about = {name: (alarm["namespace"], alarm["dimensions"]) for name, alarm in found.items()}
    assert about == ABOUT
    for name, alarm in found.items():
        assert alarm["alarmActions"] == alarm["okActions"], name
        assert alarm["alarmActions"][0].endswith("monitoring-topic")
        assert ":" in alarm["alarmDescription"] or ";" in alarm["alarmDescription"], name
        assert alarm["name"] == f"mlflow-prod-{name}"
        assert alarm["period"] == 60


def test_alarms_are_about_the_right_things(usual):
    found = alarms(usual)
    assert found["server-cpu"]["dimensions"]["ServiceName"] == "server"
    assert found["door-tasks"]["dimensions"]["ServiceName"] == "door"
    assert found["unhealthy"]["dimensions"] == {
        "LoadBalancer": "app/lb/1",
        "TargetGroup": "targetgroup/web/1",
    }
    # Silence is the fault itself.
    assert found["server-tasks"]["treatMissingData"] == "breaching"
    assert found["server-errors"]["treatMissingData"] == "notBreaching"


def test_thresholds_follow_the_sizes():
    found = alarms(
        watched(max_connections=400, storage_gb=200, instance_class="db.r7g.large", replicas=3)
    )
    assert found["database-connections"]["threshold"] == 340
    assert found["database-disk"]["threshold"] == 20 * (1 << 30)
    assert found["database-memory"]["threshold"] == 16 * (1 << 30) // 20
    assert found["server-tasks"]["threshold"] == 3


def test_the_alarm_comes_before_the_last_connections():
    [alarm] = [
        item
        for item in aws_alarms.alarms(aws_alarms.Stack(2, 150, 4096, 50))
        if item.name == "database-connections"
    ]
    assert alarm.threshold < 150 - budgets.CONNECTION_HEADROOM


def test_aurora_has_no_disk_that_fills():
    found = alarms(watched(engine="aurora-postgresql", replica="own"))
    assert "database-disk" not in found
    assert found["database-cpu"]["dimensions"] == {"DBClusterIdentifier": "mlflow-prod-database"}
    assert found["replica-lag"]["metricName"] == "AuroraReplicaLagMaximum"
    assert found["replica-lag"]["threshold"] == 60_000
    plain = alarms(watched(replica="mlflow-prod-database-replica"))["replica-lag"]
    assert plain["dimensions"] == {"DBInstanceIdentifier": "mlflow-prod-database-replica"}
    assert plain["threshold"] == 60
    assert "replica-lag" not in alarms(watched())


def test_the_dashboard_shows_what_is_alarmed(usual):
    body = json.loads(usual["monitoring-dashboard"]["dashboardBody"])
    shown = {widget["properties"]["title"] for widget in body["widgets"]}
    assert shown == set(alarms(usual))
    places = {(widget["x"], widget["y"]) for widget in body["widgets"]}
    assert len(places) == len(shown)
    text = json.dumps(body)
    for _, dimensions in ABOUT.values():
        for value in dimensions.values():
            assert value in text


def test_only_aws_itself_publishes(usual):
    policy = ResourcePolicy(usual["monitoring-topic-policy"]["policy"])
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:monitoring-topic"
    own, foreign = {"aws:SourceAccount": ACCOUNT}, {"aws:SourceAccount": STRANGERS}
    http = {"aws:SecureTransport": "false"}
    for who in ("cloudwatch.amazonaws.com", "budgets.amazonaws.com"):
        assert policy.decide("sns:Publish", topic, own, who=who) == "allow"
        assert policy.decide("sns:Publish", topic, foreign, who=who) == "none"
        assert policy.decide("sns:Publish", topic, {**own, **http}, who=who) == "deny"
    assert policy.decide("sns:Publish", topic, own) == "none"
    assert policy.decide("sns:Publish", topic, http, who=SOMEBODY, identity=EVERYTHING) == "deny"
    assert policy.decide("sns:Subscribe", topic, own, who="cloudwatch.amazonaws.com") == "none"


def test_a_budget_of_what_carries_our_tag(usual):
    budget = usual["monitoring-budget"]
    assert (budget["limitAmount"], budget["limitUnit"]) == ("400", "USD")
    assert budget["costFilters"] == [
        {"name": "TagKeyValue", "values": ["user:pulumi-mlflow/deployment$mlflow-prod"]}
    ]
    kinds = {item["notificationType"]: item["threshold"] for item in budget["notifications"]}
    assert kinds == {"ACTUAL": 80, "FORECASTED": 100}
    assert budget["notifications"][0]["subscriberEmailAddresses"] == ["ml@example.com"]
    assert "monitoring-topic-policy" in usual.waits_for("monitoring-budget")
    assert not watched().of("budgets/budget:Budget")


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"budget_usd": 100.0}, "monitoring: budget_usd: must be over 0, and emails"),
        ({"budget_usd": 0.0, "emails": ["a@b"]}, "monitoring: budget_usd: must be over 0"),
        ({"instance_class": "large"}, "monitoring: instance_class: must be"),
    ],
)
def test_what_could_not_tell_is_refused(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        watched(**args)


@pytest.fixture(scope="module")
def backup():
    return backed(copy_region="eu-west-1")


def test_database_and_bucket_are_copied_daily_and_monthly(backup):
    rules = {rule["ruleName"]: rule for rule in backup["backup-plan"]["rules"]}
    assert rules["daily"]["lifecycle"] == {"deleteAfter": 35}
    assert rules["monthly"]["lifecycle"] == {"deleteAfter": 365}
    for rule in rules.values():
        assert rule["targetVaultName"] == "mlflow-prod-vault"
        [copy] = rule["copyActions"]
        assert copy["destinationVaultArn"].endswith("backup-copy")
        assert copy["lifecycle"] == rule["lifecycle"]
        # RDS's own settings would be changed behind ours.
        assert rule["enableContinuousBackup"] is False
    assert backup["backup-selection"]["resources"] == DATA
    assert backup["backup-selection"]["iamRoleArn"] == ROLE
    assert not backed()["backup-plan"]["rules"][0]["copyActions"]
    assert backed(keep_days=90)["backup-plan"]["rules"][0]["lifecycle"] == {"deleteAfter": 90}


def test_vaults_are_locked_protected_and_have_keys_of_their_own(backup):
    for role, region in (("vault", None), ("copy", "eu-west-1")):
        assert backup[f"backup-{role}"]["kmsKeyArn"].endswith(f"backup-{role}-key")
        assert backup[f"backup-{role}"].get("region") == region
        assert backup[f"backup-{role}-key"].get("region") == region
        lock = backup[f"backup-{role}-lock"]
        assert (lock["minRetentionDays"], lock["maxRetentionDays"]) == (7, 400)
        # Nothing that cannot be undone, unless asked for.
        assert "changeableForDays" not in lock
        assert backup[f"backup-{role}"]["forceDestroy"] is False
    assert backup.protected() == {
        f"backup-{role}{part}" for role in ("vault", "copy") for part in ("", "-key", "-lock")
    }
    assert backed(immutable_after_days=30)["backup-vault-lock"]["changeableForDays"] == 30


def test_a_restore_is_tested_each_week(backup):
    plan = backup["backup-restore-test"]
    assert plan["name"] == "mlflow_prod_restore"
    assert plan["scheduleExpression"].endswith("SUN *)")
    assert plan["recoveryPointSelection"]["includeVaults"][0].endswith("backup-vault")
    selection = backup["backup-restore-rds"]
    assert selection["protectedResourceType"] == "RDS"
    assert selection["protectedResourceConditions"]["stringEquals"] == [
        {"key": "aws:ResourceTag/pulumi-mlflow/deployment", "value": "mlflow-prod"}
    ]
    found = backed(test_types=["Aurora", "S3"])
    assert {"backup-restore-aurora", "backup-restore-s3"} <= set(found.seen)
    assert "backup-restore-rds" not in found.seen


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"resources": []}, "backup: resources: must name"),
        ({"keep_days": 6}, "backup: keep_days: must be 7 to 400"),
        ({"keep_days": 401}, "backup: keep_days: must be 7 to 400"),
        ({"immutable_after_days": 2}, "backup: immutable_after_days: must be ≥ 3"),
        ({"copy_region": REGION}, "backup: copy_region: must be another region"),
        ({"test_types": ["EC2"]}, "backup: test_types: EC2 is none of"),
    ],
)
def test_backups_that_cannot_be_are_refused(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        backed(**args)


def test_the_role_is_aws_backups():
    found = Program(lambda: AwsBackupRole("backup-role", {"network": NETWORK}))
    trust = TrustPolicy(found["backup-role-role"]["assumeRolePolicy"])
    assert trust.decide("backup.amazonaws.com") == "allow"
    assert trust.decide("ec2.amazonaws.com") == "none"
    attached = {
        item.inputs["policyArn"]
        for item in found.of("iam/rolePolicyAttachment:RolePolicyAttachment")
    }
    assert attached == {
        iam.managed_policy(name, REGION)
        for name in (
            "service-role/AWSBackupServiceRolePolicyForBackup",
            "service-role/AWSBackupServiceRolePolicyForRestores",
            "AWSBackupServiceRolePolicyForS3Backup",
            "AWSBackupServiceRolePolicyForS3Restore",
        )
    }


def test_tags_and_parents(usual, backup):
    untagged = (
        "TopicPolicy",
        "TopicSubscription",
        "Dashboard",
        "Selection",
        "VaultLockConfiguration",
        "RestoreTestingSelection",
    )
    for program, role in ((usual, "monitoring"), (backup, "backup")):
        for name, item in program.seen.items():
            if name != role:
                assert item.parent == role, name
            if item.typ.startswith("aws:") and not item.typ.endswith(untagged):
                assert item.inputs["tags"]["pulumi-mlflow/role"] == role, name
