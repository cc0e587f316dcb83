"""Classes, families and parameters of RDS, against RDS's own documentation."""

import pytest

from pulumi_mlflow.core import aws_database


@pytest.mark.parametrize(
    ("instance_class", "gib"),
    [
        # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Summary.html
        ("db.t4g.micro", 1),
        ("db.t4g.small", 2),
        ("db.t4g.medium", 4),
        ("db.t4g.large", 8),
        ("db.t3.2xlarge", 32),
        ("db.m7g.large", 8),
        ("db.m6i.xlarge", 16),
        ("db.r7g.large", 16),
        ("db.r6g.2xlarge", 64),
        ("db.r6idn.4xlarge", 128),
        ("db.x2g.large", 32),
    ],
)
def test_memory_of_a_class(instance_class, gib):
    assert aws_database.memory_mb(instance_class) == gib * 1024


@pytest.mark.parametrize(
    "text", ["t4g.medium", "db.t4g", "db.r7g.medium", "db.z9.large", "large", ""]
)
def test_unknown_classes_are_refused(text):
    with pytest.raises(ValueError, match="instance_class: must be"):
        aws_database.memory_mb(text)


@pytest.mark.parametrize(
    ("engine", "version", "family"),
    [
        ("postgresql", "15", "postgres15"),
        ("postgresql", "16.4", "postgres16"),
        ("mysql", "8.0", "mysql8.0"),
        ("mysql", "8.4", "mysql8.4"),
        ("mysql", "8.4.3", "mysql8.4"),
        ("mariadb", "10.11.9", "mariadb10.11"),
        ("aurora-postgresql", "15.4", "aurora-postgresql15"),
        ("aurora-mysql", "8.0.mysql_aurora.3.08.0", "aurora-mysql8.0"),
    ],
)
def test_families(engine, version, family):
    assert aws_database.family(engine, version) == family


@pytest.mark.parametrize(
    ("engine", "version", "refusal"),
    [
        ("sqlite", "3", "engine: must be one of postgresql"),
        ("oracle", "19", "engine: must be one of"),
        ("postgresql", "latest", "version: must be such as 15"),
        ("mysql", "8", "version: must be such as 8.4"),
        ("postgresql", "", "version: must be such as 15"),
    ],
)
def test_what_rds_does_not_have(engine, version, refusal):
    with pytest.raises(ValueError, match=refusal):
        aws_database.family(engine, version)


@pytest.mark.parametrize(
    ("instance_class", "connections", "fits"),
    [
        ("db.t4g.micro", 112, True),
        ("db.t4g.micro", 113, False),
        ("db.t4g.medium", 450, True),
        ("db.t4g.medium", 451, False),
        ("db.t4g.medium", 460, False),
        ("db.r7g.4xlarge", 5000, True),
        ("db.r7g.4xlarge", 5001, False),
    ],
)
def test_connections_fit_the_class(instance_class, connections, fits):
    reason = aws_database.check_connections(instance_class, connections)
    assert (reason is None) == fits
    if reason:
        assert instance_class in reason
        assert str(connections) in reason


def parameters(engine, instance_class="db.t4g.medium", connections=150):
    found = aws_database.parameters(engine, instance_class, connections)
    assert [item.name for item in found] == sorted({item.name for item in found})
    return {item.name: item for item in found}


@pytest.mark.parametrize("engine", ["postgresql", "aurora-postgresql"])
def test_postgresql_refuses_plain_text_and_is_tuned(engine):
    found = parameters(engine, "db.r7g.large", 400)
    assert found["rds.force_ssl"].value == "1"
    assert found["password_encryption"].value == "scram-sha-256"
    assert found["max_connections"] == aws_database.Parameter("max_connections", "400")
    # kB: 16 GiB / 4 / 400, and never over 16 MiB.
    assert found["work_mem"].value == str(16384 * 1024 // 4 // 400)
    assert found["maintenance_work_mem"].value == str(1024 * 1024)
    assert found["log_parameter_max_length"].value == "0"
    assert [name for name, item in found.items() if item.immediate] == [
        "maintenance_work_mem",
        "work_mem",
    ]


@pytest.mark.parametrize("engine", ["mysql", "mariadb", "aurora-mysql"])
def test_mysql_refuses_plain_text_and_knows_cases_apart(engine):
    found = parameters(engine)
    assert found["require_secure_transport"].value == ("ON" if engine == "aurora-mysql" else "1")
    assert found["max_connections"].value == "150"
    assert found["character_set_server"].value == "utf8mb4"
    assert found["innodb_flush_log_at_trx_commit"].value == "1"
    assert found["max_allowed_packet"].value == str(64 << 20)
    name = "tx_isolation" if engine == "mariadb" else "transaction_isolation"
    assert found[name].value == "READ-COMMITTED"
    expected = "utf8mb4_nopad_bin" if engine == "mariadb" else "utf8mb4_0900_as_cs"
    assert found["collation_server"].value == expected


def test_collations_are_those_of_the_other_runtimes():
    from pulumi_mlflow.docker import database

    assert {key.value: value for key, value in database._COLLATIONS.items()} == (
        aws_database.COLLATIONS
    )


@pytest.mark.parametrize(
    "name", ["Mlflow", "1a", "a-b", "", "a" * 33, 'a"; DROP', "admin", "rdsadmin"]
)
def test_names_that_rds_refuses(name):
    assert aws_database.check_name(name)


@pytest.mark.parametrize("name", ["mlflow", "ml_flow_2", "a" * 32])
def test_names_that_it_takes(name):
    assert aws_database.check_name(name) is None


@pytest.mark.parametrize(
    ("engine", "instance_class", "there"),
    [
        ("postgresql", "db.t4g.micro", True),
        ("mysql", "db.t4g.small", False),
        ("mysql", "db.t4g.medium", True),
        ("aurora-mysql", "db.t4g.medium", False),
        ("aurora-mysql", "db.r7g.large", True),
        ("mariadb", "db.t3.micro", False),
    ],
)
def test_performance_insights(engine, instance_class, there):
    assert aws_database.has_insights(engine, instance_class) is there
