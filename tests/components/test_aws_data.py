"""What AWS or its provider refuses, or changes at every `up`, though mocks take it: backups and the database."""

import datetime as dt
import json
import re

import pytest
from tests.components.aws_support import REGION, Program
from tests.components.test_aws_database import ENGINES, database, main
from tests.components.test_aws_watch import DATA, ROLE, backed
from tests.schemas import exclusive

from pulumi_mlflow.aws import backup_opt_in, database_server
from pulumi_mlflow.aws.backup import AwsBackup

LONG = "m" * 80
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def test_the_provider_takes_the_attributes_of_copies_and_tests_together():
    found = backed(copy_region="eu-west-1", test_types=["RDS", "Aurora", "S3"])
    assert exclusive.refusals(found.seen.values()) == []
    # Only what is ours is restored.
    for kind in ("rds", "aurora", "s3"):
        assert "protectedResourceConditions" in found[f"backup-restore-{kind}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_provider_takes_the_attributes_of_databases_together(engine):
    found = database(engine=engine, proxy={}, replica=engine.startswith("aurora"))
    assert exclusive.refusals(found.seen.values()) == []


def test_names_of_copies_are_within_awss_limit_of_50():
    found = Program(
        lambda: AwsBackup(
            "backup", {"region": REGION, "role": ROLE, "resources": DATA, "deployment": LONG}
        )
    )
    names = {
        item.name: item.inputs["name"]
        for item in found.seen.values()
        if item.typ.startswith("aws:backup/") and "name" in item.inputs
    }
    assert {"backup-plan", "backup-selection", "backup-vault", "backup-restore-test"} <= set(names)
    assert {name: len(given) for name, given in names.items() if len(given) > 50} == {}


def minutes(text):
    """Minute of the week, from such as `sun:03:30`."""
    day, hour, minute = text.split(":")
    return DAYS.index(day) * 1440 + int(hour) * 60 + int(minute)


@pytest.mark.parametrize("engine", ENGINES)
def test_copies_start_neither_in_rdss_own_windows_nor_in_the_hour_before(engine):
    """AWS Backup's job fails then.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html
    """
    data = main(database(engine=engine))
    maintenance = data.get("maintenanceWindow") or data["preferredMaintenanceWindow"]
    own = data.get("backupWindow") or data["preferredBackupWindow"]
    windows = [tuple(map(minutes, maintenance.split("-")))]
    windows += [tuple(minutes(f"{day}:{time}") for time in own.split("-")) for day in DAYS]
    for rule in backed()["backup-plan"]["rules"]:
        minute, hour = re.match(r"cron\((\d+) (\d+) ", rule["schedule"]).groups()
        for day in DAYS:
            starts = minutes(f"{day}:{hour}:{minute}")
            for begins, ends in windows:
                clear = ends <= starts or starts + rule["startWindow"] <= begins - 60
                assert clear, f"{rule['ruleName']} on {day} and {begins}-{ends}"


def test_the_rules_of_a_plan_do_not_start_together():
    """Of two whose start windows overlap AWS Backup follows one, and RDS takes one snapshot at a time."""
    begins = []
    for rule in backed()["backup-plan"]["rules"]:
        minute, hour = re.match(r"cron\((\d+) (\d+) ", rule["schedule"]).groups()
        begins.append((60 * int(hour) + int(minute), rule["startWindow"]))
    (first, window), (second, _) = sorted(begins)
    assert first + window <= second


AURORA = f"arn:aws:rds:{REGION}:111122223333:cluster:mlflow-prod-database"


class Account:
    """AWS Backup's client of an account with some kinds opted in."""

    def __init__(self, **opted):
        self.opted, self.asked = opted, []

    def describe_region_settings(self):
        self.asked.append("settings")
        return {"ResourceTypeOptInPreference": self.opted}


def test_aurora_is_copied_only_where_the_account_has_opted_in():
    with pytest.raises(backup_opt_in.OptInError) as refused:
        backup_opt_in.check(Account(RDS=True, Aurora=False), REGION, [*DATA, AURORA])
    said = str(refused.value)
    assert f"aws backup update-region-settings --region {REGION}" in said
    assert "--resource-type-opt-in-preference Aurora=true" in said
    backup_opt_in.check(Account(Aurora=True), REGION, [AURORA])


def test_what_is_copied_without_opting_in_asks_nothing():
    account = Account()
    backup_opt_in.check(account, REGION, DATA)
    assert account.asked == []


def test_opting_in_is_looked_at_before_the_selection():
    found = backed(resources=[AURORA])
    assert found["backup-opt-in"]["resources"] == [AURORA]
    assert "backup-opt-in" in found.seen["backup-selection"].after
    # An account that had no plan there is opted in by its first.
    assert "backup-plan" in found.seen["backup-opt-in"].after
    assert json.dumps(found["backup-selection"]["resources"]) == json.dumps([AURORA])


SIZED = {"instance_class": "db.r7g.large", "max_connections": 1500}
LARGER = {"instance_class": "db.r7g.4xlarge", "max_connections": 900}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_that_may_be_its_familys_default_is_called_as_aws_calls_it(engine):
    """AWS calls defaults `pending-reboot` and lets nobody call them otherwise, so `immediate` would differ at every `up`.

    https://github.com/hashicorp/terraform-provider-aws/issues/39252 (rds.force_ssl), and "Problematic Plan Changes" of the
    provider's page of aws_db_parameter_group. A number that follows the class or the connections is none: there a default is
    a formula, or what that class would not get from us.
    """
    one, other = (
        {
            item["name"]: item
            for item in database(engine=engine, **size)["database-parameters"]["parameters"]
        }
        for size in (SIZED, LARGER)
    )
    fixed = {name for name in one if one[name]["value"] == other[name]["value"]}
    assert {"rds.force_ssl", "require_secure_transport"} & fixed
    assert {name for name in fixed if one[name]["applyMethod"] != "pending-reboot"} == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_deletion_leaves_a_snapshot_of_another_name(engine, monkeypatch):
    class Later(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 1, 1, tzinfo=tz)

    first = database(engine=engine)
    monkeypatch.setattr(database_server, "datetime", Later, raising=False)
    second = database(engine=engine)
    names = [main(found)["finalSnapshotIdentifier"] for found in (first, second)]
    assert names[0] != names[1]
    # What RDS takes, as the provider has it.
    assert re.fullmatch(r"(?!.*--)[A-Za-z][0-9A-Za-z-]*[0-9A-Za-z]", names[1])
    # The same database keeps the name at the next `up`.
    data = first.seen[
        "database-cluster" if "database-cluster" in first.seen else "database-instance"
    ]
    assert data.ignored == {"finalSnapshotIdentifier"}


def test_names_that_a_deletion_leaves_taken_are_made_anew():
    """Secrets for the days of their recovery; parameter groups until the last database has left them."""
    for engine in ENGINES:
        found = database(engine=engine, proxy={})
        for name in ("database-user", "database-parameters"):
            assert "name" not in found[name], (engine, name)
            assert found[name]["namePrefix"].endswith("-"), (engine, name)


def test_no_key_goes_while_copies_that_it_encrypts_stay():
    """The final snapshot, RDS's retained backups and AWS Backup's copies outlive the database and its stack."""
    found = database(backup_region="eu-west-1")
    assert found.seen["database-key"].retained
    assert found.seen["database-backup-key"].retained
    copies = backed(copy_region="eu-west-1")
    for role in ("vault", "copy"):
        assert copies.seen[f"backup-{role}-key"].retained
        # A lock that nobody can take off any more goes with its vault, or not at all.
        assert copies.seen[f"backup-{role}-lock"].retained
        assert not copies.seen[f"backup-{role}"].retained


@pytest.mark.parametrize("engine", ENGINES)
def test_rdss_logs_are_kept_for_a_month_and_not_for_ever(engine):
    found = database(engine=engine)
    aurora = engine.startswith("aurora")
    groups = {item.inputs["name"]: item for item in found.of("cloudwatch/logGroup:LogGroup")}
    folder = f"/aws/rds/{'cluster' if aurora else 'instance'}/mlflow-prod-database/"
    exported = main(found)["enabledCloudwatchLogsExports"]
    assert set(groups) == {folder + log for log in exported}
    before = found.seen["database-cluster" if aurora else "database-instance"].after
    for item in groups.values():
        assert item.inputs["retentionInDays"] == 30
        # RDS makes one that is not there, without an end.
        assert item.name in before


def test_versions_by_default_have_rdss_standard_support():
    """https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/MySQL.Concepts.VersionMgmt.html"""
    assert main(database(engine="mysql"))["engineVersion"] == "8.4"
    assert database(engine="mysql")["database-parameters"]["family"] == "mysql8.4"
    # Aurora's MySQL 3, which is compatible with 8.0.
    assert main(database(engine="aurora-mysql"))["engineVersion"] == "8.0"


def test_auroras_mysql_takes_words():
    """https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Security.html"""
    for engine, value in (("aurora-mysql", "ON"), ("mysql", "1")):
        parameters = database(engine=engine)["database-parameters"]["parameters"]
        assert {"require_secure_transport": value}.items() <= {
            item["name"]: item["value"] for item in parameters
        }.items()
