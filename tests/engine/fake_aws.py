"""The few answers of ECS, ECR and Logs that the components' own events ask for, over HTTP as boto3 speaks it.

Stands in for a cluster in which each task ends, and each rollout succeeds, unless told otherwise.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class FakeAws:
    """An endpoint for `AWS_ENDPOINT_URL`.

    Attributes:
        log: the test provider's log; tasks that are run are added to it, and what services run is read from it.
        exit_code: of the tasks that are run.
        states: of the rollout, as the next looks find it, the last one for good; it is completed unless told.
        server: set once it has started.
    """

    log: Path
    exit_code: int = 0
    states: list[str] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __enter__(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
                operation = self.headers["X-Amz-Target"].rsplit(".", 1)[1]
                answer = json.dumps(getattr(fake, operation)(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

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
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def lines(self):
        """What was done so far, in order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _ran(self, kind, name, body):
        line = {"what": "run", "type": kind, "name": name, "inputs": body}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def RunTask(self, body):  # noqa: N802
        self._ran("task", body["taskDefinition"], body)
        return {"tasks": [{"taskArn": f"arn:aws:ecs:::task/{len(self.lines())}"}], "failures": []}

    def DescribeTasks(self, body):  # noqa: N802
        container = {"name": "migration", "exitCode": self.exit_code}
        stopped = {"lastStatus": "STOPPED", "stoppedReason": "it ended", "containers": [container]}
        return {"tasks": [{"taskArn": arn, **stopped} for arn in body["tasks"]]}

    def DescribeTaskDefinition(self, _body):  # noqa: N802
        return {"taskDefinition": {"containerDefinitions": [{"name": "migration"}]}}

    def DescribeServices(self, body):  # noqa: N802
        of = [
            line["inputs"]["taskDefinition"]
            for line in self.lines()
            if line["type"] == "aws:ecs/service:Service"
            and line["what"] != "delete"
            and line["inputs"]["name"] in body["services"]
        ]
        state = self.states[0] if self.states else "COMPLETED"
        del self.states[: len(self.states) > 1]
        return {"services": [{"deployments": [self._rollout(of[-1], state)], "events": []}]}

    def UpdateService(self, body):  # noqa: N802
        self._ran("rollout", body["service"], body)
        self.states = []
        return {"service": {"deployments": [self._rollout(body["taskDefinition"], "IN_PROGRESS")]}}

    def ListTasks(self, _body):  # noqa: N802
        return {"taskArns": []}

    def _rollout(self, definition, state):
        begun = sum(line["type"] == "rollout" for line in self.lines())
        return {
            "id": f"ecs-svc/{begun}",
            "taskDefinition": definition,
            "rolloutState": state,
            "status": "PRIMARY",
        }

    def GetLogEvents(self, _body):  # noqa: N802
        return {"events": [{"message": 'relation "runs" does not exist'}]}

    def DescribeImages(self, _body):  # noqa: N802
        return {"imageDetails": [{"imageDigest": "sha256:" + "d" * 64}]}
