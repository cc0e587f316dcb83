"""Kubernetes' objects on a real API server, by server-side apply; and what replaces one."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import yaml

from .values import Properties, at

_SECONDS: Final = 30
_MANAGER: Final = "pulumi-mlflow-test-provider"
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = 400

IDENTITY: Final = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
"""What an object is found by: another value is another object."""

IMMUTABLE: Final = {
    "Deployment": ("spec.selector",),
    "Job": ("spec.template", "spec.selector", "spec.completions"),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
}
"""Kind → what the API server refuses to change; see its `Validate…Update` functions."""


class KubeError(RuntimeError):
    """The API server refused, or does not know a kind."""


def replaces(olds: Properties, news: Properties) -> list[str]:
    """List what makes an object be replaced; a Secret or ConfigMap may be immutable by itself.

    Args:
        olds: the object as it was, without wrappers of secrets.
        news: as it is to be.
    """
    paths: tuple[str, ...] = (*IDENTITY, *IMMUTABLE.get(str(news.get("kind")), ()))
    if olds.get("immutable"):
        paths += ("data", "stringData", "binaryData", "immutable")
    return [path for path in paths if at(olds, path) != at(news, path)]


def same_name(olds: Properties, news: Properties) -> bool:
    """Whether the old object must be gone before the new one can be there."""
    return all(at(olds, path) == at(news, path) for path in IDENTITY)


class Cluster:
    """An API server that objects are applied to.

    Args:
        address: a kubeconfig's path, or `https://TOKEN@HOST:PORT`, whose certificate is not checked.
    """

    def __init__(self, address: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}
        if address.startswith(("https://", "http://")):
            parts = urlsplit(address)
            self._url = f"{parts.scheme}://{parts.hostname}:{parts.port}"
            self._session.headers["Authorization"] = f"Bearer {parts.username}"
            self._session.verify = False
        else:
            self._url = self._kubeconfig(Path(address).expanduser())

    def _kubeconfig(self, file: Path) -> str:
        """Log in as the current context says: by a token, or by a client's certificate."""
        content = yaml.safe_load(file.read_text())

        def named(kind: str, name: str) -> dict[str, Any]:
            [found] = [item[kind] for item in content[f"{kind}s"] if item["name"] == name]
            return dict(found)

        context = named("context", content["current-context"])
        cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
        self._session.verify = (
            False
            if cluster.get("insecure-skip-tls-verify")
            else _file(cluster, "certificate-authority") or True
        )
        if token := user.get("token"):
            self._session.headers["Authorization"] = f"Bearer {token}"
        certificate, key = _file(user, "client-certificate"), _file(user, "client-key")
        if certificate and key:
            self._session.cert = (certificate, key)
        return str(cluster["server"]).rstrip("/")

    def apply(self, properties: Properties) -> Properties:
        """Apply an object, and return what the server made of it.

        Args:
            properties: the object, without wrappers of secrets.

        Raises:
            KubeError: the server refused it.
        """
        parameters = {"fieldManager": _MANAGER, "force": "true", "fieldValidation": "Strict"}
        answer = self._session.patch(
            self._path(properties),
            params=parameters,
            json=properties,
            headers={"Content-Type": "application/apply-patch+yaml"},
            timeout=_SECONDS,
        )
        return dict(self._said(answer, properties))

    def read(self, properties: Properties) -> Properties | None:
        """Read an object; None where it is gone."""
        answer = self._session.get(self._path(properties), timeout=_SECONDS)
        return None if answer.status_code == _NOT_FOUND else dict(self._said(answer, properties))

    def delete(self, properties: Properties) -> None:
        """Delete an object; one that is gone already is no error."""
        answer = self._session.delete(
            self._path(properties), json={"propagationPolicy": "Background"}, timeout=_SECONDS
        )
        if answer.status_code != _NOT_FOUND:
            self._said(answer, properties)

    def _path(self, properties: Properties) -> str:
        version, kind = str(properties["apiVersion"]), str(properties["kind"])
        base = f"{self._url}/{'apis' if '/' in version else 'api'}/{version}"
        if version not in self._kinds:
            answer = self._session.get(base, timeout=_SECONDS)
            found = answer.json().get("resources", []) if answer.ok else []
            self._kinds[version] = {
                item["kind"]: (item["name"], item["namespaced"])
                for item in found
                if "/" not in item["name"]
            }
        if kind not in self._kinds[version]:
            del self._kinds[version]  # its definition may still come
            raise KubeError(f"{self._url} knows no {kind} of {version}: install its definition")
        plural, namespaced = self._kinds[version][kind]
        namespace = at(properties, "metadata.namespace") or "default"
        middle = f"/namespaces/{namespace}" if namespaced else ""
        return f"{base}{middle}/{plural}/{at(properties, 'metadata.name')}"

    def _said(self, answer: requests.Response, properties: Properties) -> Any:
        if answer.status_code < _SERVER_ERRORS:
            return answer.json()
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError):
            message = answer.text[:200]
        name = f"{properties['kind']} {at(properties, 'metadata.name')}"
        raise KubeError(f"{name}: the API server answers {answer.status_code}: {message}")


def _file(entry: dict[str, Any], name: str) -> str | None:
    """Name the file that a kubeconfig's entry names or holds; `requests` takes files only."""
    if path := entry.get(name):
        return str(path)
    if not (data := entry.get(f"{name}-data")):
        return None
    with tempfile.NamedTemporaryFile(prefix="pulumi-mlflow-kube-", delete=False) as stream:
        stream.write(base64.b64decode(data))
    return stream.name
