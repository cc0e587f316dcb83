"""The provider: what Pulumi's engine asks, and the answers."""
# ruff: noqa: D102, N802 - the protocol names and explains the methods: pulumi/runtime/proto/provider_pb2_grpc.py

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc  # has no types
from google.protobuf.empty_pb2 import Empty  # has no types
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from . import aws, kube
from .values import Properties, added, at, changed, hidden, joined, plain, read, write

REFUSAL: Final = (
    "this is the test provider, which makes nothing: an `up` wants the real plugin and an account."
    " `make up` gets the plugin and says what is missing"
)


class TestProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Stands in for any package: a request's type says which.

    Args:
        apply: whether more than a preview is allowed.
        cluster: the API server that Kubernetes' objects go to, if any.
        replace: type → paths of properties whose change replaces a resource.
        log: a file that gets a line for each change that is no preview; without values that are secret.
    """

    __test__ = False  # no class of pytest's

    def __init__(
        self,
        *,
        apply: bool,
        cluster: kube.Cluster | None,
        replace: Mapping[str, list[str]],
        log: Path | None = None,
    ) -> None:
        self._apply, self._cluster, self._replace, self._log = apply, cluster, replace, log
        self._region = aws.REGION

    # ------------------------------------------------------------ the provider itself

    def Handshake(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, _request: Any, _context: Any) -> Any:
        return Empty()

    def CheckConfig(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, _context: Any) -> Any:
        names = changed(read(request.olds), read(request.news))
        return _difference([name for name in names if name != "version"], [])

    def Configure(self, request: Any, _context: Any) -> Any:
        self._region = str(plain(read(request.args)).get("region") or self._region)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="999.0.0")

    def Cancel(self, _request: Any, _context: Any) -> Any:
        return Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        arguments = plain(read(request.args))
        found = aws.answer(request.tok, arguments, self._region)
        if found is None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the test provider has no answer to {request.tok}: add one in {aws.__file__}",
            )
        return provider_pb2.InvokeResponse(**{"return": write(found or {})})

    # ------------------------------------------------------------ resources

    def Check(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, _context: Any) -> Any:
        olds, news = read(request.old_inputs) or read(request.olds), read(request.news)
        names = changed(olds, news)
        before, after = plain(olds), plain(news)
        kind = _type(request.urn)
        paths = [p for p in self._replace.get(kind, ()) if at(before, p) != at(after, p)]
        if kind.startswith("kubernetes:"):
            paths += kube.replaces(before, after)
            return _difference(names, paths, first=kube.same_name(before, after))
        return _difference(names, paths)

    def Create(self, request: Any, context: Any) -> Any:
        properties = read(request.properties)
        if request.preview:
            # What is missing is unknown to the program.
            return provider_pb2.CreateResponse(id="", properties=request.properties)
        self._begin("create", request, properties, context)
        kind = _type(request.urn)
        if kind.startswith("kubernetes:"):
            identity = _kubernetes_id(properties)
            outputs = self._applied(properties, context)
        elif kind.startswith("aws:"):
            name = request.urn.rsplit("::", 1)[1]
            identity, made = aws.made(kind[4:], name, plain(properties), self._region)
            outputs = joined(made, properties)
        else:
            identity, outputs = str(uuid.uuid4()), properties
        return provider_pb2.CreateResponse(id=identity, properties=write(outputs))

    def Update(self, request: Any, context: Any) -> Any:
        news, olds = read(request.news), read(request.olds)
        inputs = read(request.old_inputs)
        if not request.preview:
            self._begin("update", request, news, context)
            if _type(request.urn).startswith("kubernetes:"):
                applied = self._applied(news, context)
                return provider_pb2.UpdateResponse(properties=write(applied))
        kept = {**added(olds, inputs), **aws.renewed(_type(request.urn)[4:], plain(news))}
        return provider_pb2.UpdateResponse(properties=write(joined(kept, news)))

    def Read(self, request: Any, context: Any) -> Any:
        properties = read(request.properties)
        if self._cluster and _type(request.urn).startswith("kubernetes:"):
            cluster, wanted = self._cluster, plain(read(request.inputs))
            if _asked(lambda: cluster.read(wanted), context) is None:
                return provider_pb2.ReadResponse(id="")
        return provider_pb2.ReadResponse(
            id=request.id, properties=write(properties), inputs=request.inputs
        )

    def Delete(self, request: Any, context: Any) -> Any:
        self._begin("delete", request, read(request.old_inputs), context)
        if self._cluster and _type(request.urn).startswith("kubernetes:"):
            cluster, gone = self._cluster, plain(read(request.old_inputs))
            _asked(lambda: cluster.delete(gone), context)
        return Empty()

    def _applied(self, properties: Properties, context: Any) -> Properties:
        """Apply an object where there is a cluster; what a program may read of the answer is its metadata."""
        if self._cluster is None:
            return properties
        cluster = self._cluster
        made = _asked(lambda: cluster.apply(plain(properties)), context)
        uid = {"uid": at(made, "metadata.uid")}
        return {**properties, "metadata": {**uid, **properties["metadata"]}}

    def _begin(self, what: str, request: Any, inputs: Properties, context: Any) -> None:
        """Refuse a change that is no preview, unless such are allowed; then note it."""
        if not self._apply:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, REFUSAL)
        if self._log:
            name = request.urn.rsplit("::", 1)[1]
            line = {"what": what, "type": _type(request.urn), "name": name}
            with self._log.open("a") as file:
                file.write(json.dumps({**line, "inputs": hidden(inputs)}) + "\n")


def replace_table(file: str | None) -> dict[str, list[str]]:
    """Read the table of what is replaced, such as docs/replaces.json; of other types the few that rollouts go by."""
    table = json.loads(Path(file).read_text()) if file else {}
    told = {
        kind: _paths(entry) if isinstance(entry, dict) else entry for kind, entry in table.items()
    }
    return {**aws.REPLACED, **told}


def _paths(entry: Mapping[str, Any]) -> list[str]:
    parts = [f"{name}.{path}" for name, paths in entry.get("parts", {}).items() for path in paths]
    return [*entry["replaces"], *parts]


def _asked(question: Callable[[], Any], context: Any) -> Any:
    """Ask the API server; its refusal is the engine's error."""
    try:
        return question()
    except (kube.KubeError, OSError) as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _type(urn: str) -> str:
    """Read a resource's own type from its URN, whose third part also has its parents'."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _kubernetes_id(properties: Properties) -> str:
    namespace, name = at(properties, "metadata.namespace"), at(properties, "metadata.name")
    return f"{namespace}/{name}" if namespace else str(name)


def _difference(names: list[str], replaces: list[str], *, first: bool = False) -> Any:
    answer = provider_pb2.DiffResponse
    return answer(
        changes=answer.DIFF_SOME if names else answer.DIFF_NONE,
        diffs=names,
        replaces=sorted({path.split(".")[0] for path in replaces}),
        deleteBeforeReplace=bool(replaces) and first,
    )
