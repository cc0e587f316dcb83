"""What each runtime offers in this release."""

from collections.abc import Iterator, Mapping

from models import Images, Settings, Store
from problems import Path, Problem, Put, Rule
from pulumi_mlflow.contracts import AuthMode, Engine
from sections import Runtime

_CLOUD_LOGINS = (
    AuthMode.OIDC.value,
    AuthMode.OIDC_MLFLOW.value,
    AuthMode.MLFLOW.value,
    AuthMode.BASIC.value,
)

OFFERED: Mapping[Path, Mapping[Runtime, tuple[str, ...]]] = {
    ("database", "engine"): {
        Runtime.LOCAL: (Engine.SQLITE.value,),
        Runtime.DOCKER: (
            Engine.POSTGRESQL.value,
            Engine.MYSQL.value,
            Engine.MARIADB.value,
            Engine.SQLITE.value,
        ),
        Runtime.AWS: (Engine.POSTGRESQL.value, Engine.MYSQL.value),
        Runtime.KUBERNETES: (Engine.POSTGRESQL.value, Engine.MYSQL.value),
    },
    ("artifacts", "store"): {
        Runtime.LOCAL: (Store.FOLDER.value,),
        Runtime.DOCKER: (
            Store.VERSITYGW.value,
            Store.MINIO.value,
            Store.FOLDER.value,
            Store.S3.value,
            Store.GCS.value,
            Store.AZURE.value,
        ),
        Runtime.AWS: (Store.S3.value,),
        Runtime.KUBERNETES: (Store.S3.value, Store.VERSITYGW.value, Store.MINIO.value),
    },
    ("access", "auth"): {
        Runtime.LOCAL: (AuthMode.NONE.value,),
        Runtime.DOCKER: (
            AuthMode.BASIC.value,
            AuthMode.NONE.value,
            AuthMode.OIDC.value,
            AuthMode.MLFLOW.value,
            AuthMode.OIDC_MLFLOW.value,
        ),
        Runtime.AWS: _CLOUD_LOGINS,
        Runtime.KUBERNETES: _CLOUD_LOGINS,
    },
}
"""The first of each is its default."""

VERSIONS: Mapping[Engine, tuple[str, ...]] = {
    Engine.POSTGRESQL: ("15", "14", "16", "17"),
    Engine.MYSQL: ("8.0", "8.4"),
    Engine.MARIADB: ("10.11",),
    Engine.SQLITE: ("3",),
}
"""Versions of each engine; the first is the default."""

BUILD_VERSIONS: Mapping[Engine, str] = {
    Engine.POSTGRESQL: "15",
    Engine.MYSQL: "8.0",
    Engine.MARIADB: "10.11",
    Engine.SQLITE: "3",
}
"""What images hold that are built where no image registry is reachable: Debian 12's, and the one MySQL to be had."""

_RULE_OF_KEY: Mapping[Path, Rule] = {
    ("database", "engine"): Rule.ENGINE,
    ("artifacts", "store"): Rule.STORE,
    ("access", "auth"): Rule.AUTH,
}


def _offered(settings: Settings) -> Iterator[Problem]:
    values: dict[Path, str] = {
        ("database", "engine"): settings.database.engine.value,
        ("artifacts", "store"): settings.artifacts.store.value,
        ("access", "auth"): settings.access.auth.value,
    }
    for path, value in values.items():
        offered = OFFERED[path][settings.runtime]
        if value not in offered:
            yield Problem(
                _RULE_OF_KEY[path],
                path,
                f"must be {' or '.join(offered)} while mlflow:runtime is {settings.runtime} "
                f'(got "{value}")',
                Put(path, offered[0]),
            )


def _database_version(settings: Settings) -> Iterator[Problem]:
    engine, version = settings.database.engine, settings.database.version
    path = ("database", "version")
    if version not in VERSIONS[engine]:
        yield Problem(
            Rule.DATABASE_VERSION,
            path,
            f"must be one of {', '.join(sorted(VERSIONS[engine]))} for {engine.value} "
            f'(got "{version}")',
            Put(path, VERSIONS[engine][0]),
        )
    elif (
        settings.images is Images.BUILD
        and settings.runtime is Runtime.DOCKER
        and version != BUILD_VERSIONS[engine]
    ):
        yield Problem(
            Rule.BUILD_VERSION,
            path,
            f"must be {BUILD_VERSIONS[engine]} where images are built from packages, which hold no other "
            f'(got "{version}")',
            Put(path, BUILD_VERSIONS[engine]),
        )


CHECKS = (_offered, _database_version)
