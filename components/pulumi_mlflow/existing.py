"""Databases and artifact stores that are there already, as endpoints for any runtime."""

from collections.abc import Mapping

import pulumi

from .component import default_deployment
from .contracts import ArtifactEndpoint, DatabaseEndpoint, Engine, Scope
from .core import server, uris, urls
from .guard import DataGuard

ENGINE_HOST = "host.docker.internal"
"""The machine that a Docker Engine runs on, as its containers know it."""


def reach_of(host: str, deployment: str) -> list[str]:
    """Where a host name is reached from, as far as the name tells.

    Args:
        host: name or address.
        deployment: whose containers know `host.docker.internal`.
    """
    if urls.is_loopback(host):
        return [Scope.HOST.place()]
    if host == ENGINE_HOST:
        return [Scope.NETWORK.place(deployment)]
    return [Scope.PUBLIC.value]


def existing_database(
    name: str,
    *,
    engine: str,
    host: str,
    database: str,
    username: str,
    password: pulumi.Input[str],
    port: int | None = None,
    tls_mode: str = "verify-full",
    ca: pulumi.Input[str] | None = None,
    search_path: str | None = None,
    deployment: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> DatabaseEndpoint:
    """A database server that others run. A change of where it is counts as another database, see `DataGuard`.

    Args:
        name: what it is called in error messages; the guard is `<name>-guard`.
        engine: `postgresql`, `mysql` or `mariadb`.
        host: name or address; `host.docker.internal` is the machine that containers run on.
        database: name of the database, which must be there, as it is.
        username: who may make tables in it, as it is.
        password: the user's (secret).
        port: TCP port; the engine's usual one unless given.
        tls_mode: libpq's `disable`, `require`, `verify-ca` or `verify-full`, for every engine.
        ca: PEM of the certificate authority that signed the server's certificate; needed to verify.
        search_path: PostgreSQL's schemas between commas, names that are not plain in double quotes; the first one,
            which must be there, holds MLflow's tables. What the server has for the user unless given.
        deployment: prefix of physical names; `<project>-<stack>` unless given.
        opts: options of the guard.

    Raises:
        ValueError: an engine that is no server, a host that is none, a TLS mode without its certificate, or a search
            path that is none, or not for PostgreSQL.
    """
    number = port or uris.default_port(engine)
    if number is None:
        raise ValueError(f"{name}: engine must be postgresql, mysql or mariadb (got 'sqlite')")
    uris.check_host(host)
    uris.check_tls(tls_mode, "given" if ca is not None else "")
    where = {
        "mlflow:database.engine": engine,
        "mlflow:database.name": database,
        "mlflow:database.existing.host": host,
        "mlflow:database.existing.port": str(number),
    }
    data = f"{engine}://{host}:{number}/{database}"
    if search_path:
        if engine != Engine.POSTGRESQL.value:
            raise ValueError(f"{name}: search_path is PostgreSQL's alone (got engine {engine!r})")
        search_path = uris.check_search_path(search_path)
        where["mlflow:database.existing.search_path"] = search_path
        data += f"?search_path={search_path}"
    guard = DataGuard(f"{name}-guard", "database", where, opts)
    endpoint = DatabaseEndpoint(
        component=name,
        reach=reach_of(host, deployment or default_deployment()),
        engine=engine,
        # Plain, so that a container's extra hosts are known; the guard comes in by `database`, which all need too.
        host=host,
        port=number,
        database=guard.urn.apply(lambda _: database),
        username=username,
        password=pulumi.Output.secret(password),
        tls_mode=tls_mode,
        data=data,
    )
    if search_path:
        endpoint["search_path"] = search_path
    if ca is not None:
        endpoint["ca"] = ca
    return endpoint


def existing_artifacts(
    name: str,
    *,
    uri: str,
    endpoint_url: str | None = None,
    public_endpoint_url: str | None = None,
    region: str | None = None,
    addressing: str | None = None,
    access_key: pulumi.Input[str] | None = None,
    secret_key: pulumi.Input[str] | None = None,
    ca: pulumi.Input[str] | None = None,
    deployment: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> ArtifactEndpoint:
    """An artifact store that others run. A change of where it is counts as another store, see `DataGuard`.

    Args:
        name: what it is called in error messages; the guard is `<name>-guard`.
        uri: `s3://bucket/prefix`, `gs://…`, `wasbs://…` or `abfss://…`.
        endpoint_url: URL of an S3-compatible store; AWS's own S3 unless given.
        public_endpoint_url: URL under which clients reach the store; only where they do.
        region: region that requests are signed for.
        addressing: `path` or `virtual`, how requests name the bucket; boto3 decides unless given.
        access_key: static key (secret); none with the identity of the machine.
        secret_key: its secret half.
        ca: PEM of the certificate authority that signed the store's certificate.
        deployment: prefix of physical names; `<project>-<stack>` unless given.
        opts: options of the guard.

    Raises:
        ValueError: half a key, or an addressing that is none.
    """
    server.s3_environment(endpoint_url or "", region or "", addressing=addressing or "")
    if (access_key is None) != (secret_key is None):
        raise ValueError(f"{name}: access_key and secret_key must be given together")
    where = {"mlflow:artifacts.uri": uri}
    if endpoint_url:
        where["mlflow:artifacts.existing.endpoint_url"] = endpoint_url
    guard = DataGuard(f"{name}-guard", "artifacts", where, opts)
    host = urls.host_of(endpoint_url) if endpoint_url else ""
    endpoint = ArtifactEndpoint(
        component=name,
        reach=reach_of(host, deployment or default_deployment()),
        uri=guard.urn.apply(lambda _: uri),
    )
    plain: Mapping[str, str | None] = {
        "endpoint_url": endpoint_url,
        "public_endpoint_url": public_endpoint_url,
        "region": region,
        "addressing": addressing,
    }
    endpoint.update({key: value for key, value in plain.items() if value})  # type: ignore[typeddict-item]
    if ca is not None:
        endpoint["ca"] = ca
    if access_key is not None and secret_key is not None:
        endpoint["access_key"] = pulumi.Output.secret(access_key)
        endpoint["secret_key"] = pulumi.Output.secret(secret_key)
    return endpoint
