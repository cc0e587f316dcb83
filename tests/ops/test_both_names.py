"""What a store will never take is refused at once, by a 4xx that says why: MLflow's client tries a 500 again for minutes."""

import http.server
import threading

import pulumi_mlflow_artifact_store as artifact_store
import pytest
import requests
from botocore.exceptions import ClientError
from mlflow.exceptions import MlflowException


@pytest.fixture
def put(server):
    """Uploads as MLflow's client does: status and message."""

    def upload(name, content=b"content"):
        url = f"{server}/api/2.0/mlflow-artifacts/artifacts/{name}"
        answer = requests.put(url, data=content, timeout=60)
        return answer.status_code, answer.text

    return upload


def test_a_folder_keeps_a_name_for_a_file_or_a_folder(put, server):
    assert put("both/report")[0] == 200
    for below in ("both/report/a.txt", "both/report/sub/a.txt"):
        status, said = put(below)
        assert status == 409
        assert f"'{below}' cannot be uploaded" in said
        assert "Choose another name" in said
    assert put("both/folder/a.txt")[0] == 200
    assert put("both/folder")[0] == 409
    kept = requests.get(f"{server}/api/2.0/mlflow-artifacts/artifacts/both/report", timeout=60)
    assert kept.content == b"content"
    assert put("both/report", b"new")[0] == 200


def test_a_name_that_is_too_long_is_the_clients_fault(put):
    status, said = put(f"both/{'x' * 300}")
    assert status == 400
    assert "takes no such name" in said


@pytest.fixture
def store(monkeypatch):
    """A store that answers every upload with one error; the answer is set by the test, requests are counted."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = (409, "ObjectParentIsFile")

        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            status, code = Handler.answer
            body = f"<Error><Code>{code}</Code><Message>from the store</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=[0.02], daemon=True).start()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{httpd.server_port}",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    Handler.seen = seen
    yield Handler
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((409, "ObjectParentIsFile"), 409),
        ((409, "ExistingObjectIsDirectory"), 409),
        ((400, "XMinioParentIsObject"), 409),
        ((400, "KeyTooLongError"), 400),
    ],
)
def test_what_a_store_says_of_names_reaches_the_client(store, tmp_path, answer, status):
    store.answer = answer
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(MlflowException, match=r"report/a\.txt.* cannot be uploaded") as refused:
        artifact_store.S3("s3://bucket/1").log_artifact(str(tmp_path / "a.txt"), "report")
    assert refused.value.get_http_status_code() == status
    assert store.seen == ["/bucket/1/report/a.txt"]  # once: boto3 did not try again


@pytest.mark.parametrize("answer", [(500, "InternalError"), (403, "AccessDenied"), (409, "OperationAborted")])  # fmt: skip
def test_what_may_pass_or_is_the_servers_fault_stays_what_it_is(store, tmp_path, answer):
    store.answer = answer
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(Exception, match=answer[1]) as failed:
        artifact_store.S3("s3://bucket/1").log_artifact(str(tmp_path / "a.txt"), "report")
    assert not isinstance(failed.value, MlflowException)


def test_errors_of_boto3_itself_are_understood():
    with (
        pytest.raises(MlflowException) as refused,
        artifact_store.refusals("report/a.txt"),
    ):
        raise ClientError({"Error": {"Code": "ObjectParentIsFile", "Message": "x"}}, "PutObject")
    assert refused.value.get_http_status_code() == 409
