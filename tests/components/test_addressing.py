"""How requests name a bucket: from the setting to the URL that boto3 asks, in MLflow and in our own programs."""

import pytest
import stores
from mlflow.store.artifact import s3_artifact_repo

from pulumi_mlflow.core import server, store_server

ENDPOINT = "https://store.example.com"


def asked(client):
    """Host and path of a request for an object."""
    url = client.generate_presigned_url("get_object", Params={"Bucket": "team", "Key": "k"})
    return url.partition("?")[0]


@pytest.mark.parametrize(
    ("addressing", "url"),
    [
        ("virtual", "https://team.store.example.com/k"),
        ("path", "https://store.example.com/team/k"),
        ("", "https://store.example.com/team/k"),
    ],
)
def test_server_and_jobs_ask_for_the_same_url(monkeypatch, addressing, url):
    given = store_server.store_environment("s3://team", ENDPOINT, "eu-1", addressing=addressing)
    given |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert asked(stores.client(given)) == url
    s3_artifact_repo._cached_get_s3_client.cache_clear()
    assert asked(s3_artifact_repo._get_s3_client(s3_endpoint_url=ENDPOINT)) == url


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="addressing: must be path or virtual"):
        server.s3_environment(ENDPOINT, "", addressing="host")


def test_without_a_choice_nothing_is_set():
    assert server.ADDRESSING not in server.s3_environment(ENDPOINT, "eu-1")
