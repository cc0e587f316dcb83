"""Rules over the secrets that a user gives: those of what the stack did not make."""

from collections.abc import Iterator

from models import Settings, Store
from problems import Drop, Encrypt, Problem, Rule
from pulumi_mlflow.contracts import Engine
from sections import CLOUD, Runtime

_KEYS = ("artifacts_access_key", "artifacts_secret_key")
_ALL = (
    "database_password",
    *_KEYS,
    "oidc_client_secret",
    "jobs_redis_url",
    "dump_access_key",
    "dump_secret_key",
)


def _needed(settings: Settings) -> dict[str, str]:
    """Key of each secret that the settings need → why."""
    if settings.runtime is Runtime.LOCAL:
        return {}
    database, artifacts = settings.database, settings.artifacts
    bucket = artifacts.store is Store.S3
    if settings.runtime in CLOUD:
        # There a bucket is used by the identity of who runs the server, unless keys are given: both of them.
        bucket = artifacts.existing is not None and any(getattr(settings, key) for key in _KEYS)
    dump = settings.backup.dump if settings.backup else None
    keys = dump is not None and dump.role_arn is None
    needed = {
        "database_password": (
            database.existing is not None and database.engine is not Engine.SQLITE,
            "the password of database.existing",
        ),
        "artifacts_access_key": (bucket, "the access key of artifacts.existing"),
        "artifacts_secret_key": (bucket, "the secret key of artifacts.existing"),
        "oidc_client_secret": (
            settings.access.auth.by_provider,
            "the client's secret of access.oidc or aws.cognito"
            if settings.runtime is Runtime.AWS
            else "the secret of access.oidc.client_id",
        ),
    }
    for half in ("access", "secret"):
        why = f"the {half} key of backup.dump, unless backup.dump.role_arn is"
        needed[f"dump_{half}_key"] = (keys, why)
    return {key: why for key, (is_needed, why) in needed.items() if is_needed}


def _secrets(settings: Settings) -> Iterator[Problem]:
    needed = _needed(settings)
    may = {"jobs_redis_url"} if settings.tracking.jobs is not None else set()
    for key in _ALL:
        given = getattr(settings, key) is not None
        if key in needed and not given:
            yield Problem(
                Rule.SECRET_MISSING,
                (key,),
                f"must be given: {needed[key]} (got nothing)",
                Encrypt((key,)),
            )
        if given and key not in {*needed, *may}:
            yield Problem(
                Rule.SECRET_UNUSED,
                (key,),
                "has no use with these settings (got a value that is not shown)",
                Drop((key,)),
            )


CHECKS = (_secrets,)
