"""The few answers that a cluster's API gives about rollouts and jobs, over HTTP: all of them succeed at once.

What there is, it reads in the test provider's log. Only an image with `missing` in its tag cannot be pulled.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet", "jobs": "Job"}
REVISION = "deployment.kubernetes.io/revision"


@dataclass
class FakeKube:
    """An API for `PULUMI_MLFLOW_ROLLOUTS`.

    Attributes:
        log: the test provider's.
        uid: of an object, where a real API server has it.
        server: set once it has started.
    """

    log: Path
    uid: Callable[[dict], str] = lambda _body: ""
    server: ThreadingHTTPServer = field(init=False)

    def __enter__(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                found = fake.answer(url.path.rsplit("/", 2)[-2:], query)
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.server.shutdown()
        self.server.server_close()

    @property
    def environment(self):
        return {"PULUMI_MLFLOW_ROLLOUTS": f"http://127.0.0.1:{self.server.server_port}"}

    def objects(self):
        """What there is: by kind and name, as the cluster finds it."""
        found, names = {}, {}
        for text in self.log.read_text().splitlines():
            line = json.loads(text)
            if not line["type"].startswith("kubernetes:"):
                continue
            body = line["inputs"]
            key = (body["kind"], body["metadata"]["name"])
            if line["what"] == "delete":
                found.pop(key, None)
            else:
                found[key] = body
                names[line["name"]] = key
        return found

    def answer(self, path, query):
        """The object or list at the end of a path."""
        kind, name = KINDS.get(path[0]), path[1]
        if kind:
            body = self.objects().get((kind, name))
            return None if body is None else self.workload(body)
        if name == "pods":
            labels = dict(one.split("=") for one in query["labelSelector"].split(","))
            return {
                "items": [
                    pod
                    for pod in self.pods()
                    if labels.items() <= pod["metadata"]["labels"].items()
                ]
            }
        if name == "replicasets":
            return {
                "items": [
                    {
                        "metadata": {
                            "uid": f"set of {name}",
                            "annotations": {REVISION: "1"},
                            "ownerReferences": [{"uid": self.uid(body)}],
                        }
                    }
                    for (kind, name), body in self.objects().items()
                    if kind == "Deployment"
                ]
            }
        return {"items": []}

    def workload(self, body):
        wanted = body["spec"].get("replicas", 1)
        done = image(body) is None or "missing" not in image(body)
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {
            "observedGeneration": 1,
            **(dict.fromkeys(counts, wanted) if done else {}),
            **({"conditions": [{"type": "Complete", "status": "True"}]} if done else {}),
        }
        metadata = {"generation": 1, "uid": self.uid(body), "annotations": {REVISION: "1"}}
        return {**body, "metadata": {**body["metadata"], **metadata}, "status": status}

    def pods(self):
        """Those that cannot start."""
        for (kind, name), body in self.objects().items():
            if kind not in KINDS.values() or "missing" not in image(body):
                continue
            owner = f"set of {name}" if kind == "Deployment" else self.uid(body)
            waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
            yield {
                "metadata": {
                    "name": f"{name}-x",
                    "labels": body["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [{"uid": owner}],
                },
                "status": {
                    "containerStatuses": [
                        {"name": "it", "image": image(body), "state": {"waiting": waiting}}
                    ]
                },
            }


def image(body):
    """Of a workload's only container."""
    [container] = body["spec"]["template"]["spec"]["containers"]
    return container["image"]
