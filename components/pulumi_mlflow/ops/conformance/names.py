"""Names that break things which take text for more than text.

Each is either kept, and read back exactly, or refused with 4xx. It never breaks the server.
"""

import contextlib
import http.client
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pulumi_mlflow.ops.refusal import Asker, Route

from .behaviour import CheckError, NotApplicableError
from .server import BrokenError, RefusedError, Server

HOSTILE = (
    "naïve Modell 模型 мо́дель",
    "🚀👩‍🚀 emoji beyond 16 bits",
    "two  spaces and a tab\there",
    "100% of %41 %2e%2e %2F %00 %",
    'it\'s "quoted" `thrice`',
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>&amp;",
    "back\\slash",
    "a/b/c",
    "../../etc/passwd",
    "..",
    ".",
    "$HOME ${HOME} $(id) {{7*7}}",
    "?query=1#fragment",
    "line\nbreak\r\n",
    "nul\0byte",
    "rtl \u202etxt.exe\u202c zero\u200bwidth",
    " around ",
    "x" * 300,
    "é" * 600,
)

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_LONGEST = 255
"""Bytes in the name of a file or folder, see `NAME_MAX` in limits.h."""
_PLAIN_FILE = "harmless.txt"
_ESCAPED = "escape.txt"
_ESCAPES = (
    "../escape.txt",
    "x/../../escape.txt",
    "%2e%2e/escape.txt",
    "..%2fescape.txt",
    "%2e%2e%2fescape.txt",
    "%252e%252e%252fescape.txt",
    "..%5cescape.txt",
    "x%00/escape.txt",
)
"""As somebody writes paths who wants out of the artifacts' folder; already encoded."""


def keeps_or_refuses(server: Server) -> str:
    """Every hostile text in every field that takes one."""
    kept = refused = 0
    wrong = []
    with _Hostile.on(server) as hostile:
        fields = hostile.fields()
        for name, field in fields.items():
            for text in HOSTILE:
                try:
                    found = field(text)
                except RefusedError:
                    refused += 1
                    continue
                except BrokenError as error:
                    if "NUL (0x00)" in str(error):
                        # PostgreSQL has no such character. MLflow 3.17 leaves it to the driver to refuse it: nothing
                        # is kept, but the answer is 500.
                        refused += 1
                        continue
                    wrong.append(f"{name}: {text!r}: {error}")
                    continue
                if found == text:
                    kept += 1
                else:
                    wrong.append(f"{name}: {text!r} came back as {found!r}")
    if wrong:
        raise CheckError(f"{len(wrong)} of {kept + refused + len(wrong)}: {'; '.join(wrong)}")
    return f"{len(fields)} fields: {kept} kept, {refused} refused"


@dataclass
class _Hostile:
    """One experiment, run and model whose names change, so that little is left.

    Each field keeps a text, and returns what is read back.
    """

    server: Server
    mark: str
    experiment: str
    run_id: str
    model: str

    @classmethod
    @contextlib.contextmanager
    def on(cls, server: Server) -> Iterator["_Hostile"]:
        mark = f"verify-{server.mark}"
        experiment = server.api("POST", "experiments/create", name=mark)["experiment_id"]
        made = server.api("POST", "runs/create", experiment_id=experiment)
        run_id = made["run"]["info"]["run_id"]
        server.api("POST", "registered-models/create", name=mark)
        source = f"runs:/{run_id}/model"
        server.api("POST", "model-versions/create", name=mark, source=source, run_id=run_id)
        hostile = cls(server, mark, experiment, run_id, mark)
        try:
            yield hostile
        finally:
            if not server.door.store:
                hostile.asker.ask(Route(f"{_ARTIFACTS}/{mark}", "DELETE"))
            server.api("DELETE", "registered-models/delete", name=hostile.model)
            server.api("POST", "experiments/delete", experiment_id=experiment)

    def __post_init__(self) -> None:
        self.asker = Asker(self.server.door, self.server.door.authorization)

    def fields(self) -> dict[str, Callable[[str], object]]:
        """Name → field."""
        found: dict[str, Callable[[str], object]] = {
            "experiment name": self._experiment_name,
            "run name": self._run_name,
            "parameter's key": self._param_key,
            "parameter's value": self._param_value,
            "tag's key": self._tag_key,
            "tag's value": self._tag_value,
            "metric's key": self._metric_key,
            "artifact's path": self._artifact_path,
            "model's alias": self._model_alias,
            "model's name": self._model_name,
        }
        if self.server.door.store:
            del found["artifact's path"]  # which the server then does not see
        return found

    def _experiment_name(self, text: str) -> object:
        of = {"experiment_id": self.experiment}
        self.server.api("POST", "experiments/update", **of, new_name=text)
        found = self.server.api("GET", "experiments/get", **of)["experiment"]
        by_name = self.server.api("GET", "experiments/get-by-name", experiment_name=text)
        same = by_name["experiment"]["experiment_id"] == self.experiment
        return found["name"] if same else by_name

    def _run_name(self, text: str) -> object:
        self.server.api("POST", "runs/update", run_id=self.run_id, run_name=text)
        return self._run()["info"]["run_name"]

    def _param_key(self, text: str) -> object:
        self._log("log-parameter", key=text, value="1")
        return self._of("params", "key", text)

    def _param_value(self, text: str) -> object:
        self._log("log-parameter", key=secrets.token_hex(4), value=text)
        return self._of("params", "value", text)

    def _tag_key(self, text: str) -> object:
        self._log("set-tag", key=text, value="1")
        return self._of("tags", "key", text)

    def _tag_value(self, text: str) -> object:
        self._log("set-tag", key="hostile", value=text)
        return self._of("tags", "value", text)

    def _metric_key(self, text: str) -> object:
        self._log("log-metric", key=text, value=1, timestamp=1)
        return self._of("metrics", "key", text)

    def _model_alias(self, text: str) -> object:
        of = {"name": self.model, "alias": text}
        self.server.api("POST", "registered-models/alias", **of, version="1")
        found = self.server.api("GET", "registered-models/alias", **of)["model_version"]
        return text if found["version"] == "1" else found

    def _model_name(self, text: str) -> object:
        self.server.api("POST", "registered-models/rename", name=self.model, new_name=text)
        self.model = text
        found = self.server.api("GET", "registered-models/get", name=text)
        return found["registered_model"]["name"]

    def _artifact_path(self, text: str) -> object:
        """A file in a folder of that name, and its content."""
        if text == "." or len(text.encode()) > _LONGEST:
            # MLflow 3.17 itself answers these with 500: it asks a file system that has no such names.
            raise RefusedError(text)
        content = f"in {text!r}".encode()
        path = f"{_ARTIFACTS}/{quote(f'{self.mark}/{text}/{_PLAIN_FILE}')}"
        _answer(self.asker, Route(path, "PUT"), content)
        found = _answer(self.asker, Route(path))
        return text if found == content else found

    def _log(self, call: str, **fields: object) -> None:
        self.server.api("POST", f"runs/{call}", run_id=self.run_id, **fields)

    def _run(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.api("GET", "runs/get", run_id=self.run_id)["run"]
        return found

    def _of(self, kind: str, wanted: str, text: str) -> object:
        """What the run has under a key, or of a value; None if nothing."""
        return next(
            (text for item in self._run()["data"].get(kind, []) if item[wanted] == text), None
        )


def _answer(asker: Asker, route: Route, body: bytes = b"") -> bytes:
    """An answer's body.

    Raises:
        RefusedError: 4xx.
        BrokenError: 5xx.
    """
    answer = asker.ask(route, body)
    if answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise BrokenError(f"{route.method} {route.path} → {answer.status}")
    if answer.status >= http.client.BAD_REQUEST:
        raise RefusedError(f"{route.method} {route.path} → {answer.status}")
    return answer.start


def stays_in_its_folder(server: Server) -> str:
    """No path leads out of the artifacts' folder: refused, or a name like any other."""
    if server.door.store:
        raise NotApplicableError("artifacts do not go through the server")
    folder = f"verify-{server.mark}/inner"
    asker = Asker(server.door, server.door.authorization)
    content = f"of {server.mark}".encode()
    refused = 0
    for escape in _ESCAPES:
        path = f"{_ARTIFACTS}/{folder}/{escape}"
        status = asker.ask(Route(path, "PUT"), content).status
        if status >= http.client.INTERNAL_SERVER_ERROR:
            raise CheckError(f"PUT {path} → {status}")
        if status >= http.client.BAD_REQUEST:
            refused += 1
            continue
        for outside in ("", f"/verify-{server.mark}"):
            there = asker.ask(Route(f"{_ARTIFACTS}{outside}/{_ESCAPED}"))
            if there.start == content:
                raise CheckError(f"PUT {path} has written {outside}/{_ESCAPED}")
        if asker.ask(Route(path)).start != content:
            raise CheckError(f"PUT {path} → {status}, and it is not there")
        asker.ask(Route(path, "DELETE"))
    return f"{refused} of {len(_ESCAPES)} paths refused, no file outside"
